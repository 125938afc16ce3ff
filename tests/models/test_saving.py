"""A saved folder is a whole one, the old or the new; plain transformers loads it; nothing of it is ours."""

from __future__ import annotations

import copy
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from disk import full_disk
from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.prompting import task_messages
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.task import Task
from pixelreasoner.models import saving
from pixelreasoner.models.adapters import merged_weights
from pixelreasoner.models.checkpoints import checkpoint_folder, mark_world, marked_world
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.models.loader import load_model, prepare
from pixelreasoner.models.saving import is_whole, save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel


def test_round_trip(model, tmp_path, picture):
    save_checkpoint(model, tmp_path / "out")
    again = VisionLanguageModel.load(tmp_path / "out", dtype=torch.float64)
    for name, weight in model.hf.state_dict().items():
        assert torch.equal(weight, again.hf.state_dict()[name]), name
    ours, theirs = model.renderer, again.renderer
    assert type(ours) is type(theirs)
    assert (ours.chat_format, ours.vision) == (
        theirs.chat_format,
        theirs.vision,
    )
    messages = task_messages(Task("a", "q", (picture(40, 24),), ()), ours.chat_format, tools=False)
    assert ours.prompt(messages, ()) == theirs.prompt(messages, ())
    assert ours.fingerprint == theirs.fingerprint


def strictly_loaded(folder: Path):
    """By plain transformers, without a key too many or too few."""
    from transformers import AutoModelForImageTextToText

    hf, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    return hf


def test_the_folder_is_an_ordinary_one(model, tmp_path):
    from transformers import AutoImageProcessor, AutoTokenizer

    save_checkpoint(model, tmp_path / "out")
    strictly_loaded(tmp_path / "out")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "out")
    assert tuple(processor.image_mean) == pytest.approx(model.renderer.vision.normalization.mean)
    assert (
        AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
        == model.renderer.tokenizer.chat_template
    )
    assert (tmp_path / "out" / "generation_config.json").is_file()


def test_a_checkpoints_own_processor_files_are_copied(own_folder, tmp_path):
    """Also what we know nothing of."""
    (own_folder / "video_preprocessor_config.json").unlink(missing_ok=True)
    path = own_folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_something_else": True}))
    save_checkpoint(VisionLanguageModel.load(own_folder), tmp_path / "out")
    assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    assert not (tmp_path / "out" / "video_preprocessor_config.json").exists()


def test_the_mark_of_the_world_it_was_taught_goes_along(own_folder, tmp_path):
    assert marked_world(own_folder) is None
    mark_world(own_folder, "pixelworld")
    save_checkpoint(VisionLanguageModel.load(own_folder), tmp_path / "trained")
    assert marked_world(tmp_path / "trained") == "pixelworld"
    assert marked_world(checkpoint_folder("nano")) == "pixelworld"


@pytest.mark.parametrize("mark", ['{"format": 1}', "{", "[]", '{"world": 3}'])
def test_a_mark_that_names_no_world(mark, tmp_path):
    assert marked_world(tmp_path) is None
    (tmp_path / "pixelreasoner.json").write_text(mark)
    assert marked_world(tmp_path) is None


def test_a_model_without_them_gets_ours(own_model, tmp_path):
    save_checkpoint(own_model, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())
    assert config["patch_size"] == own_model.renderer.vision.patch
    assert (tmp_path / "out" / "video_preprocessor_config.json").is_file()


@pytest.mark.parametrize(("loaded", "given", "saved"), [
    ("bf16", None, torch.bfloat16), ("fp32", None, torch.float32), ("fp32", torch.bfloat16, torch.bfloat16),
])  # fmt: skip
def test_the_dtype_is_that_of_the_weights_in_memory_or_the_one_asked_for(
    folder, tmp_path, loaded, given, saved
):
    model = load_model(ModelConfig(checkpoint=str(folder), dtype=loaded), training=False)
    before = {p.dtype for p in model.parameters()}
    save_checkpoint(model, tmp_path / "out", dtype=given)
    assert {w.dtype for w in load_file(tmp_path / "out" / "model.safetensors").values()} == {saved}
    name = str(saved).removeprefix("torch.")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == name
    assert strictly_loaded(tmp_path / "out").dtype == saved
    assert {p.dtype for p in model.parameters()} == before


class TestTiedEmbeddings:
    @pytest.fixture
    def tied(self, model) -> VisionLanguageModel:
        config = copy.deepcopy(model.hf.config)
        config.tie_word_embeddings = config.text_config.tie_word_embeddings = True
        config.vision_config._attn_implementation = "sdpa"
        hf = type(model.hf)._from_config(config, dtype=torch.float32, attn_implementation="sdpa")
        assert hf.lm_head.weight is hf.model.language_model.embed_tokens.weight
        prepare(hf)
        return VisionLanguageModel(hf, model.renderer)

    @pytest.mark.parametrize("dtype", [None, torch.bfloat16])
    def test_they_are_written_once(self, tied, tmp_path, dtype):
        save_checkpoint(tied, tmp_path / "out", dtype=dtype)
        names = set(load_file(tmp_path / "out" / "model.safetensors"))
        assert "lm_head.weight" not in names
        assert sum("embed_tokens" in name for name in names) == 1
        again = strictly_loaded(tmp_path / "out")
        assert again.lm_head.weight is again.model.language_model.embed_tokens.weight
        wanted = tied.hf.lm_head.weight.to(dtype or torch.float32)
        assert torch.equal(again.lm_head.weight, wanted)
        VisionLanguageModel.load(tmp_path / "out")

    def test_they_are_streamed_once(self, tied):
        names = [name for name, _ in merged_weights(tied.hf)]
        assert len(names) == len(set(names))
        assert "lm_head.weight" not in names


