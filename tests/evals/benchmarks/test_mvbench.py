"""MVBench: twenty tasks, bounded videos, frames in folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.benchmarks.conftest import check_scores, check_wrong_letters
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.media_io import save_image
from pixelreasoner.evals.aggregates import micro_and_kinds
from pixelreasoner.evals.benchmark import load_benchmark
from pixelreasoner.evals.benchmarks.mvbench import TASKS, mvbench
from tasks.datasets.conftest import write_json
from video_files import read_number, write_video


def row(video: str, n_options: int = 4, **fields: Any) -> dict[str, Any]:
    names = ["a cat", "no", "A red car.", "the dog", "nothing"][:n_options]
    return {"video": video, "question": "What happens?", "candidates": names, "answer": names[-1], **fields}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bounded video, one that is not, and a folder of frames."""
    pytest.importorskip("av")
    for name in ("star/Charades_v1_480/a.mp4", "perception/videos/b.mp4", "star/Charades_segment/a.mp4"):
        (tmp_path / "video" / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / "video" / name, 100)  # 25 frames per second
    frames = tmp_path / "video" / "tvqa" / "frames_fps3_hq" / "clip_1"
    for number in range(1, 31):
        save_image(Picture(np.full((4, 4, 3), number, np.uint8)), frames / f"{number:05d}.png")
    write_json(tmp_path / "json" / "action_sequence.json", [row("a.mp4", start=1.0, end=3.0)])
    write_json(tmp_path / "json" / "action_count.json", [row("b.mp4", 3), row("gone.mp4")])
    write_json(tmp_path / "json" / "episodic_reasoning.json", [row("clip_1", 5, start=1.0, end=8.0)])
    return tmp_path


def test_questions_and_frames(folder: Path):
    benchmark = mvbench(path=str(folder))
    tasks = check_scores(benchmark)
    check_wrong_letters(benchmark, tasks)
    by_kind = {task.kind: task for task in tasks}
    assert {kind: task.answers for kind, task in by_kind.items()} == {
        "action_sequence": ("D",),
        "action_count": ("C",),
        "episodic_reasoning": ("E",),
    }
    videos = {kind: task.media[0] for kind, task in by_kind.items()}
    assert all(isinstance(video, Video) and len(video.frames) == 16 for video in videos.values())
    # Frames 25 to 75 of the bounded one: 25 + 50/32 + round(50/16 i), and 0 to 99 of the whole one.
    assert [read_number(f) for f in videos["action_sequence"].frames] == [
        int(25 + 50 / 32 + np.round(50 / 16 * i)) for i in range(16)
    ]
    assert [read_number(f) for f in videos["action_count"].frames] == [
        int(99 / 32 + np.round(99 / 16 * i)) for i in range(16)
    ]
    # Three frames per second from number 3 to 24, counted from 1.
    assert [int(f.pixels[0, 0, 0]) for f in videos["episodic_reasoning"].frames] == [
        int(3 + 21 / 32 + np.round(21 / 16 * i)) for i in range(16)
    ]


def test_words_of_an_answer_are_no_letters(folder: Path):
    """Published extractors read "a cat" as A, and the empty answer as right."""
    benchmark = mvbench(path=str(folder))
    task = next(t for t in benchmark.tasks.take(0, 9) if t.kind == "action_count")
    assert task.options == ("a cat", "no", "A red car.")
    assert benchmark.scorer("A red car.", task.answers, task) == 1.0  # the text of option C, not the letter A
    assert benchmark.scorer("a cat", task.answers, task) == 0.0
    assert benchmark.scorer("", task.answers, task) == 0.0


def test_videos_that_are_cut_already(folder: Path):
    tasks = list(mvbench(path=str(folder), cut=True).tasks.take(0, 9))
    cut = next(task for task in tasks if task.kind == "action_sequence")
    (video,) = cut.media
    assert isinstance(video, Video)
    assert read_number(video.frames[0]) == int(99 / 32)


def test_the_rows_are_counted_and_what_is_missing_is_said(folder: Path):
    with pytest.raises(RecordError, match="rows of kind 'action_sequence' instead of 200"):
        load_benchmark("mvbench", {"path": str(folder)})
    write_json(folder / "json" / "action_count.json", [row("b.mp4")] * 200)
    partial = load_benchmark("mvbench", {"path": str(folder)}, incomplete=True)
    wrong = partial.facts([])["wrong_rows"]
    assert wrong["fine_grained_pose"] == [0, 200]
    assert "action_count" not in wrong
    assert len(wrong) == 19
    assert sum(partial.expected_rows.values()) == 4_000
    assert len(TASKS) == 20


def test_the_figures_are_the_mean_over_questions_and_that_of_each_task():
    scored = [("a", 1.0), ("a", 0.0), ("a", 0.0), ("b", 1.0)]
    assert micro_and_kinds(scored) == {
        "all": 0.5,
        "kinds": {"a": pytest.approx(1 / 3), "b": 1.0},
        "mean_of_kinds": pytest.approx(2 / 3),
        "n_kinds": 2,
    }


def test_a_missing_end_and_an_unknown_task(tmp_path: Path):
    write_json(tmp_path / "json" / "cooking.json", [row("a.mp4")])
    with pytest.raises(RecordError, match="a task that MVBench does not have"):
        mvbench(path=str(tmp_path))
