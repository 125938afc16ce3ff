"""Video-R1, VisualProbe, LLaVA-CoT and STAR: a few rows of each, in its own schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.tasks.config import TasksConfig, build_tasks
from pixelreasoner.tasks.datasets.llava_cot import llava_cot
from pixelreasoner.tasks.datasets.star import evidence, star
from pixelreasoner.tasks.datasets.video_r1 import video_r1
from pixelreasoner.tasks.datasets.visualprobe import visualprobe
from tasks.datasets.conftest import pack, put, write_json


def reasons(tasks) -> dict[str, int]:
    return {reason: entry.rows for reason, entry in tasks.report.left_out.items()}


def frames(folder: Path) -> None:
    """A folder of frames where a video file would be, which every reader of videos takes."""
    put(folder, *(f"{i}.png" for i in range(4)))


def test_video_r1(tmp_path: Path):
    def row(number: int, what: str, form: str, solution: str, path: str, options: list | None = None) -> dict:
        return {"problem_id": number, "problem": f"Q{number}?", "data_type": what, "problem_type": form,
                "options": options or [], "solution": f"<answer>{solution}</answer>", "path": path,
                "data_source": "CLEVRER"}  # fmt: skip

    put(tmp_path, "Math/a.png")
    frames(tmp_path / "CLEVRER" / "v.mp4")
    pack(tmp_path / "CLEVRER" / "part1.zip", "packed.mp4")
    choices = ["A. a cube", "B. a ball"]
    write_json(tmp_path / "Video-R1-260k.json", [
        row(1, "video", "multiple choice", "B", "./CLEVRER/v.mp4", choices),
        row(2, "image", "OCR", "Exit 12", "./Math/a.png"),
        row(3, "image", "numerical", "3.5", "./Math/a.png"),
        row(4, "image", "multiple choice", "C", "./Math/a.png", choices),
        row(5, "video", "free-form", "it falls", "./CLEVRER/packed.mp4"),
    ])  # fmt: skip
    tasks = video_r1(split="train", path=str(tmp_path), n_frames=2)
    first, second, third = tasks.take(0, 9)
    assert (first.id, first.kind, first.answers, first.scorer) == (
        "1",
        "video, multiple choice",
        ("B",),
        "choice",
    )
    assert first.question == "Q1?\nA. a cube\nB. a ball"
    assert isinstance(first.media[0], Video)
    assert len(first.media[0].frames) == 2
    assert (second.answers, second.scorer) == (("Exit 12",), "anls")
    assert (third.answers, third.scorer) == (("3.5",), "")
    assert reasons(tasks) == {
        "the answer is none of the options": 1,
        "a video is packed; unpack its archive": 1,
    }


def test_visualprobe(tmp_path: Path):
    put(tmp_path, "data/a.png")
    write_json(tmp_path / "train.json", [
        {"doc_id": 7, "problem": "<image>\nOn the sign?", "solution": "STOP", "images": ["data/a.png"]},
        {"doc_id": 8, "problem": "<image>\nColour?", "solution": "red", "images": ["a.png"]},
        {"doc_id": 9, "problem": "<image>\nColour?", "solution": None, "images": ["a.png"]},
    ])  # fmt: skip
    tasks = visualprobe(split="train", path=str(tmp_path))
    assert [(t.id, t.question, t.answers) for t in tasks.take(0, 9)] == [
        ("7", "On the sign?", ("STOP",)),
        ("8", "Colour?", ("red",)),
    ]
    assert reasons(tasks) == {"no answer": 1}


def test_llava_cot(tmp_path: Path):
    def row(name: str, conclusion: str) -> str:
        answer = f"<SUMMARY> s </SUMMARY>\n\n<CONCLUSION> {conclusion} </CONCLUSION>"
        said = [
            {"from": "human", "value": "<image>\nWhich?\nA. cat\nB. dog"},
            {"from": "gpt", "value": answer},
            {"from": "human", "value": "And then?"},
            {"from": "gpt", "value": "<CONCLUSION> more </CONCLUSION>"},
        ]
        return json.dumps({"id": name, "image": "coco/a.png", "conversations": said}) + "\n"

    put(tmp_path / "image", "coco/a.png")
    (tmp_path / "train.jsonl").write_text(row("one", "B") + row("two", "x" * 400) + '{"id": "cut"')
    tasks = llava_cot(split="train", path=str(tmp_path))
    [task] = tasks.take(0, 9)
    assert (task.id, task.answers, task.scorer) == ("one", ("B",), "choice")
    assert isinstance(task.media[0], Picture)
    assert reasons(tasks) == {"the answer is a passage": 1, "the row cannot be read": 1}


def test_star(tmp_path: Path):
    def row(name: str, **changes: object) -> dict:
        choices = [{"choice_id": i, "choice": text} for i, text in enumerate(("The cup.", "The book."))]
        plain = {"question_id": name, "question": "Which object?", "video_id": "V1", "start": 0.9, "end": 2.1,
                 "answer": "The book.", "choices": choices, "situations": {}}  # fmt: skip
        return plain | changes

    frames(tmp_path / "Charades_v1_480" / "V1.mp4")
    write_json(tmp_path / "STAR_val.json", [
        row("Interaction_T1_1"), row("Sequence_T2_4", video_id="V2"), row("Prediction_T1_9", end=None),
    ])  # fmt: skip
    tasks = star(split="val", path=str(tmp_path), n_frames=4)
    assert tasks.kinds == ("interaction",)
    [task] = tasks.take(0, 9)
    assert (task.answers, task.options) == (("B",), ("The cup.", "The book."))
    assert task.cue is not None
    assert task.cue.frames == (2, 3)  # of a folder of frames, one a second
    assert reasons(tasks) == {"a file of an image or a video is missing": 1, "no stretch of time": 1}


def test_the_evidence_is_all_frames_of_the_stretch_and_one_at_least():
    times = [0.5 + i for i in range(16)]
    assert evidence(times, 2.0, 5.0) == (3, 4, 5)
    assert evidence(times, 2.6, 3.4) == (3,)
    assert evidence(times, 90.0, 95.0) == (16,)
    assert evidence(times, 0.0, 12.0) == tuple(range(1, 13))  # more than an operation shows


@pytest.mark.parametrize("name", ["llava-cot", "star", "video-r1"])
def test_what_is_too_large_is_not_fetched(name: str):
    with pytest.raises(ConfigError, match=rf"{name} is not fetched by itself.*tasks\.options\.path"):
        build_tasks(TasksConfig(source=name, split="train"))
