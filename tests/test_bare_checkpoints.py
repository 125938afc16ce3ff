"""A folder as it was released goes through every command: nothing has to be written or known first."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain, pairwise
from pathlib import Path

import pytest

from bare_folders import write_bare_qwen2_5_vl, write_bare_qwen3_vl
from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.checkpoint_files import load_vision_spec
from pixelreasoner.chat.families import family_of
from pixelreasoner.cli.main import main
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import save_image
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.trajectory import Trajectory, Turn
from pixelreasoner.env.interaction import Interaction

PREPROCESSOR = "preprocessor_config.json"


@pytest.fixture(scope="module")
def new_tokenizer(qwen3_folder: Path) -> Callable:
    from transformers import AutoTokenizer

    return lambda: AutoTokenizer.from_pretrained(qwen3_folder)


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def bare(request, tmp_path_factory, new_tokenizer, json_template) -> Path:
    folder = tmp_path_factory.mktemp(f"bare_{request.param}")
    if request.param == "qwen2_5_vl":
        write_bare_qwen2_5_vl(folder, new_tokenizer())
    else:
        write_bare_qwen3_vl(folder, new_tokenizer(), template=json_template)
    return folder


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
        "rl", f"model.checkpoint='{sft}'", "steps=1", "tasks_per_step=2", "group_size=2",
        "updates_per_step=1", "interaction.sampling.max_tokens=12", "model.precision='fp32'",
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
        if turn.trainable:
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


def test_tuning_changes_the_weights_it_is_to_change(commands):
    """Also: the released weights, under their old names, are those that were loaded."""
    from transformers import AutoModelForImageTextToText

    before, after = (
        AutoModelForImageTextToText.from_pretrained(folder, dtype="float32").state_dict()
        for folder in (commands.folder, commands.saved["sft"])
    )
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed
    assert not any(".visual." in name for name in changed)
    assert max(float((before[name] - after[name]).abs().max()) for name in changed) < 1e-3


def test_ids_without_a_token_are_never_sampled(commands, new_tokenizer):
    """Half of the vocabulary's rows have no token; with random weights each would be drawn as often."""
    n_tokens = len(new_tokenizer())
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


def test_the_template_may_be_a_file_of_its_own(bare, tmp_path):
    from pixelreasoner.models.vlm import renderer_of

    folder = shutil.copytree(bare, tmp_path / "copy")
    template = json.loads((folder / "chat_template.json").read_text())["chat_template"]
    (folder / "chat_template.json").unlink()
    (folder / "chat_template.jinja").write_text(template)
    assert renderer_of(folder).fingerprint == renderer_of(bare).fingerprint


@pytest.mark.slow
def test_the_genuine_vocabulary(tmp_path):
    """The vocabulary of Qwen2 as the package dashscope ships it: special tokens at the ids of the release."""
    package = find_spec("dashscope")  # its file alone is needed: nothing of it is imported
    if package is None or package.origin is None:
        pytest.skip("the package dashscope is not installed")
    from pixelreasoner.models.vlm import renderer_of

    write_bare_qwen2_5_vl(tmp_path, genuine_tokenizer(Path(package.origin).parent), hidden=16)
    renderer = renderer_of(tmp_path)
    assert renderer.stop_ids == {151643, 151645}
    assert renderer.encode("<tool_call>")[0] == 151657
    text = 'Zoom in.\n<tool_call>\n{"name": "crop_image", "arguments": {"bbox_2d": [20, 40, 160, 224]}}'
    assert renderer.decode(renderer.encode(text)) == text
    assert {151655, 151656, 151665, 303329} <= renderer.forbidden_ids


def genuine_tokenizer(package: Path):
    """The byte-level BPE of `qwen.tiktoken`: merges follow from the ranks of the tokens."""
    import base64

    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    (path,) = package.rglob("qwen.tiktoken")
    rows = (line.split() for line in path.read_bytes().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in rows}
    letters = bytes_to_unicode()

    def letter(token: bytes) -> str:
        return "".join(letters[b] for b in token)

    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [bytes([b]) for b in token]
        while len(parts) > 2:  # merge by rank, below the token's own, until the two it is made of are left
            pairs = [(ranks.get(a + b, rank), i) for i, (a, b) in enumerate(pairwise(parts))]
            lowest, i = min(pairs)
            assert lowest < rank
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        if len(parts) == 2:
            merges.append((letter(parts[0]), letter(parts[1])))
    tok = Tokenizer(models.BPE({letter(t): rank for t, rank in ranks.items()}, merges))
    tok.normalizer = normalizers.NFC()
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    special = (
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
        "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
        "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
    )  # fmt: skip
    plain = (
        "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
        "<|repo_name|>", "<|file_sep|>",
    )  # fmt: skip
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tok.add_tokens([AddedToken(t, special=False, normalized=False) for t in plain])
    return PreTrainedTokenizerFast(
        tokenizer_object=tok,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
