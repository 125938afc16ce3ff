"""The dry run against passes that take memory: what is saved for the backward pass, and true figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.learn.optimizers import new_optimizer, state_bytes
from pixelreasoner.models.config import LoraConfig, ModelConfig, TrainableParts
from pixelreasoner.models.dry_run import (
    RowShape,
    meta_model,
    one_group,
    reading_memory,
    row_memory,
)
from pixelreasoner.models.loader import load_model
from pixelreasoner.models.logprobs import score_hidden
from pixelreasoner.models.memory import gradient_bytes, trained, weight_bytes
from pixelreasoner.models.storage_meter import StorageMeter, tensors_of
from pixelreasoner.models.vlm import Batch, VisionLanguageModel

ROW = one_group(prompt=60, completion=30, rollouts=3, grids=((1, 8, 12), (1, 4, 4)), loss_tokens=70)


def configured(folder: Path, **changes) -> ModelConfig:
    return ModelConfig(checkpoint=str(folder), device="cpu", dtype="fp32", **changes)


def dry(config: ModelConfig) -> VisionLanguageModel:
    return meta_model(config, device="cpu", dtype=torch.float32, training=True)


def forward(model: VisionLanguageModel, row: RowShape) -> Tensor:
    """The pass of the dry run, written down again for tensors with memory."""
    tower = model.vision
    width = 3 * tower.config.temporal_patch_size * tower.config.patch_size**2
    learns = any(p.requires_grad for p in tower.parameters())
    with torch.set_grad_enabled(learns):
        out = tower(torch.randn(row.patches, width), grid_thw=torch.tensor(row.grids))
    n = row.plan.n_tokens
    embeds = model.decoder.embed_tokens(torch.zeros(1, n, dtype=torch.long))
    places = torch.arange(len(out.pooler_output))
    embeds.flatten(0, 1).index_copy_(0, places, out.pooler_output.to(embeds.dtype))
    visual = torch.zeros(1, n, dtype=torch.bool)
    visual[0, places] = True
    deepstack = list(out.get("deepstack_features") or ())
    position = torch.arange(n).expand(3, 1, n).contiguous()
    batch = Batch(embeds, torch.ones(1, n, dtype=torch.long), position, visual, deepstack)
    hidden = model(batch, shared_prefix=row.plan)[0][torch.arange(row.loss_tokens) % n]
    return score_hidden(model, hidden, torch.zeros(row.loss_tokens, dtype=torch.long)).logp_N.sum()


def saved_bytes(model: VisionLanguageModel, run: Callable[[], Tensor]) -> int:
    """What autograd saves in a pass, each storage once, those of the model left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found: dict[int, int] = {}
    held: list[Tensor] = []

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
            held.append(x)  # its address is not given to another
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        total = run()
    assert total.requires_grad
    return sum(found.values())


def test_weights_gradients_and_states_are_those_of_a_real_step(folder):
    config = configured(folder)
    real = load_model(config, training=True)
    optimizer = new_optimizer(real.parameters(), OptimConfig())
    for p in real.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    weights = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in real.parameters()}
    states = [x for state in optimizer.state.values() for x in state.values()]
    model = dry(config)
    assert weight_bytes(model) == sum(weights.values())
    assert gradient_bytes(model) == sum(p.grad.nbytes for p in real.parameters() if p.grad is not None)
    assert sum(state_bytes(p, OptimConfig()) for p in trained(model)) == sum(x.nbytes for x in states)


@pytest.mark.parametrize("vision", [True, False])
def test_what_a_row_keeps_is_what_autograd_saves(folder, vision):
    config = configured(folder, train=TrainableParts(vision=vision))
    real = load_model(config, training=True)
    measured = saved_bytes(real, lambda: forward(real, ROW))
    found = row_memory(dry(config), ROW)
    # Outputs that are alive though nothing saved them, such as the features of a fixed tower.
    assert measured == pytest.approx(found.kept, rel=0.03)
    assert found.peak > found.kept


@pytest.mark.parametrize("changes", [
    {}, {"gradient_checkpointing": True}, {"train": TrainableParts(vision=False)},
    {"train": TrainableParts(vision=False), "gradient_checkpointing": True},
])  # fmt: skip
def test_the_peak_is_that_of_a_pass_with_memory(folder, changes):
    config = configured(folder, **changes)
    real = load_model(config, training=True)
    for p in trained(real):
        p.grad = torch.zeros_like(p)
    meter = StorageMeter(tensors_of(real))
    with meter:
        torch.autograd.backward(forward(real, ROW))
    found = row_memory(dry(config), ROW)
    assert found.peak == pytest.approx(meter.peak, rel=0.03)


