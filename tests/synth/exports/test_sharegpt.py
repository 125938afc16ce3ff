"""ShareGPT rows are what LLaMA-Factory's converter takes: roles in turn, a picture for each placeholder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelreasoner.chat.xml_calls import XML_CALLS
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.synth.exports.export import export
from pixelreasoner.synth.exports.prompts import Prompts, run_prompts
from pixelreasoner.synth.exports.sharegpt import write_sharegpt


@pytest.fixture(scope="module")
def prompts(synth_run: Path) -> Prompts:
    return run_prompts(str(next(synth_run.parent.glob("checkpoint-*"))), Interaction())


def read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def aligned(row: dict[str, Any], info: dict[str, Any]) -> list[str]:
    """What LLaMA-Factory checks of a row, after its `converter.py`: the roles, or an error."""
    tags = info["tags"]
    messages = row[info["columns"]["messages"]]
    accepted = ({tags["user_tag"], tags["observation_tag"]}, {tags["assistant_tag"], tags["function_tag"]})
    for number, message in enumerate(messages):
        assert message[tags["role_tag"]] in accepted[number % 2]
    assert len(messages) % 2 == 0
    text = "".join(message[tags["content_tag"]] for message in messages)
    assert text.count("<image>") == len(row[info["columns"]["images"]])
    assert text.count("<video>") == len(row[info["columns"]["videos"]])
    assert "<image>" not in row[info["columns"]["system"]]
    return [message[tags["role_tag"]] for message in messages]


def test_every_template_is_taken(synth_run: Path, made: list[Trajectory], tmp_path: Path):
    out = tmp_path / "out"
    export(synth_run, out, form="sharegpt")
    info = json.loads((out / "dataset_info.json").read_text())["pixelreasoner"]
    assert (info["file_name"], info["formatting"]) == ("train.jsonl", "sharegpt")
    for row, y in zip(read(out), made, strict=True):
        assert aligned(row, info) == ["human", "gpt", *["observation", "gpt"] * y.n_operations]
        names = [*row["images"], *(name for frames in row["videos"] for name in frames)]
        assert all((out / name).is_file() for name in names)
        said = [m["value"] for m in row["conversations"] if m["from"] == "gpt"]
        assert said == [turn.text for turn in y.turns]
        assert row["masked"] == [list(turn.masked or ()) for turn in y.turns]


def test_words_are_no_placeholders(prompts: Prompts, tmp_path: Path):
    """Only pictures are counted, and masks follow the text that moves for it."""
    photo = Picture(np.zeros((8, 8, 3), np.uint8))
    call = '<tool_call>\n{"name": "select_frames", "arguments": {"target_frames": [1]}}\n</tool_call>'
    words = "No <image> and no <video>. "
    turn = Turn(
        words + call,
        ToolCall("select_frames", {"target_frames": [1]}),
        Observation("<image>", (photo,), frames=(1,)),
        masked=(len(words), len(words + call)),
    )
    task = Task("t", "What does <image> mean?", (photo,), ("B",))
    y = Trajectory(task, (turn, Turn("\\boxed{B}")), StopReason.ANSWER, "B", coordinates="relative")
    write_sharegpt(tmp_path, [y], prompts)
    (row,) = read(tmp_path)
    aligned(row, json.loads((tmp_path / "dataset_info.json").read_text())["pixelreasoner"])
    assert len(row["images"]) == 2
    said = row["conversations"][1]["value"]
    assert said[slice(*row["masked"][0])] == call
    assert row["conversations"][0]["value"].startswith("<image>What does < image> mean?")


def test_calls_are_json_whatever_the_model_writes(prompts: Prompts, made: list[Trajectory], tmp_path: Path):
    """The system message says how calls are written, so a run of a model with another syntax is rewritten."""
    y = next(y for y in made if y.source == "recrop_once")
    turns = [
        turn
        if turn.call is None
        else replace(turn, text=_words(turn) + XML_CALLS.format(turn.call), masked=None)
        for turn in y.turns
    ]
    write_sharegpt(tmp_path, [replace(y, turns=tuple(turns))], prompts)
    said = [m["value"] for m in read(tmp_path)[0]["conversations"] if m["from"] == "gpt"]
    assert said == [turn.text for turn in y.turns]


def _words(turn: Turn) -> str:
    return turn.text.partition("<tool_call>")[0]
