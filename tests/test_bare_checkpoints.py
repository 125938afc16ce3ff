"""A folder as it was released goes through every command: nothing has to be written or known first."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest

from bare_folders import write_bare_qwen2_5_vl, write_bare_qwen3_5, write_bare_qwen3_vl
from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.checkpoint_files import load_vision_spec
from pixelreasoner.chat.families import family_of
from pixelreasoner.cli.main import main
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import save_image
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Group, Trajectory, Turn
from pixelreasoner.env.interaction import Interaction
from prompting import prompt_of
from released_files import OF_QWEN3_5, released_template, released_tokenizer

PREPROCESSOR = "preprocessor_config.json"


@pytest.fixture(scope="module")
def new_tokenizer(qwen3_folder: Path) -> Callable:
    from transformers import AutoTokenizer

    return lambda: AutoTokenizer.from_pretrained(qwen3_folder)


@pytest.fixture(
    scope="module",
    params=[
        ("qwen2_5_vl", False),
        ("qwen3_vl", False),
        ("qwen3_5", False),
        pytest.param(("qwen2_5_vl", True), marks=pytest.mark.slow),
        pytest.param(("qwen3_vl", True), marks=pytest.mark.slow),
        pytest.param(("qwen3_5", True), marks=pytest.mark.slow),
    ],
    ids=lambda param: f"{param[0]}-{'released' if param[1] else 'small'}-vocabulary",
)
def bare(request, tmp_path_factory, new_tokenizer, json_template, xml_template) -> Path:
    """A bare release; "released" has the vocabulary and the templates of the release."""
    family, released = request.param
    folder = tmp_path_factory.mktemp(f"bare_{family}")
    more = OF_QWEN3_5 if family == "qwen3_5" else ()
    tokenizer = released_tokenizer(more) if released else new_tokenizer()
    if family == "qwen2_5_vl":
        templates = [released_template(f"{name}.jinja") for name in ("qwen2_5", family)] if released else []
        write_bare_qwen2_5_vl(folder, tokenizer, *templates)
    elif family == "qwen3_5":
        template = released_template("qwen3_5_think.jinja") if released else xml_template
        write_bare_qwen3_5(folder, tokenizer, template=template)
    else:
        template = released_template(f"{family}.jinja") if released else json_template
        write_bare_qwen3_vl(folder, tokenizer, template=template)
    return folder


def parity(group: Group, scores: Sequence[float]) -> list[float]:
    """The share of even ids: a reward term under which random weights earn different rewards."""
    ids = [list(chain.from_iterable(turn.sampled.ids for turn in y.turns)) for y in group]
    return [sum(i % 2 == 0 for i in row) / len(row) for row in ids]


@dataclass(frozen=True)
class Run:
    """What the commands left."""

    folder: Path
    synthesised: list[Trajectory]
    saved: dict[str, Path]
    """By the command that saved it."""
    evaluated: list[Trajectory]
    asked: list[Trajectory]


@pytest.fixture(scope="module")
def commands(bare: Path, tmp_path_factory, picture) -> Run:
    """synth -> sft -> rl -> eval -> ask, each by its command."""
    out = tmp_path_factory.mktemp("run")
    recipe = out / "recipe.toml"
    recipe.write_text("")

    def command(name: str, *overrides: str) -> Path:
        assert main([name, str(recipe), *overrides, "--out", str(out / name)]) == 0
        return out / name

    synth = command("synth", f"checkpoint='{bare}'", "n=12")
    data = synth / "trajectories.jsonl"
    sft = command(
        "sft", f"model.checkpoint='{bare}'", f"data='{data}'", "steps=2", "batch_size=4",
        "model.precision='fp32'",
    ) / "model"  # fmt: skip
    rl = command(
        "rl", f"model.checkpoint='{sft}'", "steps=1", "tasks_per_step=2", "group_size=4",
        "updates_per_step=1", "interaction.sampling.max_tokens=12", "model.precision='fp32'",
        "optim.lr=1e-3", "model.train.vision=false", "rewards.parity={use='test_bare_checkpoints:parity'}",
    ) / "model"  # fmt: skip
    evaluated = command(
        "eval", f"model.checkpoint='{rl}'", "n=3", "interaction.sampling.max_tokens=40",
        "interaction.sampling.temperature=1.0",
    )  # fmt: skip
    photo, page = out / "photo.png", out / "asked.jsonl"
    save_image(picture(300, 451), photo)
    assert main(["ask", str(photo), "What is this?", "--model", str(rl), "--save", str(page)]) == 0
    return Run(
        bare,
        list(read_trajectories(data)),
        {"sft": sft, "rl": rl},
        list(read_trajectories(evaluated / "trajectories.jsonl")),
        list(read_trajectories(page)),
    )


def first_crop(trajectory: Trajectory) -> Turn | None:
    crops = (turn for turn in trajectory.turns if turn.observation and turn.observation.box)
    return next(crops, None)


@pytest.fixture(scope="module")
def crops(commands: Run) -> list[tuple[Trajectory, Turn]]:
    found = [(y, turn) for y in commands.synthesised if (turn := first_crop(y))]
    assert len(found) >= 3
    return found


def test_every_first_crop_means_its_region_to_the_model_it_was_written_for(commands, crops):
    vision, syntax = load_vision_spec(commands.folder), family_of(commands.folder).syntax
    toolbox = Interaction().toolbox(vision.unit, ChatFormat.load(commands.folder))
    for trajectory, turn in crops:
        call = syntax.parse(turn.text).call
        seen = toolbox.execute(call, vision.image_context(trajectory.task.media))
        assert seen.valid
        assert seen.box == turn.observation.box
        assert seen.images == turn.observation.images
        if turn.masked is None:
            assert seen.box.contains(trajectory.task.cue.box)


def test_boxes_are_in_the_unit_of_the_family(commands, crops):
    """Qwen2.5-VL: pixels of the image as shown, here 28 times whole numbers. Qwen3-VL: thousandths."""
    vision = load_vision_spec(commands.folder)
    is_pixel = family_of(commands.folder).unit is Unit.PIXEL
    for trajectory, turn in crops:
        original = next(item for item in trajectory.task.media if isinstance(item, Picture))
        shown = vision.displayed(original, crop=False).view
        x1, y1, x2, y2 = turn.call.arguments["bbox_2d"]
        if is_pixel:
            assert shown.width % 28 == shown.height % 28 == 0
            assert shown.width * shown.height <= 50176
            whole = shown
        else:
            whole = (1000, 1000)
        scale_x, scale_y = original.size.width / whole[0], original.size.height / whole[1]
        assert 0 <= x1 < x2 <= whole[0]
        assert 0 <= y1 < y2 <= whole[1]
        box, eps = turn.observation.box, 1e-6
        assert (box.x1, box.y1) == (math.floor(x1 * scale_x + eps), math.floor(y1 * scale_y + eps))
        assert (box.x2, box.y2) == (math.ceil(x2 * scale_x - eps), math.ceil(y2 * scale_y - eps))
        assert trajectory.coordinates == vision.coordinates


@pytest.mark.parametrize("stage", ["sft", "rl"])
def test_a_saved_checkpoint_keeps_its_processor_file_and_loads_in_transformers(commands, stage):
    from transformers import AutoModelForImageTextToText

    folder = commands.saved[stage]
    assert (folder / PREPROCESSOR).read_bytes() == (commands.folder / PREPROCESSOR).read_bytes()
    assert load_vision_spec(folder) == load_vision_spec(commands.folder)
    _, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]


def test_a_saved_checkpoint_holds_the_weights_that_transformers_does_not_read(commands):
    """`mtp.*` of Qwen3.5; nothing of the other families."""
    released = _weights(commands.folder)
    unread = [name for name in released if name.startswith("mtp.")]
    config = json.loads((commands.folder / "config.json").read_text())
    assert len(unread) == (config["model_type"] == "qwen3_5")
    saved = _weights(commands.saved["rl"])  # two loads and two saves later
    for name in unread:
        assert saved[name].equal(released[name])


def _weights(folder):
    from safetensors.torch import load_file

    return {name: w for file in sorted(folder.glob("*.safetensors")) for name, w in load_file(file).items()}


@pytest.mark.parametrize("stage", ["sft", "rl"])
def test_a_saved_checkpoint_gives_the_logits_of_plain_transformers(commands, stage, picture):
    import torch
    from transformers import AutoModelForImageTextToText

    from pixelreasoner.models.patches import patch_rows
    from pixelreasoner.models.vlm import VisionLanguageModel

    ours = VisionLanguageModel.load(commands.saved[stage]).eval()
    task = Task("a", "Which number?", (picture(90, 60), picture(40, 100, 1)), ())
    row = ours.renderer.layout([prompt_of(ours.renderer, task, ())])
    theirs = AutoModelForImageTextToText.from_pretrained(commands.saved[stage], dtype=torch.float32).eval()
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.from_numpy(row.ids_T)[None],
            attention_mask=torch.ones(1, len(row), dtype=torch.long),
            mm_token_type_ids=torch.from_numpy(row.kind_T.astype("int64"))[None],
            pixel_values=patch_rows(row.blocks, ours.renderer.vision, ours.device),
            image_grid_thw=torch.tensor([block.grid_thw for block in row.blocks]),
        ).logits
        found = ours.logits(ours(ours.embed([row], ours.encode(row.blocks), left=False)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("start", "end"), [("released", "sft"), ("sft", "rl")])
def test_training_changes_the_weights_it_is_to_change(commands, start, end):
    """Also: the released weights, under their old names, are those that were loaded."""
    from transformers import AutoModelForImageTextToText

    folders = {"released": commands.folder, **commands.saved}
    before, after = (
        AutoModelForImageTextToText.from_pretrained(folders[name], dtype="float32").state_dict()
        for name in (start, end)
    )
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert any("layers" in name for name in changed)
    assert not any(".visual." in name for name in changed)
    assert max(float((before[name] - after[name]).abs().max()) for name in changed) < 0.01


def test_ids_without_a_token_are_never_sampled(commands):
    """Half of the vocabulary's rows have no token; with random weights each would be drawn as often."""
    from transformers import AutoTokenizer

    n_tokens = len(AutoTokenizer.from_pretrained(commands.folder))
    config = json.loads((commands.folder / "config.json").read_text())
    assert config.get("text_config", config)["vocab_size"] == 2 * n_tokens
    turns = chain.from_iterable(y.turns for y in (*commands.evaluated, *commands.asked))
    ids = [token for turn in turns for token in turn.sampled.ids]
    assert len(ids) > 60
    assert max(ids) < n_tokens


