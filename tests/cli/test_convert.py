"""`convert`: the published trajectories become a file that tuning reads, masked to the token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelreasoner.cli.main import main
from pixelreasoner.core.records import read_trajectories
from tasks.datasets.conftest import put, write_json
from tasks.datasets.test_pixelreasoner_sft import RECROP, crop, row


@pytest.fixture
def data(tmp_path: Path) -> Path:
    put(tmp_path / "data", "images/a.png", "images/b.png")
    write_json(tmp_path / "data" / "release.json", [RECROP, row("o", f"Zoom. {crop(0, 0, 2, 2)}")])
    return tmp_path / "data"


def convert(data: Path, folder: Path, *more: str) -> list:
    out = data.parent / "out" / "trajectories.jsonl"
    assert main(["convert", str(data), "--checkpoint", str(folder), "--out", str(out), *more]) == 0
    return list(read_trajectories(out))


def test_boxes_and_lines_are_the_checkpoints(data: Path, qwen3_folder: Path, capsys):
    [y] = convert(data, qwen3_folder)
    said = capsys.readouterr().out
    assert "1 of 2 rows\n  crop, 1 message masked: 1\n1 row left out: the last message is no answer" in said
    assert y.coordinates == "relative"
    assert [t.call.arguments["bbox_2d"] for t in y.turns if t.call] == [
        [0, 0, 334, 500],
        [500, 500, 1000, 1000],
    ]
    assert [t.observation.text for t in y.turns if t.observation] == [
        "Image 2 is the cropped region (6x4 pixels):",
        "Image 3 is the cropped region (6x4 pixels):",
    ]
    [y] = convert(data, qwen3_folder, "--keep-replies", "--limit", "1")
    assert {t.observation.text for t in y.turns if t.observation} == {"Here it is (Image Size: 2x2):"}


def test_the_loss_mask_is_exact_to_the_token(data: Path, model, folder, tools):
    """The wrong call, and nothing else of what the model says, is without loss."""
    from pixelreasoner.chat.encode import encode_trajectory
    from pixelreasoner.objectives.loss_mask import loss_mask

    [y] = convert(data, folder)
    y = encode_trajectory(y, model.renderer, tools)
    mask, at = loss_mask(y), len(y.prompt.ids)
    assert not mask[:at].any()
    learned = []
    for turn in y.turns:
        n = len(turn.sampled.ids)
        learned.append(model.renderer.decode(np.array(turn.sampled.ids)[mask[at : at + n]].tolist()))
        at += n
        if turn.observed is not None:
            assert not mask[at : at + len(turn.observed.ids)].any()
            at += len(turn.observed.ids)
    assert at == len(mask)
    # Where a template opens the thoughts, a message without any closes them first.
    learned = [text.removeprefix("\n</think>\n\n") for text in learned]
    assert learned == ["Zoom on it. ", y.turns[1].text, y.turns[2].text]


def test_the_file_must_be_jsonl(data: Path, qwen3_folder: Path, capsys):
    arguments = ["convert", str(data), "--checkpoint", str(qwen3_folder), "--out", "out.json"]
    assert main(arguments) == 2
    assert "end the name in .jsonl" in capsys.readouterr().err