def test_recomputation_keeps_less(folder):
    whole, again = (row_memory(dry(configured(folder, gradient_checkpointing=c)), ROW) for c in (False, True))
    assert again.kept < whole.kept / 2
    assert again.peak < whole.peak


def test_gradients_that_come_anew_count(folder):
    model = dry(configured(folder))
    short = one_group(2, 1, 1, (), 1)
    held, anew = (row_memory(model, short, gradients_held=held).peak for held in (True, False))
    assert held < anew <= held + gradient_bytes(model)


def test_autocast_keeps_copies_of_weights_and_half_of_the_rest(folder):
    config = configured(folder)
    real = load_model(config, training=True)

    def run() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return forward(real, ROW)

    found = row_memory(dry(config), ROW, bf16_products=True)
    assert found.kept == pytest.approx(saved_bytes(real, run), rel=0.15 if real.recurrent else 0.1)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_peak_under_autocast_is_that_of_a_pass_with_memory(folder, checkpointing):
    config = configured(folder, gradient_checkpointing=checkpointing)
    real = load_model(config, training=True)
    for p in trained(real):
        p.grad = torch.zeros_like(p)
    meter = StorageMeter(tensors_of(real))
    with meter:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            total = forward(real, ROW)
        torch.autograd.backward(total)
    found = row_memory(dry(config), ROW, bf16_products=True)
    assert found.peak == pytest.approx(meter.peak, rel=0.15 if real.recurrent else 0.1)


def test_adapters_alone_learn(folder):
    pytest.importorskip("peft")
    model = dry(configured(folder, lora=LoraConfig(rank=4)))
    assert 0 < gradient_bytes(model) < weight_bytes(model) / 10
    assert row_memory(model, ROW).kept < row_memory(dry(configured(folder)), ROW).kept * 1.5


def test_reading_keeps_nothing_from_layer_to_layer(folder):
    model = dry(configured(folder))
    # One score only: those of a whole row would outweigh layers as small as these.
    row = one_group(prompt=600, completion=300, rollouts=3, grids=ROW.grids, loss_tokens=1)
    assert reading_memory(model, row) < row_memory(model, row).kept / 2


# True shapes

SEVEN_B = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "model_type": "qwen2_5_vl",
    "tie_word_embeddings": False,
    "text_config": {
        "model_type": "qwen2_5_vl_text", "vocab_size": 152064, "hidden_size": 3584, "num_hidden_layers": 28,
        "num_attention_heads": 28, "num_key_value_heads": 4, "intermediate_size": 18944,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    },
    "vision_config": {
        "model_type": "qwen2_5_vl", "depth": 32, "hidden_size": 1280, "intermediate_size": 3420,
        "num_heads": 16, "patch_size": 14, "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31],
        "out_hidden_size": 3584,
    },
}  # fmt: skip
GROUP = one_group(5402, 611, 8, ((1, 142, 144), *((1, 32, 32),) * 8), 8 * 340)
"""About the group that was measured: a prompt of 5,402 tokens, 10,292 in all."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "gradients_held", "measured"),
    [
        # docs/performance.md, "On an accelerator": beside the weights, gradients of the first row included.
        ({"gradient_checkpointing": True}, False, 18.7),
        # LoRA of rank 16, adapters in fp32, with the optimiser's step: all together.
        ({"gradient_checkpointing": True, "lora": LoraConfig(rank=16)}, True, 21.8),
    ],
)
def test_a_7b_takes_what_was_measured_on_an_h100(tmp_path, changes, gradients_held, measured):
    (tmp_path / "config.json").write_text(json.dumps(SEVEN_B))
    config = ModelConfig(checkpoint=str(tmp_path), **changes)
    model = meta_model(config, device="cuda", dtype=torch.bfloat16, training=True)
    found = row_memory(model, GROUP, gradients_held=gradients_held).peak
    if config.lora is not None:
        found += weight_bytes(model) + gradient_bytes(model)
        found += sum(state_bytes(p, OptimConfig()) for p in trained(model))
    assert found / 2**30 == pytest.approx(measured, rel=0.03)
