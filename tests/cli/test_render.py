"""Rules of `render`: what it writes is accepted by training, where the original was refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bare_folders import write_bare_qwen2_5_vl
from pixelreasoner.chat.chat_format import Wording
from pixelreasoner.chat.checkpoint_files import load_vision_spec
from pixelreasoner.chat.encode import encode_trajectory
from pixelreasoner.chat.families import family_of
from pixelreasoner.cli.main import main
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.records import read_trajectories, write_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.models.vlm import renderer_of
from pixelreasoner.train.sft_data import SftData

BOXES = ([100, 220, 610, 700], [0, 500, 333, 1000], [13, 17, 999, 640])
FOUND = {"tokens": "of another tokenizer or chat", "texts": "are in relative; this model reads pixel"}


def toolbox(folder: Path):
    renderer = renderer_of(folder)
    return Interaction().toolbox(renderer.vision.unit, renderer.chat_format)


@pytest.fixture(scope="module")
def pixel_folder(qwen3_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2.5-VL checkpoint as released: it shows 300x200 pixels at 252x168, and points in those."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("pixels")
    write_bare_qwen2_5_vl(folder, AutoTokenizer.from_pretrained(qwen3_folder))
    return folder


@pytest.fixture(params=["tokens", "texts"])
def written(request, qwen3_folder: Path, tmp_path: Path, picture: Callable[..., Picture]) -> tuple[Path, str]:
    """Crops in thousandths, with the tokens of the Qwen3-VL checkpoint or as synthesis leaves them."""
    renderer, tools = renderer_of(qwen3_folder), toolbox(qwen3_folder)
    trajectories = []
    for number, box in enumerate(BOXES):
        task = Task(f"t{number}", "Which letter?", (picture(300, 200, number),), ("K",))
        call = ToolCall("crop_image", {"bbox_2d": box, "target_image": 1})
        seen = tools.execute(call, renderer.vision.image_context(task.media))
        text = f"Zoom in.\n{family_of(qwen3_folder).syntax.format(call)}"
        turns = (Turn(text, call, seen), Turn("It reads K. \\boxed{K}"))
        y = Trajectory(task, turns, StopReason.ANSWER, "K", coordinates=renderer.vision.coordinates)
        trajectories.append(y if request.param == "texts" else encode_trajectory(y, renderer, tools.schemas))
    path = tmp_path / "old" / "trajectories.jsonl"
    write_trajectories(path, trajectories)
    return path, FOUND[request.param]


def render(file: Path, folder: Path, *options: str) -> Path:
    out = file.parent.parent / "new" / "rendered.jsonl"
    assert main(["render", str(file), "--checkpoint", str(folder), "--out", str(out), *options]) == 0
    return out


def data_of(file: Path, folder: Path) -> SftData:
    """The file as `sft` reads it."""
    renderer, tools = renderer_of(folder), toolbox(folder).schemas
    return SftData(file, lambda y: encode_trajectory(y, renderer, tools), renderer.layout)


def test_the_original_is_refused_with_the_command_that_helps(written, pixel_folder):
    path, problem = written
    with pytest.raises(RecordError, match=problem) as refused:
        data_of(path, pixel_folder)
    remedy = "pixelreasoner render FILE.jsonl --checkpoint CHECKPOINT --out OUT.jsonl"
    assert remedy in str(refused.value)


@pytest.mark.parametrize("options", [(), ("--texts-only",)])
def test_the_rendered_file_is_accepted_and_means_the_same_regions(written, pixel_folder, options, capsys):
    path, _ = written
    out = render(path, pixel_folder, *options)
    assert "3 trajectories, 3 messages that changed, 0 messages newly masked" in capsys.readouterr().out
    assert len(data_of(out, pixel_folder)) == 3
    vision, syntax = load_vision_spec(pixel_folder), family_of(pixel_folder).syntax
    for old, new in zip(read_trajectories(path), read_trajectories(out), strict=True):
        assert (new.prompt is None) == bool(options)
        call = syntax.parse(new.turns[0].text).call
        seen = toolbox(pixel_folder).execute(call, vision.image_context(new.task.media))
        assert seen.box.contains(old.turns[0].observation.box)
        assert seen.box.iou(old.turns[0].observation.box) > 0.9
        assert new.turns[0].observation == old.turns[0].observation


def test_for_the_same_checkpoint_every_text_stays(written, qwen3_folder):
    path, _ = written
    out = render(path, qwen3_folder, "--texts-only")
    for old, new in zip(read_trajectories(path), read_trajectories(out), strict=True):
        bare = tuple(replace(turn, sampled=None, observed=None) for turn in old.turns)
        assert new == replace(old, turns=bare, prompt=None, fingerprint="")


def test_what_cannot_be_rendered_is_said(tmp_path, qwen3_folder, capsys):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    options = ["--checkpoint", str(qwen3_folder), "--out"]
    assert main(["render", str(empty), *options, str(tmp_path / "out.jsonl")]) == 2
    assert "holds no trajectories" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()
    assert main(["render", str(empty), *options, str(tmp_path / "folder")]) == 2
    assert "end the name in .jsonl" in capsys.readouterr().err


def test_texts_alone_are_for_a_recipe_with_wording_of_its_own(written, qwen3_folder):
    """Its words are in the tokens: those of the checkpoint's own wording are refused, and say what to add."""
    path, _ = written
    renderer, tools = renderer_of(qwen3_folder), toolbox(qwen3_folder).schemas
    other = renderer.with_format(renderer.chat_format.with_wording(Wording(system="Be brief.")))
    (tokens, *_), (texts, *_) = (
        list(read_trajectories(render(path, qwen3_folder, *options))) for options in ((), ("--texts-only",))
    )
    with pytest.raises(RecordError, match="add --texts-only where a recipe has wording of its own"):
        encode_trajectory(tokens, other, tools)
    assert encode_trajectory(texts, other, tools).fingerprint == other.fingerprint