def test_evaluation_and_question_are_answered_in_the_models_coordinates(commands):
    expected = load_vision_spec(commands.folder).coordinates
    assert len(commands.evaluated) == 3
    assert {y.coordinates for y in (*commands.evaluated, *commands.asked)} == {expected}


def test_a_text_only_template_alone_is_refused(tmp_path, new_tokenizer, picture, capsys):
    from pixelreasoner.models.vlm import renderer_of

    write_bare_qwen2_5_vl(tmp_path, new_tokenizer())
    (tmp_path / "chat_template.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json do not.*as chat_template\.jinja"):
        renderer_of(tmp_path)
    save_image(picture(30, 40), tmp_path / "photo.png")
    assert main(["ask", str(tmp_path / "photo.png"), "What is this?", "--model", str(tmp_path)]) == 2
    assert "no chat template writes images" in capsys.readouterr().err


def test_the_template_may_be_in_another_file(bare, tmp_path):
    from pixelreasoner.models.vlm import renderer_of

    folder = shutil.copytree(bare, tmp_path / "copy")
    in_json = folder / "chat_template.json"
    if in_json.exists():
        (folder / "chat_template.jinja").write_text(json.loads(in_json.read_text())["chat_template"])
        in_json.unlink()
    else:
        template = (folder / "chat_template.jinja").read_text()
        in_json.write_text(json.dumps({"chat_template": template}))
        (folder / "chat_template.jinja").unlink()
    assert renderer_of(folder).fingerprint == renderer_of(bare).fingerprint


@pytest.mark.slow
def test_the_tokens_of_the_release(tmp_path):
    from pixelreasoner.models.vlm import renderer_of

    write_bare_qwen2_5_vl(tmp_path, released_tokenizer(), hidden=16)
    renderer = renderer_of(tmp_path)
    assert renderer.stop_ids == {151643, 151645}
    assert renderer.encode("<tool_call>")[0] == 151657
    text = 'Zoom in.\n<tool_call>\n{"name": "crop_image", "arguments": {"bbox_2d": [20, 40, 160, 224]}}'
    assert renderer.decode(renderer.encode(text)) == text
    assert {151655, 151656, 151665, 303329} <= renderer.forbidden_ids
