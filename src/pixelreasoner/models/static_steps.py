"""Steps of decoding in fixed memory: their input is copied to one place, their output read from another.

A step is a function of its input, of the weights, and of keys, values and states, all of which stay where
they are. So it can be captured and launched as a whole (`models.graphs`). It is captured once its shape comes
again, unless a larger one that is captured serves, and given up when what it reads gets other memory.

Shape legend: R rows of a step, D hidden width.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from pixelreasoner.models.graphs import Capture, Replayable

WARM_UPS = 1
"""Steps of a shape before it is captured: what comes once is not worth it."""
PATIENCE = 16
"""Steps of a shape that a larger one serves, before its own is captured."""
MOST_SHAPES = 32
"""Shapes that are remembered, the most recently used."""
Compute = Callable[[Tensor], Tensor]
"""Hidden states [R, D] from an input, on the device alone: the host looks at nothing."""


class StaticStep:
    """Steps of one shape: the memory of their input and output."""

    def __init__(self, size: int, device: torch.device, compute: Compute) -> None:
        """Steps whose input is `size` integers."""
        self._compute = compute
        self._host = torch.zeros(size, dtype=torch.int64, pin_memory=device.type == "cuda")
        self._input = torch.zeros(size, dtype=torch.int64, device=device)
        self._out_RD: Tensor | None = None
        self._n_runs = 0
        self.graph: Replayable | None = None

    def run(self, values: np.ndarray, capture: Capture | None) -> Tensor:
        """The hidden states [R, D] of an input; they last until the next run."""
        # Each step ends with a look at what was sampled, so the copy of the step before is done.
        self._host.numpy()[:] = values
        self._input.copy_(self._host, non_blocking=True)
        if self.graph is not None:
            self.graph.replay()
        elif capture is None or self._n_runs < WARM_UPS:
            self._run()
        else:
            self.graph = capture(self._run)
        self._n_runs += 1
        assert self._out_RD is not None
        return self._out_RD

    def _run(self) -> None:
        out_RD = self._compute(self._input)
        if self._out_RD is None:
            self._out_RD = torch.empty_like(out_RD)
        self._out_RD.copy_(out_RD)


class Shape(Hashable, Protocol):
    """The sizes of a step, padded."""

    @property
    def size(self) -> int:
        """What a step costs beside reading the weights, in any unit."""
        ...

    def holds(self, other: Any, /) -> bool:
        """Whether a step of the other shape can be padded to this one."""
        ...


S = TypeVar("S", bound=Shape)


class StaticSteps(Generic[S]):
    """Steps by their shape."""

    def __init__(self, decoder: nn.Module, capture: Capture | None) -> None:
        """Steps of `decoder`, captured by `capture` if there is one."""
        self._capture = capture
        self._steps: OrderedDict[S, StaticStep] = OrderedDict()
        self._uses: Counter[S] = Counter()
        self._places: tuple[Hashable, ...] = ()
        # Looked up in each step: a module may be given another parameter.
        modules = decoder.modules() if capture is not None else ()
        self._weights = [(module._parameters, name) for module in modules for name in module._parameters]

    @property
    def n_captured(self) -> int:
        """Shapes that are launched as a whole."""
        return sum(step.graph is not None for step in self._steps.values())

    def choose(self, shape: S, state: tuple[Hashable, ...]) -> S:
        """The shape that a step of this one is run in next: its own, or a larger one that is captured.

        `state` changes when the memory of keys, values or states does.
        """
        places = (*state, *self._weight_places())
        if places != self._places:
            self.clear()
            self._places = places
        self._uses[shape] += 1
        own = self._steps.get(shape)
        if (own is not None and own.graph is not None) or self._uses[shape] > PATIENCE:
            return shape
        captured = (other for other, step in self._steps.items() if step.graph is not None)
        return min((other for other in captured if other.holds(shape)), key=lambda s: s.size, default=shape)

    def run(self, shape: S, values: np.ndarray, make: Callable[[], StaticStep]) -> Tensor:
        """The hidden states [R, D] of an input of a shape that was chosen; they last until the next run.

        `make` makes a step of the shape, where there is none yet.
        """
        step = self._steps.pop(shape, None) or make()
        self._steps[shape] = step
        if len(self._steps) > MOST_SHAPES:
            self._steps.popitem(last=False)
        return step.run(values, self._capture)

    def clear(self) -> None:
        """Give up all steps."""
        self._steps.clear()
        self._uses.clear()
        if self._capture is not None:
            self._capture.clear()

    def _weight_places(self) -> list[int]:
        found = [owner[name] for owner, name in self._weights]
        return [0 if weight is None else weight.data_ptr() for weight in found]
