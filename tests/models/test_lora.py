"""Adapters beside frozen weights: where they are put, what they change, how they are saved and resumed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pixelreasoner.core.errors import CheckpointError, MissingExtraError
from pixelreasoner.models.adapters import merged_weights
from pixelreasoner.models.config import LoraConfig, ModelConfig
from pixelreasoner.models.loader import load_model
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel

peft = pytest.importorskip("peft")
LORA = LoraConfig(rank=2, alpha=4.0, vision=True)


def adapted(model) -> set[str]:
    """Names of the layers that have adapters."""
    return {name.removesuffix(".lora_A") for name, _ in model.hf.named_modules() if name.endswith(".lora_A")}


def merged_state(model) -> dict[str, torch.Tensor]:
    return dict(merged_weights(model.hf))


def with_adapters(folder: Path, lora: LoraConfig = LORA, **changes):
    return load_model(ModelConfig(checkpoint=str(folder), lora=lora, **changes), training=True)


def learned(model, hidden, steps: int = 2):
    """The model after some steps down any slope."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(steps):
        hidden(model).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


@pytest.fixture
def tuned(folder, hidden):
    return learned(with_adapters(folder), hidden)


def trained(model) -> set[str]:
    return {name for name, p in model.hf.named_parameters() if p.requires_grad}


class TestWhatIsTrained:
    def test_adapters_and_nothing_else(self, folder):
        model = with_adapters(folder)
        names = trained(model)
        assert names
        assert all(".lora_" in name for name in names)
        assert any("visual" in name for name in names)

    def test_in_the_decoder_alone_by_default(self, folder):
        model = with_adapters(folder, LoraConfig(targets=("q_proj", "v_proj")))
        layers = adapted(model)
        assert {name.rpartition(".")[2] for name in layers} == {"q_proj", "v_proj"}
        assert not any("visual" in name for name in layers)
        assert len(layers) == 2 * sum(hasattr(layer, "self_attn") for layer in model.decoder.layers)

    def test_in_recurrent_layers_too(self, qwen35_folder):
        """Three of the four layers: all of their projections but the two that give a number for each head."""
        model = with_adapters(qwen35_folder, LoraConfig())
        names = [name.rpartition(".")[2] for name in adapted(model) if ".linear_attn." in name]
        assert sorted(names) == sorted(3 * ["in_proj_qkv", "in_proj_z", "out_proj"])

    def test_they_start_from_their_own_seed(self, folder):
        """Whatever was drawn before, and without changing what is drawn next."""
        states = []
        for drawn, seed in ((0, 0), (5, 0), (0, 1)):
            torch.manual_seed(7)
            torch.rand(drawn)
            before = torch.get_rng_state()
            model = with_adapters(folder, LORA.model_copy(update={"seed": seed}))
            assert torch.equal(torch.get_rng_state(), before)
            states.append({n: w for n, w in model.hf.state_dict().items() if ".lora_A" in n})
        same, other = ({n for n in states[0] if torch.equal(states[0][n], s[n])} for s in states[1:])
        assert same == set(states[0])
        assert other == set()

    def test_they_start_without_effect(self, folder, hidden):
        plain = load_model(ModelConfig(checkpoint=str(folder)), training=True)
        assert torch.equal(hidden(with_adapters(folder)), hidden(plain))

    def test_every_adapter_learns_and_no_weight_moves(self, folder, hidden, tuned):
        plain = load_model(ModelConfig(checkpoint=str(folder)), training=False).hf.state_dict()
        for name, tensor in tuned.hf.state_dict().items():
            if ".lora_B" in name:
                assert tensor.any(), name
            elif ".lora_" not in name:
                assert torch.equal(tensor, plain[name.replace(".base_layer", "")]), name

    def test_with_bf16_weights_and_gradient_checkpointing(self, folder, hidden):
        """Adapters are in float32: in bf16, small steps would be rounded away."""
        model = with_adapters(folder, dtype="bf16", gradient_checkpointing=True)
        dtypes = {".lora_" in name: p.dtype for name, p in model.hf.named_parameters()}
        assert dtypes == {True: torch.float32, False: torch.bfloat16}
        before = hidden(model).detach()
        assert before.dtype == torch.bfloat16
        assert not torch.equal(hidden(learned(model, hidden)), before)

    def test_without_peft(self, folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "peft", None)
        with pytest.raises(MissingExtraError, match=r"pixelreasoner\[lora\]"):
            with_adapters(folder)


