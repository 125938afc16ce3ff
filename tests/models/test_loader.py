"""One loader: device, dtype, what learns, adapters, clear errors; folders saved whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from pixelreasoner.core.errors import CheckpointError, ConfigError
from pixelreasoner.core.task import Task
from pixelreasoner.models.adapters import adapter_weights, merged_weights
from pixelreasoner.models.attention import shared_prefix
from pixelreasoner.models.attention.flash_kernels import Chunked
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.config import LoraConfig, ModelConfig, TrainableParts
from pixelreasoner.models.loader import load_model
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel
from prompting import prompt_of


def loaded(folder: Path, *, training: bool = True, **changes: object) -> VisionLanguageModel:
    config = ModelConfig.model_validate({"checkpoint": str(folder), "device": "cpu", **changes})
    return load_model(config, training=training)


def learning(model: VisionLanguageModel) -> set[str]:
    """The parts that take gradients."""
    parts = {"model.visual": "vision", "embed_tokens": "embeddings", "lm_head": "embeddings"}
    names = [name for name, p in model.hf.named_parameters() if p.requires_grad]
    return {next((part for key, part in parts.items() if key in name), "language") for name in names}


def layout(model: VisionLanguageModel, picture):
    return model.renderer.layout([prompt_of(model.renderer, Task("t", "Which?", (picture(40, 24),), ()), ())])


def hidden(model: VisionLanguageModel, row) -> torch.Tensor:
    features = model.encode(row.blocks)
    return model(model.embed([row], features, left=False))


class TestWhatLearns:
    def test_nothing_does_when_it_is_only_used(self, folder):
        model = loaded(folder, training=False)
        assert not model.training
        assert learning(model) == set()

    @pytest.mark.parametrize("parts", [
        {"vision": False}, {"embeddings": False}, {"language": False}, {"vision": False, "embeddings": False},
    ])  # fmt: skip
    def test_the_parts_a_recipe_names(self, folder, parts):
        model = loaded(folder, train=parts)
        assert model.training
        assert learning(model) == {"vision", "language", "embeddings"} - set(parts)

    def test_a_recipe_in_which_nothing_learns_is_refused(self):
        with pytest.raises(ValueError, match="no part of the model learns"):
            ModelConfig(train=TrainableParts(vision=False, language=False, embeddings=False))

    def test_the_constructor_changes_nothing(self, folder):
        hf = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="sdpa").train()
        hf.requires_grad_(False)
        before = {name: type(module) for name, module in hf.named_modules()}
        model = VisionLanguageModel(hf, loaded(folder).renderer)
        assert {name: type(module) for name, module in hf.named_modules()} == before
        assert hf.model.language_model.config._attn_implementation == "sdpa"
        assert hf.model.visual.config._attn_implementation == "sdpa"
        assert learning(model) == set()
        assert hf.training


class TestFormats:
    def test_bfloat16_weights_on_a_processor(self, folder, picture):
        exact, small = loaded(folder, training=False), loaded(folder, training=False, dtype="bf16")
        assert small.dtype == torch.bfloat16
        row = layout(exact, picture)
        with torch.no_grad():
            a, b = hidden(exact, row), hidden(small, row)
        assert b.dtype == torch.bfloat16
        assert 0 < ((a - b).norm() / a.norm()) < 0.03

    def test_auto_is_float32_on_a_processor(self, folder):
        assert loaded(folder).dtype == torch.float32

    @pytest.mark.parametrize("device", ["cuda:99", "tpu", "cuda:x"])
    def test_a_device_that_is_not_there(self, qwen3_folder, device):
        with pytest.raises(ConfigError, match=f"device '{device}' cannot be used here"):
            loaded(qwen3_folder, device=device)

    @pytest.mark.parametrize("train", [{}, {"embeddings": False}, {"vision": False, "embeddings": False}])
    def test_gradient_checkpointing_gives_the_same_gradients(self, folder, picture, train):
        def gradients(model):
            row = layout(model, picture)
            hidden(model, row).square().mean().backward()
            return {name: p.grad for name, p in model.hf.named_parameters() if p.grad is not None}

        plain = loaded(folder, train=train)
        recomputed = loaded(folder, train=train, gradient_checkpointing=True)
        assert recomputed.hf.is_gradient_checkpointing
        expected, found = gradients(plain), gradients(recomputed)
        assert expected.keys() == found.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, atol=1e-7, rtol=1e-5)


class TestThreads:
    def test_the_process_gets_as_many_as_the_recipe_says(self, qwen3_folder):
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(2)
            loaded(qwen3_folder)
            assert torch.get_num_threads() == 2, "None leaves them"
            loaded(qwen3_folder, threads=1)
            assert torch.get_num_threads() == 1
        finally:
            torch.set_num_threads(before)


class TestAttention:
    @pytest.fixture
    def folder(self, attending_folder):
        return attending_folder

    def test_a_mask_beyond_the_limit_is_refused(self, folder, hidden):
        assert torch.isfinite(hidden(loaded(folder, attention="dense"))).all()
        with pytest.raises(ConfigError, match=r"tokens, and max_dense_tokens is 7; set attention = 'auto'"):
            hidden(loaded(folder, attention="dense", max_dense_tokens=7))

    def test_flash_where_there_is_none(self, folder, hidden, monkeypatch):
        monkeypatch.setattr(shared_prefix, "kernel_for", lambda q: Chunked())
        assert torch.isfinite(hidden(loaded(folder))).all()
        with pytest.raises(ConfigError, match=r"no flash attention kernel for float32 .* on cpu"):
            hidden(loaded(folder, attention="flash"))

    def test_all_kernels_give_the_same(self, folder, hidden):
        auto, dense = (hidden(loaded(folder, attention=kind).double()) for kind in ("auto", "dense"))
        torch.testing.assert_close(auto, dense, atol=1e-12, rtol=1e-12)

    def test_a_plan_is_never_overlooked(self, own_model, hidden):
        own_model.decoder.config._attn_implementation = "sdpa"
        with pytest.raises(AssertionError, match="would not look at a plan"):
            hidden(own_model)

    def test_packed_rows_are_replayed_by_gradient_checkpointing(self, folder, hidden):
        """With the tower and the decoder run again; in float64, to the last digits."""
        gradients = []
        for on in (False, True):
            model = loaded(folder, gradient_checkpointing=on).double()
            runs = []
            model.decoder.layers[1].self_attn.register_forward_pre_hook(lambda *_, runs=runs: runs.append(1))
            hidden(model).square().sum().backward()
            assert len(runs) == 1 + on, "the layer is run again in the backward pass"
            gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
        assert any("visual" in name for name in gradients[0])
        assert gradients[0].keys() == gradients[1].keys()
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(gradients[1][name], gradient, atol=1e-12, rtol=1e-10, msg=name)


def test_the_terminal_stays_quiet(folder, capfd):
    loaded(folder)
    assert capfd.readouterr() == ("", "")


class TestFolders:
    def test_hub_ids_that_cannot_be_had_say_so(self, monkeypatch):
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(CheckpointError, match=r"hub cannot be reached.*hf download nobody/no-such-model"):
            checkpoint_folder("nobody/no-such-model")

    def test_a_hub_id_is_taken_from_the_cache(self, qwen3_folder, tmp_path, monkeypatch):
        """The layout of the hub's cache: a snapshot folder that a ref names."""
        from huggingface_hub import constants

        repository = tmp_path / "models--somebody--tiny"
        commit = "0" * 40
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(commit)
        shutil.copytree(qwen3_folder, repository / "snapshots" / commit)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert checkpoint_folder("somebody/tiny").samefile(repository / "snapshots" / commit)

    def test_what_is_neither_is_told_the_three_ways(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"folder with a config\.json, a model of the hub .* nano"):
            checkpoint_folder("no checkpoint")

    @pytest.mark.parametrize(("content", "reason"), [
        ("half", "cut short or damaged"), (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ])  # fmt: skip
    def test_damaged_weights(self, qwen3_folder, tmp_path, content, reason):
        """Case C23: half a download, a pointer in the place of a file, an empty file."""
        shutil.copytree(qwen3_folder, tmp_path / "c")
        path = tmp_path / "c" / "model.safetensors"
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
        with pytest.raises(CheckpointError, match=rf"safetensors cannot be read \(.*{reason}.*download"):
            loaded(tmp_path / "c")

    @pytest.mark.parametrize("name", [
        "config.json", "tokenizer.json", "tokenizer_config.json", "chat_format.json",
        "generation_config.json", "preprocessor_config.json",
    ])  # fmt: skip
    def test_damaged_settings(self, qwen3_folder, tmp_path, name):
        """Case C23, of the small files: cut short, empty, a pointer, no text, another kind of JSON."""
        shutil.copytree(qwen3_folder, tmp_path / "c")
        path = tmp_path / "c" / name
        whole = path.read_bytes()
        wrong = {
            "cut short or damaged": whole[: len(whole) // 2],
            "it is empty": b"",
            "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "cut short": b"\xff\xfe\x00\x81" * 20,
            "": b"[]",
        }
        for reason, content in wrong.items():
            path.write_bytes(content)
            with pytest.raises(CheckpointError, match=rf"{name}.*{reason}.*(download|copy)") as e:
                loaded(tmp_path / "c")
            assert "\n" not in str(e.value)

    def test_json_that_is_no_tokenizer(self, own_folder):
        """What its library says of it is no class of its own."""
        (own_folder / "tokenizer.json").write_text('{"model": {"type": "BPE"}}')
        with pytest.raises(
            CheckpointError, match=r"no tokenizer that can be read .*; download tokenizer\.json"
        ):
            loaded(own_folder)

    def test_weights_that_are_not_there(self, own_folder):
        (own_folder / "model.safetensors").unlink()
        with pytest.raises(CheckpointError, match=r"holds no weights .*; download the checkpoint again"):
            loaded(own_folder)

    def test_a_shard_that_is_missing(self, own_folder, model):
        model.hf.save_pretrained(own_folder, max_shard_size="40KB")
        (own_folder / "model.safetensors").unlink(missing_ok=True)
        shard = sorted(own_folder.glob("model-*.safetensors"))[1]
        shard.unlink()
        with pytest.raises(CheckpointError, match=rf"{shard.name} is missing.*download"):
            loaded(own_folder)

    def test_an_index_that_is_no_index(self, own_folder):
        (own_folder / "model.safetensors.index.json").write_text("[]")
        with pytest.raises(CheckpointError, match=r"index\.json cannot be read"):
            loaded(own_folder)

    def test_many_weights_that_are_missing(self, own_folder):
        weights = load_file(own_folder / "model.safetensors")
        few = {name: w for name, w in weights.items() if "_proj" not in name}
        save_file(few, own_folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match=r"lacks weights: .*proj.*, and \d+ more$"):
            loaded(own_folder)

    def test_a_weight_of_another_shape_is_named(self, qwen3_folder, tmp_path):
        """Case C24."""
        shutil.copytree(qwen3_folder, tmp_path / "c")
        path = tmp_path / "c" / "model.safetensors"
        weights = load_file(path)
        name = next(k for k in weights if k.endswith("q_proj.weight"))
        weights[name] = weights[name][:-8].clone()
        save_file(weights, path, metadata={"format": "pt"})
        with pytest.raises(
            CheckpointError, match=rf"of another shape .*: {name} is 24x32 and should be 32x32"
        ):
            loaded(tmp_path / "c")


class TestAdapters:
    LORA = LoraConfig(rank=2, alpha=4.0)

    def test_new_ones_change_nothing_and_alone_learn(self, folder, picture):
        plain, adapted = loaded(folder), loaded(folder, lora=self.LORA)
        row = layout(plain, picture)
        assert torch.equal(hidden(plain, row), hidden(adapted, row))
        names = {name for name, p in adapted.hf.named_parameters() if p.requires_grad}
        assert names == set(adapter_weights(adapted.hf))
        assert all(".lora_" in name and "language_model" in name for name in names)
        hidden(adapted, row).square().mean().backward()
        assert all(p.grad is not None for p in adapted.hf.parameters() if p.requires_grad)

    def test_the_merged_model_is_an_ordinary_one_with_the_same_numbers(self, folder, tmp_path, picture):
        model = loaded(folder, lora=self.LORA)
        generator = torch.Generator().manual_seed(0)
        for name, parameter in model.hf.named_parameters():
            if ".lora_B." in name:
                parameter.data.normal_(0.0, 0.1, generator=generator)
        row = layout(model, picture)
        with torch.no_grad():
            expected = hidden(model, row)
        save_checkpoint(model, tmp_path / "out")
        again = loaded(tmp_path / "out", training=False)
        with torch.no_grad():
            torch.testing.assert_close(hidden(again, row), expected, atol=1e-5, rtol=1e-4)
            assert not torch.allclose(expected, hidden(loaded(folder, training=False), row), atol=1e-3)
        assert [n for n, _ in merged_weights(model.hf)] == list(again.hf.state_dict())

    def test_on_bfloat16_weights_adapters_are_float32(self, qwen3_folder):
        model = loaded(qwen3_folder, lora=self.LORA, dtype="bf16")
        assert {w.dtype for w in adapter_weights(model.hf).values()} == {torch.float32}
        assert model.dtype == torch.bfloat16

    def test_layers_that_are_not_there(self, qwen3_folder):
        with pytest.raises(ConfigError, match="no linear layer is called conv"):
            loaded(qwen3_folder, lora=LoraConfig(targets=("conv",)))
