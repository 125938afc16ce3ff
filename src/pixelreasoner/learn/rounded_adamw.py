"""AdamW computed in float32 piece by piece, over weights in bf16 and moments in float32 or 8 bits.

A weight of 0.02 in bf16 has neighbours 0.0001 away, and a step of a learning rate of 1e-6 is a hundredth of
that. Rounded to the nearest, all steps are lost. Rounded up with the probability that makes the mean right
("stochastic rounding"), a hundred steps move it by one neighbour, on average.

The random numbers of a step follow from its number: a resumed run goes on bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pixelreasoner.core.errors import MissingExtraError
from pixelreasoner.learn.shards import local

BLOCK = 256
"""Values of a moment in 8 bits that share a scale."""
PIECE = 2**24
"""The most weights whose float32 copies exist at one time; a multiple of `BLOCK`."""
EPS = 1e-8
FIRST, SECOND = "exp_avg", "exp_avg_sq"
CODES, SCALES = "_codes", "_scales"


class Moment(Protocol):
    """How a running mean is held in memory."""

    def new(self, parameter: Tensor, *, signed: bool) -> dict[str, Tensor]:
        """The tensors of a mean of zeros; their keys begin with nothing, `CODES` or `SCALES`."""
        ...

    def read(self, held: Mapping[str, Tensor], piece: slice, *, signed: bool) -> Tensor:
        """The values of a piece in float32, which may be changed."""
        ...

    def write(self, held: Mapping[str, Tensor], piece: slice, values: Tensor, *, signed: bool) -> None: ...


class Float32Moment:
    """As it is: 4 bytes."""

    def new(self, parameter: Tensor, *, signed: bool) -> dict[str, Tensor]:
        return {"": torch.zeros_like(parameter, dtype=torch.float32, memory_format=torch.contiguous_format)}

    def read(self, held: Mapping[str, Tensor], piece: slice, *, signed: bool) -> Tensor:
        return local(held[""]).view(-1)[piece]

    def write(self, held: Mapping[str, Tensor], piece: slice, values: Tensor, *, signed: bool) -> None:
        target = local(held[""]).view(-1)[piece]
        if target.data_ptr() != values.data_ptr():
            target.copy_(values)


class EightBitMoment:
    """In codes of 8 bits with a scale per block, torchao's; small tensors stay in float32."""

    def __init__(self) -> None:
        """The codes of torchao.

        Raises:
            MissingExtraError: it is not installed.
        """
        try:
            from torchao.optim.quant_utils import (  # pyright: ignore[reportMissingImports]
                create_dynamic_map,
                dequant_with_qmap,
                quantize_8bit_with_qmap,
                scale_tensor,
            )
        except ImportError as e:
            raise MissingExtraError("torchao", "optim8bit", "optim.kind = adamw_8bit") from e
        self._quantize, self._dequantize, self._scale = (
            quantize_8bit_with_qmap,
            dequant_with_qmap,
            scale_tensor,
        )
        self._values = {signed: torch.tensor(list(create_dynamic_map(signed))) for signed in (False, True)}
        """Of the 256 codes, by whether some are negative."""
        self._float32 = Float32Moment()

    def new(self, parameter: Tensor, *, signed: bool) -> dict[str, Tensor]:
        n = parameter.numel()
        if n < 4096 or n % BLOCK:
            return self._float32.new(parameter, signed=signed)
        device = parameter.device
        # The code of zero is not 0.
        zero = int(self._values[signed].abs().argmin())
        codes = torch.full((n,), zero, dtype=torch.uint8, device=device)
        return {CODES: codes, SCALES: torch.zeros(n // BLOCK, device=device)}

    def read(self, held: Mapping[str, Tensor], piece: slice, *, signed: bool) -> Tensor:
        if CODES not in held:
            return self._float32.read(held, piece, signed=signed)
        return self._dequantize(held[CODES][piece], self._table(held, signed), held[SCALES][_blocks(piece)])

    def write(self, held: Mapping[str, Tensor], piece: slice, values: Tensor, *, signed: bool) -> None:
        if CODES not in held:
            return self._float32.write(held, piece, values, signed=signed)
        scaled, scales = self._scale(values, BLOCK)
        held[CODES][piece] = self._quantize(scaled, self._table(held, signed))
        held[SCALES][_blocks(piece)] = scales

    def _table(self, held: Mapping[str, Tensor], signed: bool) -> Tensor:
        table = self._values[signed]
        if table.device != held[CODES].device:
            table = self._values[signed] = table.to(held[CODES].device)
        return table


class RoundedAdamW(torch.optim.Optimizer):
    """AdamW whose weights may be bf16: they are then rounded stochastically."""

    def __init__(
        self,
        groups: Iterable[Mapping[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        moment: Moment,
    ) -> None:
        """An optimiser of parameter groups; `moment` holds both running means."""
        super().__init__([dict(group) for group in groups], {"lr": lr, "betas": betas, "weight_decay": 0.0})
        self._moment = moment

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore
        """Take one step; a parameter without a gradient stays as it is."""
        assert closure is None, "the gradient is there already"
        number = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                number += 1
                if parameter.grad is not None:
                    self._move(parameter, group, number)

    def _move(self, parameter: Tensor, group: Mapping[str, Any], number: int) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            for name, signed in ((FIRST, True), (SECOND, False)):
                held = self._moment.new(parameter, signed=signed)
                state |= {name + key: tensor for key, tensor in held.items()}
            self.state[parameter] = state
        state["step"] += 1
        first, second = (
            {key.removeprefix(name): tensor for key, tensor in state.items() if _belongs(key, name)}
            for name in (FIRST, SECOND)
        )
        assert parameter.grad is not None
        weight, gradient = local(parameter).view(-1), local(parameter.grad).reshape(-1)
        noise = torch.Generator(weight.device).manual_seed(_seed(state["step"], number, _rank_of(parameter)))
        for start in range(0, len(weight), PIECE):
            piece = slice(start, min(start + PIECE, len(weight)))
            g = gradient[piece].float()
            m = self._moment.read(first, piece, signed=True)
            v = self._moment.read(second, piece, signed=False)
            w = _stepped(weight[piece].float(), g, m, v, group, state["step"])
            self._moment.write(first, piece, m, signed=True)
            self._moment.write(second, piece, v, signed=False)
            weight[piece] = stochastic_bf16(w, noise) if weight.dtype == torch.bfloat16 else w

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As they were saved: torch would give the moments the weights' format."""
        super().load_state_dict({**state_dict, "state": {}})
        parameters = [p for group in self.param_groups for p in group["params"]]
        for index, values in state_dict["state"].items():
            device = parameters[index].device
            self.state[parameters[index]] = {
                name: value.to(device, copy=True) if isinstance(value, Tensor) else value
                for name, value in values.items()
            }


def stochastic_bf16(values: Tensor, generator: torch.Generator) -> Tensor:
    """Float32 values as one of their two neighbours in bf16, whose mean is the value.

    A bf16 is the upper half of a float32. A random number below 2**16 added to the lower half carries over as
    often as the value lies near the upper neighbour.
    """
    noise = torch.randint(2**16, values.shape, generator=generator, device=values.device, dtype=torch.int32)
    return ((values.view(torch.int32) + noise) & -(2**16)).view(torch.float32).to(torch.bfloat16)


def _stepped(w: Tensor, g: Tensor, m: Tensor, v: Tensor, group: Mapping[str, Any], step: int) -> Tensor:
    """The new weights; `m` and `v` are updated in place. Algorithm 2 of arXiv 1711.05101."""
    beta1, beta2 = group["betas"]
    m.lerp_(g, 1 - beta1)
    v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    denominator = (v.sqrt() / math.sqrt(1 - beta2**step)).add_(EPS)
    return w.mul(1 - group["lr"] * group["weight_decay"]).addcdiv_(
        m, denominator, value=-group["lr"] / (1 - beta1**step)
    )


def _belongs(key: str, name: str) -> bool:
    return key in (name, name + CODES, name + SCALES)


def _blocks(piece: slice) -> slice:
    return slice(piece.start // BLOCK, piece.stop // BLOCK)


def _rank_of(parameter: Tensor) -> int:
    """The number of the process that holds this part."""
    mesh = getattr(parameter, "device_mesh", None)
    return 0 if mesh is None else mesh.get_local_rank()


def _seed(step: int, number: int, rank: int) -> int:
    """Of 32 bits: torch's generator of the CPU takes no more."""
    return int(np.random.SeedSequence((step, number, rank)).generate_state(1)[0])