class TestMerged:
    def test_names_are_those_of_a_plain_model(self, folder, tuned):
        plain = load_model(ModelConfig(checkpoint=str(folder)), training=False)
        assert list(merged_state(tuned)) == list(plain.hf.state_dict())

    def test_a_plain_model_with_them_is_the_same_model(self, folder, hidden, tuned):
        before = hidden(tuned).detach()
        plain = load_model(ModelConfig(checkpoint=str(folder)), training=False)
        assert not torch.allclose(hidden(plain), before, atol=1e-3), "the adapters do something"
        plain.hf.load_state_dict(merged_state(tuned))
        torch.testing.assert_close(hidden(plain), before, atol=2e-5, rtol=1e-4)
        assert torch.equal(hidden(tuned), before), "merging leaves the model as it is"

    def test_by_hand(self, tuned):
        """W + alpha / rank * B A."""
        name = f"model.language_model.layers.{len(tuned.decoder.layers) - 1}.self_attn.q_proj"
        layer = tuned.hf.get_submodule(name)
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        expected = layer.base_layer.weight + 4.0 / 2 * b @ a
        torch.testing.assert_close(merged_state(tuned)[f"{name}.weight"], expected.detach())

    def test_a_saved_checkpoint_is_a_plain_one(self, folder, tmp_path, hidden, tuned):
        from transformers import AutoModelForImageTextToText

        save_checkpoint(tuned, tmp_path / "out")
        _, report = AutoModelForImageTextToText.from_pretrained(tmp_path / "out", output_loading_info=True)
        assert not any(report.values()), report
        assert not list(tmp_path.glob("out/adapter*"))
        again = VisionLanguageModel.load(tmp_path / "out")
        torch.testing.assert_close(hidden(again), hidden(tuned), atol=2e-5, rtol=1e-4)


class TestAlone:
    @pytest.fixture
    def saved(self, tuned, tmp_path) -> Path:
        save_checkpoint(tuned, tmp_path / "out", merge=False)
        return tmp_path / "out"

    def test_the_folder(self, saved, folder):
        assert not list(saved.glob("*.safetensors"))
        settings = json.loads((saved / "adapter" / "adapter_config.json").read_text())
        assert settings["base_model_name_or_path"] == str(folder.resolve())
        assert (settings["r"], settings["lora_alpha"]) == (2, 4.0)

    def test_peft_reads_it(self, saved, folder, tuned):
        from transformers import AutoModelForImageTextToText

        stock = AutoModelForImageTextToText.from_pretrained(folder)
        theirs = peft.PeftModel.from_pretrained(stock, saved / "adapter").merge_and_unload().state_dict()
        for name, weight in merged_state(tuned).items():
            torch.testing.assert_close(theirs[name], weight, msg=name)

    def test_for_use_they_are_merged(self, saved, hidden, tuned):
        model = load_model(ModelConfig(checkpoint=str(saved)), training=False)
        assert adapted(model) == set()
        torch.testing.assert_close(hidden(model), hidden(tuned), atol=2e-5, rtol=1e-4)

    def test_for_training_they_go_on(self, saved, hidden, tuned):
        """From the folder, and from the adapters named as a start; one more step is the same step."""
        starts = [with_adapters(saved), with_adapters(
            Path(tuned.source), LORA.model_copy(update={"start": saved / "adapter"}))]  # fmt: skip
        expected = {n: p for n, p in learned(tuned, hidden, 1).hf.state_dict().items() if ".lora_" in n}
        for model in starts:
            found = learned(model, hidden, 1).hf.state_dict()
            for name, tensor in expected.items():
                torch.testing.assert_close(found[name], tensor, msg=name)

    def test_a_start_is_merged_for_use(self, saved, hidden, tuned):
        lora = LORA.model_copy(update={"start": saved / "adapter"})
        config = ModelConfig(checkpoint=str(tuned.source), lora=lora)
        torch.testing.assert_close(
            hidden(load_model(config, training=False)), hidden(tuned), atol=2e-5, rtol=1e-4
        )

    @pytest.mark.parametrize("changes", [
        {"rank": 3}, {"targets": ("q_proj",)}, {"vision": False},
    ])  # fmt: skip
    def test_adapters_of_another_shape_are_refused(self, saved, changes):
        with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors does not hold"):
            with_adapters(saved, LORA.model_copy(update=changes))

    def test_damaged_adapters_are_refused(self, saved):
        path = saved / "adapter" / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:99])
        with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors"):
            load_model(ModelConfig(checkpoint=str(saved)), training=False)
        (path.parent / "adapter_config.json").write_text("{}")
        with pytest.raises(CheckpointError, match="does not name the checkpoint"):
            load_model(ModelConfig(checkpoint=str(saved)), training=False)

    def test_it_is_small(self, saved, tuned):
        kept = load_file(saved / "adapter" / "adapter_model.safetensors")
        assert set(kept) == {
            "base_model.model." + n.replace(".default", "") for n in tuned.hf.state_dict() if ".lora_" in n
        }


def test_a_run_is_resumed_from_the_state_of_its_modules(folder, hidden, tuned):
    """What a learner's state holds: strict, adapters and weights alike."""
    again = with_adapters(folder)
    again.hf.load_state_dict(tuned.hf.state_dict())
    assert torch.equal(hidden(again), hidden(tuned))
