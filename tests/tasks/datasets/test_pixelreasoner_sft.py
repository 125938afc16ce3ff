"""PixelReasoner-SFT-Data: its conversations as trajectories, and what of them is not learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Video
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.tasks.datasets.pixelreasoner_sft import SftTrajectories, with_replies
from tasks.datasets.conftest import pack, put, write_json

FRAMES = [f"videos/v/{i}.png" for i in range(16)]
GUIDELINE = "\n\nGuidelines: Understand the given visual information and the user query. Use tools."


def call(name: str = "crop_image", **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def crop(*box: float, target: int = 1, name: str = "crop_image") -> str:
    return call(name, bbox_2d=list(box), target_image=target)


def message(
    role: str, text: str | None = None, image: str | None = None, video: list[str] | None = None
) -> dict:
    """As Arrow gives it: every field in every part, most of them null."""
    parts = [{"text": text, "image": None, "video": None}] if text is not None else []
    parts += [{"text": None, "image": image, "video": None}] if image else []
    parts += [{"text": None, "image": None, "video": video}] if video else []
    return {"role": role, "content": parts}


def row(qid: str, *said: str, first: dict | None = None, results: tuple[dict, ...] = ()) -> dict:
    """A conversation of these messages, with a crop after all but the last."""
    results = results or tuple(
        message("user", "\nHere it is (Image Size: 2x2):", "images/b.png") for _ in said[1:]
    )
    messages = [
        message("system", "# Tools ..."),
        first or message("user", "Who?" + GUIDELINE, "images/a.png"),
    ]
    for text, result in zip(said, (*results, None), strict=True):
        messages += [message("assistant", text)] + ([result] if result else [])
    return {"qid": qid, "message_list": messages}


def read(folder: Path, *rows: object, mask: str = "paper") -> tuple[list[Trajectory], SftTrajectories]:
    """Trajectories of rows; pictures are 6x4 pixels."""
    put(folder, "images/a.png", "images/b.png")
    pack(folder / "videos.zip", *FRAMES)
    write_json(folder / "release.json", rows)  # type: ignore[arg-type]
    found = SftTrajectories(str(folder), mask=mask)
    return list(found), found


def unmasked(trajectory: Trajectory) -> list[str]:
    """What is learned of each message."""
    return [
        turn.text if turn.masked is None else turn.text[: turn.masked[0]] + turn.text[turn.masked[1] :]
        for turn in trajectory.turns
    ]


RECROP = row("r", f"Zoom on it. {crop(0, 0, 2, 2)}", f"Not here. {crop(3, 2, 6, 4)}", "It is \\boxed{B}")


def test_a_single_pass(tmp_path: Path):
    [y], found = read(tmp_path, row("s-1", f"Zoom on it. {crop(1, 0, 5, 3)}", "It is \\boxed{B}"))
    assert (y.task.id, y.task.question, y.task.answers, y.answer) == ("s-1", "Who?", ("B",), "B")
    assert len(y.task.media) == 1
    first, last = y.turns
    assert first.call is not None
    assert first.call.arguments["bbox_2d"] == [1, 0, 5, 3]
    seen = first.observation
    assert seen is not None
    assert (seen.box, seen.source, len(seen.images)) == (Box(1, 0, 5, 3), 1, 1)
    assert seen.text == "Here it is (Image Size: 2x2):"
    assert last.observation is None
    assert (y.n_operations, y.coordinates != "") == (1, True)
    assert found.report.forms == {"crop": 1}


def test_the_paper_masks_calls_that_share_nothing_with_the_last_one(tmp_path: Path):
    """A crop that holds the last one, and one that touches it, are learned; failed calls are not."""
    zoom = row("z", f"Zoom. {crop(0, 0, 6, 4)}", f"Closer. {crop(1, 1, 2, 2, target=2)}", "\\boxed{B}")
    no = f"No. {crop(0, 0, 1, 4, target=2)}"
    inner = row("i", f"Zoom. {crop(0, 0, 3, 4)}", no, f"Ah. {crop(4, 0, 6, 4)}", "\\boxed{B}")
    results = message("user", "Error: no area"), message("user", "", "images/b.png")
    said = f"Zoom. {crop(9, 9, 9, 9)}", f"Again. {crop(0, 0, 2, 2)}", "\\boxed{B}"
    failed = row("f", *said, results=results)
    recrop, zoom, inner, failed = read(tmp_path, RECROP, zoom, inner, failed)[0]
    assert unmasked(recrop) == ["Zoom on it. ", f"Not here. {crop(3, 2, 6, 4)}", "It is \\boxed{B}"]
    assert unmasked(zoom) == [turn.text for turn in zoom.turns]
    assert [turn.masked is not None for turn in inner.turns] == [True, True, False, False]
    assert unmasked(failed)[0] == "Zoom. "
    assert failed.n_invalid_operations == 1


def test_the_released_mask_learns_the_last_two_messages_only(tmp_path: Path):
    twice = row(
        "t", *(f"Zoom. {crop(0, 0, 2, 2)}" for _ in range(2)), f"Ah. {crop(3, 2, 6, 4)}", "\\boxed{B}"
    )
    [y], _ = read(tmp_path, twice, mask="released")
    assert unmasked(y) == ["", "", f"Ah. {crop(3, 2, 6, 4)}", "\\boxed{B}"]
    [y], _ = read(tmp_path, RECROP, mask="none")
    assert unmasked(y) == [turn.text for turn in y.turns]
    with pytest.raises(ConfigError, match="choose from paper, released, none"):
        read(tmp_path, mask="all")


def test_frames_of_a_video(tmp_path: Path):
    first = message("user", "What happens?" + GUIDELINE, video=FRAMES)
    picked = {"role": "user", "content": [{"text": "Frames:"}, {"image": FRAMES[8]}, {"image": FRAMES[9]}]}
    wrong = {"role": "user", "content": [{"text": "Frames:"}, {"image": FRAMES[0]}]}
    said = (f"Look. {call('select_frames', target_frames=[1])}",
            f"No. {call('select_frames', target_frames=[9, 10])}", "\\boxed{A}")  # fmt: skip
    [y], found = read(tmp_path, row("v", *said, first=first, results=(wrong, picked)))
    assert isinstance(y.task.media[0], Video)
    assert [turn.observation.frames for turn in y.turns if turn.observation] == [(1,), (9, 10)]
    assert unmasked(y)[0] == "Look. "
    assert found.report.forms == {"frames, 1 message masked": 1}
    reply = with_replies(y, "unused", "Images {first} to {last}, frames {frames}")
    assert [turn.observation.text for turn in reply.turns if turn.observation] == [
        "Images 1 to 1, frames 1",
        "Images 2 to 3, frames 9, 10",
    ]


def test_fractions_are_read_by_their_name_and_size(tmp_path: Path):
    said = f"Zoom. {crop(0.5, 0.25, 1.0, 0.75, name='crop_image_normalized')}"
    [y], _ = read(tmp_path, row("n", said, "\\boxed{B}"))
    assert y.turns[0].observation is not None
    assert y.turns[0].observation.box == Box(3, 1, 6, 3)
    assert "crop_image_normalized" not in y.turns[0].text
    assert y.turns[0].call is not None
    assert y.turns[0].call.name == "crop_image"


def test_a_text_only_answer_has_nothing_to_mask(tmp_path: Path):
    [y], found = read(tmp_path, row("t", "I can see it. \\boxed{B}"))
    assert (y.source, unmasked(y)) == ("text_only", ["I can see it. \\boxed{B}"])
    assert found.report.forms == {"no operation": 1}


def test_rows_that_cannot_be_used_are_counted(tmp_path: Path):
    gone = row("g", "\\boxed{B}", first=message("user", "Who?", "images/gone.png"))
    open_end = row("o", f"Zoom. {crop(0, 0, 2, 2)}")
    chat = row("c", "Hm.", "\\boxed{B}")
    blind = row("b", "\\boxed{B}", first=message("user", "Who?"))
    silent = {"qid": "x", "message_list": []}
    made, found = read(tmp_path, RECROP, gone, open_end, chat, blind, silent, 3)
    assert [y.task.id for y in made] == ["r"]
    assert (found.report.rows, found.report.unusable, len(found)) == (7, 6, 7)
    assert {reason: entry.examples for reason, entry in found.report.left_out.items()} == {
        "a file of an image or a video is missing": ["release.json, row 2: images/gone.png"],
        "the last message is no answer": ["release.json, row 3"],
        "a user message follows one that asks for nothing": ["release.json, row 4"],
        "no image or video": ["release.json, row 5"],
        "no message of the user": ["release.json, row 6", "release.json, row 7"],
    }


# -------------------------------------------------------------------------------- fields of our exports


def test_a_recorded_mask_is_the_papers(tmp_path: Path):
    """Here it keeps the second call out, which no rule of ours would."""
    said = RECROP["message_list"][4]["content"][0]["text"]
    own = {**RECROP, "masked": [None, [10, len(said)], None], "template": "recrop_once"}
    [y], _ = read(tmp_path, own)
    assert unmasked(y) == [f"Zoom on it. {crop(0, 0, 2, 2)}", "Not here. ", "It is \\boxed{B}"]
    assert y.source == "recrop_once"
    [y], _ = read(tmp_path, own, mask="none")
    assert unmasked(y) == [turn.text for turn in y.turns]


@pytest.mark.parametrize(
    "mask", [None, [], [None] * 2, [[0, 10**6], None, None], [[0.5, 1], None, None], "all"]
)
def test_a_mask_that_does_not_fit_is_passed_over(tmp_path: Path, mask: object):
    [y], _ = read(tmp_path, {**RECROP, "masked": mask})
    assert unmasked(y) == ["Zoom on it. ", f"Not here. {crop(3, 2, 6, 4)}", "It is \\boxed{B}"]


@pytest.mark.parametrize("n", [1, 3])
def test_frames_have_their_times(tmp_path: Path, n: int):
    """One frame with its time is no video file."""
    times = [0.5, 1.25, 4.0][:n]
    first = message("user", "What?" + GUIDELINE, video=FRAMES[:n])
    [y], _ = read(tmp_path, {**row("v", "\\boxed{A}", first=first), "times_s": times})
    (video,) = y.task.media
    assert isinstance(video, Video)
    assert video.times_s == tuple(times)


def test_a_question_may_speak_of_guidelines(tmp_path: Path):
    first = message("user", "Which Guidelines: are these?" + GUIDELINE, "images/a.png")
    [y], _ = read(tmp_path, row("g", "\\boxed{A}", first=first))
    assert y.task.question == "Which Guidelines: are these?"


@pytest.mark.parametrize("content", [5, 0.5, True, {"text": "Q"}])
@pytest.mark.parametrize("at", [-2, -1])
def test_a_content_of_another_form_is_counted(tmp_path: Path, content: object, at: int):
    odd = row("odd", "\\boxed{B}")
    odd["message_list"][at]["content"] = content
    made, found = read(tmp_path, odd, row("good", "\\boxed{B}"))
    assert [t.task.id for t in made] == ["good"]
    assert found.report.unusable == 1
