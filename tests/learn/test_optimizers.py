"""The optimisers of recipes: what they move, what they keep in memory, what they refuse."""

from __future__ import annotations

import copy
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from pixelreasoner.core.errors import ConfigError, MissingExtraError
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.learn.optimizers import OPTIMIZERS, bytes_per_parameter, new_optimizer
from pixelreasoner.learn.rounded_adamw import Float32Moment, RoundedAdamW, stochastic_bf16
from pixelreasoner.learn.state import load_state, save_state

BF16, FP32 = torch.bfloat16, torch.float32


def has_torchao() -> bool:
    return find_spec("torchao") is not None


EIGHT_BIT = pytest.param("adamw_8bit", marks=pytest.mark.skipif(not has_torchao(), reason="needs torchao"))
BF16_KINDS = ["adamw_bf16", EIGHT_BIT]
KINDS = ["adamw", *BF16_KINDS]


def weights_of(kind: str) -> torch.dtype:
    return FP32 if kind == "adamw" else BF16


def settings(kind: str, **changes) -> OptimConfig:
    return OptimConfig.model_validate({"kind": kind, "lr": 1e-3, "weight_decay": 0.1} | changes)


def mlp(dtype: torch.dtype = FP32) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 64))
    return model.to(dtype)


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.randn(32, 64, generator=torch.Generator().manual_seed(step))
    return inputs, inputs.roll(1, dims=1) * 0.5


def tune(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> list[float]:
    """The losses, computed in float32 whatever the weights are in."""
    losses = []
    for step in steps:
        inputs, wanted = batch(step)
        out = model(inputs.to(next(model.parameters()).dtype)).float()
        loss = (out - wanted).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def test_a_value_is_rounded_to_its_neighbours_and_right_in_the_mean():
    below, above = 1.0, 1.0 + 2**-7  # 8 bits of mantissa, the leading one included
    values = torch.full((40_000,), below + 0.25 * 2**-7)
    rounded = stochastic_bf16(values, torch.Generator().manual_seed(0)).float()
    assert set(rounded.tolist()) == {below, above}
    assert (rounded == above).float().mean().item() == pytest.approx(0.25, abs=0.01)
    exact = torch.tensor([0.0, -1.5, 3.0, torch.inf, -torch.inf])
    assert torch.equal(stochastic_bf16(exact, torch.Generator()).float(), exact)
    assert stochastic_bf16(torch.tensor([torch.nan]), torch.Generator()).isnan().all()


def test_float32_weights_move_as_those_of_torch():
    one, other = mlp(), mlp()
    groups = [{"params": list(one.parameters()), "weight_decay": 0.1}]
    ours = RoundedAdamW(groups, lr=1e-3, betas=(0.9, 0.99), moment=Float32Moment())
    theirs = torch.optim.AdamW(other.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
    tune(one, ours, range(20))
    tune(other, theirs, range(20))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_pieces_of_a_weight_are_the_weight(monkeypatch):
    """Of fewer values than it has, the last one shorter."""
    models = []
    for size in (2**24, 3 * 256):
        monkeypatch.setattr("pixelreasoner.learn.rounded_adamw.PIECE", size)
        models.append(mlp())
        optimizer = new_optimizer(models[-1].parameters(), settings("adamw_bf16"))
        tune(models[-1], optimizer, range(3))
    for a, b in zip(*(m.parameters() for m in models), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", BF16_KINDS)
def test_bf16_weights_learn_what_float32_ones_learn_and_rounded_to_the_nearest_do_not(kind):
    """150 steps, each a fraction of the distance of two bf16 numbers: within 3 % of the loss gained."""
    config, steps = settings(kind, lr=1e-4, weight_decay=0), range(150)
    reference = mlp()
    wanted = tune(
        reference, new_optimizer(reference.parameters(), settings("adamw", lr=1e-4, weight_decay=0)), steps
    )
    stochastic, nearest = mlp(BF16), mlp(BF16)
    found = tune(stochastic, new_optimizer(stochastic.parameters(), config), steps)
    lost = tune(nearest, torch.optim.AdamW(nearest.parameters(), lr=1e-4, betas=config.betas), steps)

    def gained(losses: list[float]) -> float:
        return sum(losses[:10]) / 10 - sum(losses[-10:]) / 10

    assert gained(wanted) > 0.05
    assert gained(found) == pytest.approx(gained(wanted), rel=0.03)
    assert gained(lost) < 0.5 * gained(wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_optimizer_goes_on_bit_for_bit(kind, tmp_path):
    """Through the file of a state, with other random numbers drawn between."""
    model = mlp(weights_of(kind))
    optimizer = new_optimizer(model.parameters(), settings(kind))
    tune(model, optimizer, range(3))
    save_state(tmp_path / "state.pt", {"optimizer": optimizer.state_dict()})
    again = copy.deepcopy(model)
    torch.rand(7)
    resumed = new_optimizer(again.parameters(), settings(kind))
    state = load_state(tmp_path / "state.pt")
    assert state is not None
    resumed.load_state_dict(state["optimizer"])
    assert tune(model, optimizer, range(3, 6)) == tune(again, resumed, range(3, 6))
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [BF16, FP32])
def test_the_memory_stated_is_what_the_tensors_take(kind, dtype):
    if dtype not in OPTIMIZERS.find(kind).dtypes:
        pytest.skip("refused")
    parameter = nn.Parameter(torch.randn(256, 512).to(dtype))
    optimizer = new_optimizer([parameter], settings(kind))
    parameter.square().sum().backward()
    optimizer.step()
    tensors = [parameter, parameter.grad, *optimizer.state[parameter].values()]
    measured = sum(t.numel() * t.element_size() for t in tensors if isinstance(t, torch.Tensor) and t.ndim)
    assert measured / parameter.numel() == bytes_per_parameter(kind, dtype)


def test_a_model_of_four_billion_weights_fits_one_card_in_8_bits_and_not_in_float32():
    assert bytes_per_parameter("adamw", FP32) == 16
    assert bytes_per_parameter("adamw_bf16", BF16) == 12
    assert bytes_per_parameter("adamw_8bit", BF16) == pytest.approx(6.03, abs=0.01)


@pytest.mark.parametrize(
    ("kind", "dtype", "n_processes", "message"),
    [
        (
            "adamw",
            BF16,
            1,
            r'"adamw" does not train weights in bfloat16; set model\.dtype = "fp32".*adamw_bf16',
        ),
        ("adamw_bf16", torch.float64, 1, r"does not train weights in float64; set model\.dtype"),
        ("adamw_8bit", BF16, 2, r'works in one process; with 2.* set optim\.kind = "adamw" or "adamw_bf16"'),
        ("adamv", FP32, 1, r"there is no optimizer 'adamv'; the registered ones are adamw, adamw_8bit"),
        ("torch.optim:AdamW", FP32, 1, "'torch.optim:AdamW' is no OptimizerKind"),
    ],
)
def test_what_does_not_work_is_refused_in_one_line(kind, dtype, n_processes, message):
    parameter = nn.Parameter(torch.zeros(2, 2, dtype=dtype))
    with pytest.raises(ConfigError, match=message) as e:
        new_optimizer([parameter], OptimConfig(kind=kind), n_processes=n_processes)
    assert "\n" not in str(e.value)


def test_eight_bits_without_torchao_name_the_extra():
    if has_torchao():
        pytest.skip("it is installed")
    with pytest.raises(MissingExtraError, match=r"torchao.*pixelreasoner\[optim8bit\]"):
        new_optimizer([nn.Parameter(torch.zeros(2, 2))], OptimConfig(kind="adamw_8bit"))
