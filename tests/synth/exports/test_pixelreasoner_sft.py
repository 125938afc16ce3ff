"""An export in TIGER-Lab's format reads back to the same conversation, pictures and loss mask."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixelreasoner.chat.hermes import HERMES
from pixelreasoner.chat.xml_calls import XML_CALLS
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.synth.exports.export import export
from pixelreasoner.synth.exports.pixelreasoner_sft import write_pixelreasoner_sft
from pixelreasoner.synth.exports.prompts import Prompts, stored_prompts
from pixelreasoner.synth.mix import Template
from pixelreasoner.tasks.datasets.pixelreasoner_sft import COORDINATES, SftTrajectories
from synth.exports.conftest import make_run


def expected(made: Trajectory) -> Trajectory:
    """What the format holds of a trajectory: boxes as the pixels that were cut, of a task its answer."""
    task = made.task
    assert made.answer is not None
    turns = tuple(_in_pixels(turn) for turn in made.turns)
    kind = "video" if any(isinstance(item, Video) for item in task.media) else "image"
    task = Task(task.id, task.question, task.media, (made.answer,), kind=kind, split="train")
    return replace(made, task=task, turns=turns, coordinates=COORDINATES)


def _in_pixels(turn: Turn) -> Turn:
    seen = turn.observation
    if turn.call is None or seen is None:
        return turn
    call = turn.call
    if (b := seen.box) is not None:
        call = ToolCall(call.name, {**call.arguments, "bbox_2d": [int(v) for v in (b.x1, b.y1, b.x2, b.y2)]})
    words = turn.text.partition("<tool_call>")[0]
    text = words + HERMES.format(call)
    whole = turn.masked == (0, len(turn.text))
    masked = None if turn.masked is None else (0 if whole else len(words), len(text))
    return replace(turn, text=text, call=call, masked=masked)


def check_round_trip(run: Path, out: Path) -> None:
    export(run, out, form="pixelreasoner-sft")
    made = list(read_trajectories(run / "trajectories.jsonl"))
    assert {y.source for y in made} == set(Template)
    found = SftTrajectories(str(out))
    assert list(found) == [expected(y) for y in made]
    assert found.report.rows == len(made)


def test_every_template_reads_back(synth_run: Path, tmp_path: Path):
    check_round_trip(synth_run, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["relative", "pixel"])
@pytest.mark.parametrize("error_mask", ["operation", "message"])
def test_every_unit_and_mask_reads_back(tmp_path: Path, unit: str, error_mask: str):
    check_round_trip(make_run(tmp_path, unit, error_mask=error_mask), tmp_path / "out")


def test_the_trainer_gets_what_it_takes(synth_run: Path, made: list[Trajectory], tmp_path: Path):
    export(synth_run, tmp_path / "out", form="pixelreasoner-sft")
    rows = json.loads((tmp_path / "out" / "release.json").read_text())
    assert len(rows) == len(made)
    for row, y in zip(rows, made, strict=True):
        messages = row["message_list"]
        assert [m["role"] for m in messages] == ["system", *["user", "assistant"] * len(y.turns)]
        parts = [part for m in messages for part in m["content"]]
        assert all(len(part) == 1 and part.keys() <= {"text", "image", "video"} for part in parts)
        names = [part["image"] for part in parts if "image" in part]
        names += [name for part in parts for name in part.get("video", ())]
        assert all((tmp_path / "out" / name).is_file() for name in names)
        assert "pixels of the image" in messages[0]["content"][0]["text"]


# ---------------------------------------------------------------------------------- any conversation

PHOTO = Picture(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
CLIP = Video(
    tuple(Picture(np.full((6, 8, 3), 10 * i, np.uint8)) for i in range(5)), (0.0, 0.25, 1.0, 1.5, 7.125)
)
ALONE = Video((Picture(np.full((6, 8, 3), 99, np.uint8)),), (2.5,))
WORDS = st.lists(
    st.sampled_from(["a", "é", "語", " ", "\n", '"', "\\", "{", "}", ":", "<", ">", "Guidelines:"]),
    max_size=12,
).map("".join)


@st.composite
def boxes(draw: st.DrawFn, width: int, height: int) -> Box:
    x1, y1 = draw(st.integers(0, width - 2)), draw(st.integers(0, height - 2))
    return Box(x1, y1, draw(st.integers(x1 + 2, width)), draw(st.integers(y1 + 2, height)))


@st.composite
def trajectories(draw: st.DrawFn, number: int) -> Trajectory:
    media = draw(st.sampled_from([(PHOTO,), (PHOTO, PHOTO), (CLIP,), (ALONE,), (PHOTO, CLIP)]))
    images = [item for item in media if isinstance(item, Picture)]
    video = next((item for item in media if isinstance(item, Video)), None)
    syntax = draw(st.sampled_from([HERMES, XML_CALLS]))
    turns: list[Turn] = []
    for _ in range(draw(st.integers(0, 3))):
        if images and (video is None or draw(st.booleans())):
            source = draw(st.integers(1, len(images)))
            box = draw(boxes(*images[source - 1].size))
            call = ToolCall("crop_image", {"bbox_2d": [1.5, 2, 3, 4], "target_image": source})
            bounds = (int(box.x1), int(box.y1), int(box.x2), int(box.y2))
            seen = Observation("Here:", (images[source - 1].crop(*bounds),), box=box, source=source)
        else:
            assert video is not None
            chosen = draw(st.lists(st.integers(1, len(video.frames)), min_size=1, max_size=3, unique=True))
            call = ToolCall("select_frames", {"target_frames": chosen})
            seen = Observation("There:", tuple(video.frames[i - 1] for i in chosen), frames=tuple(chosen))
        words = draw(WORDS)
        text = words + syntax.format(call)
        masked = draw(st.sampled_from([None, (0, len(text)), (len(words), len(text))]))
        turns.append(Turn(text, call, seen, masked=masked))
        images += seen.images
    answer = draw(st.sampled_from(["B", "12", "{x}", "Guidelines: none"]))
    question = f"Q{draw(WORDS)}?"
    last = Turn(f"{draw(WORDS)} \\boxed{{{answer}}}")
    return Trajectory(
        Task(f"t-{number}", question, media, (answer,)), (*turns, last), StopReason.ANSWER, answer,
        source=draw(st.sampled_from(["recrop_once", "single_pass"])), coordinates="relative",
    )  # fmt: skip


@pytest.fixture(scope="module")
def prompts(synth_run: Path) -> Prompts:
    return stored_prompts(str(next(synth_run.parent.glob("checkpoint-*"))), Interaction())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(made=st.tuples(*map(trajectories, range(3))))
def test_any_conversation_reads_back(
    prompts: Prompts, made: Sequence[Trajectory], tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.mktemp("out")
    write_pixelreasoner_sft(folder, made, prompts)
    assert list(SftTrajectories(str(folder))) == [expected(y) for y in made]


def test_no_trajectories_are_an_empty_list(prompts: Prompts, tmp_path: Path):
    write_pixelreasoner_sft(tmp_path, (), prompts)
    assert json.loads((tmp_path / "release.json").read_text()) == []
