"""`convert`: the published trajectories become a file that tuning reads, masked to the token."""

from __future__ import annotations

import json
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


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """Three rows: a crop of its box, one of another place, and one that ends without an answer."""
    from tasks.datasets.test_pixelreasoner_sft import message
    from tasks.datasets.test_sft_boxes import BOX, QUESTION, Written

    folder = tmp_path / "cut"
    folder.mkdir()
    data = Written(folder)
    first = message("user", QUESTION, "images/a.png")
    shown = data.cut(*BOX), data.cut(20, 10, 180, 130)
    rows = [
        row(
            f"r{i}",
            f"Look. {crop(*BOX)}",
            "\\boxed{A}",
            first=first,
            results=(message("user", "Here:", name),),
        )
        for i, name in enumerate(shown)
    ]
    write_json(folder / "release.json", [*rows, row("o", f"Look. {crop(*BOX)}", first=first)])
    return folder


MISPLACED = "a crop is not the part of its picture that its box names"


def listed(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_check_alone_lists_faults_and_writes_nothing_else(cut: Path, tmp_path: Path, capsys):
    faults = tmp_path / "checks" / "faults.jsonl"
    assert main(["convert", str(cut), "--check", str(faults)]) == 0
    misplaced, unusable = listed(faults)
    assert (misplaced["row"], misplaced["id"]) == ("release.json, row 2", "r1")
    assert [(f["reason"], f["message"]) for f in misplaced["faults"]] == [(MISPLACED, 1)]
    assert (unusable["id"], unusable["faults"][0]["detail"]) == (None, "the last message is no answer")
    said = capsys.readouterr().out
    assert "2 of 3 rows\n" in said
    assert "faults.jsonl: 2 of 3 rows with something that does not hold" in said.replace("\n", " ")
    assert f"1 row: {MISPLACED}" in said
    assert "crops of their boxes: 2" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checks", "cut"]


def test_only_sound_rows_are_written_on_demand(cut: Path, tmp_path: Path, qwen3_folder: Path):
    faults = str(tmp_path / "faults.jsonl")
    assert [y.task.id for y in convert(cut, qwen3_folder, "--check", faults)] == ["r0", "r1"]
    assert [y.task.id for y in convert(cut, qwen3_folder, "--check", faults, "--sound-only")] == ["r0"]
    assert len(listed(Path(faults))) == 2


def test_known_answers_come_from_a_task_file(cut: Path, tmp_path: Path):
    known = tmp_path / "known.jsonl"
    rows = [
        {"id": f"r{i}", "question": "?", "images": [str(cut / "images/a.png")], "answers": [a]}
        for i, a in enumerate("BA")
    ]
    known.write_text("".join(f"{json.dumps(r)}\n" for r in rows))
    faults = tmp_path / "faults.jsonl"
    assert main(["convert", str(cut), "--check", str(faults), "--references", str(known)]) == 0
    first, second, _ = listed(faults)
    assert [f["reason"] for f in first["faults"]] == ["the answer is not the reference"]
    assert [f["reason"] for f in second["faults"]] == [MISPLACED]


def test_a_picture_that_cannot_be_decoded_is_a_fault(cut: Path, tmp_path: Path):
    crop_file = cut / "images" / "1.jpg"
    crop_file.write_bytes(crop_file.read_bytes()[:900])
    faults = tmp_path / "faults.jsonl"
    assert main(["convert", str(cut), "--check", str(faults)]) == 0
    assert listed(faults)[0]["faults"][0]["reason"] in (
        "a picture cannot be decoded", "the row gives no trajectory"
    )  # fmt: skip


def test_a_text_can_be_looked_for(tmp_path: Path):
    """A page: the crop of one answer is given for another."""
    pytest.importorskip("rapidocr")
    from PIL import Image

    from benchmarks.pages import make_page
    from tasks.datasets.test_pixelreasoner_sft import message

    page = make_page(3)
    (tmp_path / "p" / "images").mkdir(parents=True)
    Image.fromarray(page.picture.pixels).save(tmp_path / "p" / "images" / "a.png")
    box = page.answers[0].box.pad(20).pixel_bounds(page.picture.size)
    Image.fromarray(page.picture.crop(*box).pixels).save(tmp_path / "p" / "images" / "b.png")
    first = message("user", "What?", "images/a.png")
    rows = [
        row(f"r{i}", f"Look. {crop(*box)}", f"\\boxed{{{page.answers[i].text}}}", first=first)
        for i in range(2)
    ]
    write_json(tmp_path / "p" / "release.json", rows)
    faults = tmp_path / "faults.jsonl"
    assert main(["convert", str(tmp_path / "p"), "--check", str(faults), "--ocr"]) == 0
    [second] = listed(faults)
    assert (second["id"], second["faults"][0]["reason"]) == ("r1", "the last crop does not show the answer")
    assert page.answers[1].text in second["faults"][0]["detail"]


@pytest.mark.parametrize("option", [["--ocr"], ["--sound-only"], ["--references", "x.jsonl"]])
def test_options_of_a_check_need_one(data: Path, option, capsys):
    assert main(["convert", str(data), "--recipe", "qwen2_5_vl_7b/sft", *option]) == 2
    assert "give --check FAULTS.jsonl" in capsys.readouterr().err


def test_nothing_sound_is_said(data: Path, qwen3_folder: Path, tmp_path: Path, capsys):
    """The crop of the fixture is another picture than its box names."""
    arguments = ["convert", str(data), "--checkpoint", str(qwen3_folder), "--out", str(tmp_path / "o.jsonl")]
    assert main([*arguments, "--check", str(tmp_path / "f.jsonl"), "--sound-only"]) == 2
    assert "no row is sound" in capsys.readouterr().err


def test_two_steps_of_tuning_on_a_converted_file(cut: Path, tmp_path: Path, qwen3_folder: Path):
    """A file in the released format, converted, trains as it is; what is learned moves."""
    from pixelreasoner.models.vlm import VisionLanguageModel
    from pixelreasoner.train import sft
    from pixelreasoner.train.sft import SFTConfig

    convert(cut, qwen3_folder)
    settings = {
        "data": tmp_path / "out" / "trajectories.jsonl", "out": tmp_path / "run", "batch_size": 2, "steps": 2,
        "optim": {"lr": 1e-3, "warmup": 0},
        "model": {"checkpoint": str(qwen3_folder), "device": "cpu", "precision": "fp32"},
    }  # fmt: skip
    made = VisionLanguageModel.load(sft.run(SFTConfig.model_validate(settings))).hf.state_dict()
    before = VisionLanguageModel.load(qwen3_folder).hf.state_dict()
    lines = listed(tmp_path / "run" / "metrics.jsonl")
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 2
    assert all(np.isfinite(losses))
    assert any(not made[name].equal(before[name]) for name in made)