def test_the_stream_of_weights_copies_nothing(model):
    own = {name: w.data_ptr() for name, w in model.hf.state_dict().items()}
    found = {name: w.data_ptr() for name, w in dict(merged_weights(model.hf)).items()}
    assert found == own
    assert not any(w.requires_grad for w in dict(merged_weights(model.hf)).values())


def test_a_failed_write_leaves_the_old_folder(own_model, tmp_path, monkeypatch):
    save_checkpoint(own_model, tmp_path / "out")
    before = contents(tmp_path / "out")
    doubled(own_model)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(own_model.renderer.tokenizer, "save_pretrained", fail)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_checkpoint(own_model, tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


class TestKilled:
    """The old folder or the new one, and never half of one."""

    @pytest.fixture
    def saved(self, own_model, tmp_path) -> Path:
        save_checkpoint(own_model, tmp_path / "out")
        return tmp_path / "out"

    def test_before_the_new_one_takes_its_name(self, own_model, saved, monkeypatch):
        before = contents(saved)
        doubled(own_model)

        def killed(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(saving, "_take_name", killed)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(own_model, saved)
        assert contents(saved) == before
        monkeypatch.undo()
        save_checkpoint(own_model, saved)
        assert contents(saved) != before
        assert [p.name for p in saved.parent.iterdir() if p.name.startswith(".")] == []

    def test_between_the_steps_where_names_cannot_be_exchanged(self, own_model, saved, monkeypatch):
        before = contents(saved)
        monkeypatch.setattr(saving, "_exchanged", lambda a, b: False)
        save_checkpoint(own_model, saved)
        assert contents(saved) == before, "the same weights, by two renames"
        assert sorted(p.name for p in saved.parent.iterdir()) == ["out"]

    @pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
    def test_at_any_moment(self, qwen3_folder, tmp_path):
        """A process that saves twice as large weights again and again is killed, each time a bit later."""
        out = tmp_path / "out"
        start = VisionLanguageModel.load(qwen3_folder)
        save_checkpoint(start, out)
        code = (
            "import sys, pathlib, torch\n"
            "from pixelreasoner.models.vlm import VisionLanguageModel\n"
            "model = VisionLanguageModel.load(sys.argv[1])\n"
            "print('ready', flush=True)\n"
            "while True:\n"
            "    with torch.no_grad():\n"
            "        for p in model.parameters(): p.mul_(2)\n"
            "    model.save(pathlib.Path(sys.argv[2]))\n"
        )
        first = start.decoder.embed_tokens.weight.detach()
        for delay in (0.02, 0.11, 0.23):
            process = subprocess.Popen(
                [sys.executable, "-c", code, str(qwen3_folder), str(out)], stdout=subprocess.PIPE
            )
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            found = VisionLanguageModel.load(out)
            factor = (found.decoder.embed_tokens.weight / first).detach()
            # Every weight from the same save: the one before the loop, or a later one.
            assert factor.min() == factor.max() >= 1
            for name, weight in start.hf.state_dict().items():
                assert torch.equal(found.hf.state_dict()[name], weight * factor.max()), name

    def test_what_a_kill_left_is_taken_away(self, own_model, saved):
        left = saved.parent / f".out.{'0' * 32}.part"
        left.mkdir()
        (left / "half").write_text("")
        save_checkpoint(own_model, saved)
        assert not left.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("room", [0, 5_000, 60_000])
def test_on_a_full_disk_the_old_folder_stays_and_nothing_else(own_model, tmp_path, room):
    """Whichever writer it comes to: ours, that of transformers, of safetensors, of tokenizers."""
    save_checkpoint(own_model, tmp_path / "out")
    before = contents(tmp_path / "out")
    doubled(own_model)
    with full_disk(room), pytest.raises(CheckpointError, match="out cannot be written: the disk is full"):
        save_checkpoint(own_model, tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_c10_a_copy_without_its_chat_format_is_refused(own_model, tmp_path):
    """Its config.json says that one belongs to it, so every beginning of a copy shows."""
    save_checkpoint(own_model, tmp_path / "out")
    for name in ("chat_format.json", "pixelreasoner.json"):
        (tmp_path / "out" / name).unlink()
    with pytest.raises(CheckpointError, match=r"lacks its chat_format\.json"):
        VisionLanguageModel.load(tmp_path / "out")
    assert not is_whole(tmp_path / "out")


def test_c10_of_the_shipped_checkpoint(tmp_path):
    shutil.copyfile(checkpoint_folder("nano") / "config.json", tmp_path / "config.json")
    with pytest.raises(CheckpointError, match=r"lacks its chat_format\.json"):
        ChatFormat.load(tmp_path)


def test_c9_a_folder_is_whole_once_its_last_file_is_there(own_model, tmp_path):
    save_checkpoint(own_model, tmp_path / "out")
    assert is_whole(tmp_path / "out")
    (tmp_path / "out" / "pixelreasoner.json").unlink()
    assert not is_whole(tmp_path / "out")
    assert not is_whole(tmp_path / "nothing")


def test_something_else_is_never_overwritten(own_model, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="choose another folder"):
        save_checkpoint(own_model, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_empty_folder_is_used(own_model, tmp_path):
    (tmp_path / "out").mkdir()
    save_checkpoint(own_model, tmp_path / "out")
    assert (tmp_path / "out" / "config.json").is_file()


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def doubled(model) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
