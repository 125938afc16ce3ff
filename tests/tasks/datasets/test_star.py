"""STAR: the cue is what the question is about, and the letter that of the answer."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.tasks.datasets.star import read, star
from seed_files import COLOURS, SECONDS, make_star

pytest.importorskip("av")


def colour_of(frame) -> str:
    """The nearest of the colours to what a frame shows; "" for grey."""
    mean = frame.pixels.reshape(-1, 3).mean(0)
    colours = {"": (120, 120, 120), **COLOURS}
    return min(colours, key=lambda name: float(np.abs(mean - colours[name]).sum()))


def test_the_cue_is_the_frames_that_show_what_is_asked_about(tmp_path: Path):
    made = make_star(tmp_path, 12)
    for task, row in zip(star(split="train", path=str(tmp_path)).take(0, 99), made, strict=True):
        assert (task.question.partition("\n")[0], task.answers) == (row.question, (row.letter,))
        (video,) = task.media
        assert task.cue is not None
        shown = [i for i, frame in enumerate(video.frames, start=1) if colour_of(frame) == row.colour]
        assert list(task.cue.frames) == shown
        assert 1 <= len(shown) <= 8


def test_frames_are_the_middles_of_equal_stretches_and_their_times_are_kept(tmp_path: Path):
    make_star(tmp_path, 1)
    (task,) = star(split="train", path=str(tmp_path)).take(0, 1)
    middles = SECONDS * (np.arange(16) + 0.5) / 16
    assert np.abs(np.array(task.media[0].times_s) - middles).max() <= 0.25  # four frames a second


def test_letters_follow_the_numbers_of_the_choices(tmp_path: Path):
    made = make_star(tmp_path, 2)
    rows = json.loads((tmp_path / "STAR_train.json").read_text())
    assert [c["choice_id"] for c in rows[1]["choices"]] == [3, 2, 1, 0]
    for task, row, written in zip(
        star(split="train", path=str(tmp_path)).take(0, 9), made, rows, strict=True
    ):
        choices = {c["choice_id"]: c["choice"] for c in written["choices"]}
        assert task.options == tuple(choices[i] for i in range(4))
        assert task.options["ABCD".index(row.letter)] == row.answer


def test_choices_in_an_order_that_a_seed_decides(tmp_path: Path):
    made = make_star(tmp_path, 8)
    rows = json.loads((tmp_path / "STAR_train.json").read_text())

    def letters(seed: int, rows: list[dict]) -> list[str]:
        found = [dict(read(row, choices_seed=seed).fields) for row in rows]
        assert all(
            f["options"]["ABCD".index(f["answers"][0])] == r["answer"]
            for f, r in zip(found, rows, strict=True)
        )
        return [f["answers"][0] for f in found]

    many = [{**rows[0], "question_id": f"Interaction_T1_{i}"} for i in range(400)]
    assert letters(1, many) == letters(1, many)
    assert letters(1, many) != letters(2, many)
    assert min(Counter(letters(1, many)).values()) >= 70  # of 100 on average, 3.5 standard deviations
    tasks = star(split="train", path=str(tmp_path), choices_seed=1).take(0, 2)
    assert [t.answers[0] for t in tasks] == letters(1, rows[:2])
    assert [r.answer for r in made] == [r["answer"] for r in rows]


def with_stretches(folder: Path, *stretches: tuple[object, object]):
    """A set whose questions have these stretches of time."""
    make_star(folder, len(stretches))
    path = folder / "STAR_train.json"
    rows = json.loads(path.read_text())
    path.write_text(
        json.dumps([r | {"start": a, "end": b} for r, (a, b) in zip(rows, stretches, strict=True)])
    )
    return star(split="train", path=str(folder))


def test_rows_without_a_stretch_of_time_are_left_out(tmp_path: Path):
    nowhere = [(-5, -1), (float("inf"), float("inf")), (float("nan"), 3), (True, True), ("0", "1"), (3, 2)]
    found = with_stretches(tmp_path, (0, 1), *nowhere)
    assert found.size == 1
    assert {reason: entry.rows for reason, entry in found.report.left_out.items()} == {
        "no stretch of time": 6
    }


def test_a_stretch_beyond_the_end_of_the_video_is_no_evidence(tmp_path: Path):
    """The frame nearest to it, the last one, does not show what is asked about."""
    found = with_stretches(tmp_path, (SECONDS + 0.5, SECONDS + 2), (SECONDS + 30, SECONDS + 40))
    (rounded,) = found.take(0, 1)
    assert rounded.cue is not None
    assert rounded.cue.frames == (16,)
    with pytest.raises(RecordError, match="beyond the end of the video"):
        list(found.take(1, 1))
