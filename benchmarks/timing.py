"""Timing of tasks in turn, so that a slow moment of the machine affects all of them."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch

from benchmarks.roofline import DecoderSize

LEAST_ROUNDS = 2


def interleaved(
    tasks: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    seconds: float,
    device: torch.device,
) -> dict[str, list[float]]:
    """Return the seconds of each task in each round: A B C, A B C, ...; at least two, then until `seconds`.

    The caller has run each task once before, because the first run differs from the others.
    """
    end = time.perf_counter() + seconds
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for done in range(rounds):
        if done >= LEAST_ROUNDS and time.perf_counter() > end:
            break
        for name, task in tasks.items():
            gc.collect()
            _wait(device)
            start = time.perf_counter()
            task()
            _wait(device)
            taken[name].append(time.perf_counter() - start)
    return taken


@dataclass(frozen=True)
class Ratio:
    """The ratio of the durations of two tasks."""

    of_medians: float
    least: float
    most: float
    """Of the rounds, each with its own two times."""

    @classmethod
    def of(cls, slow: list[float], fast: list[float]) -> Ratio:
        rounds = [a / b for a, b in zip(slow, fast, strict=True)]
        return cls(median(slow) / median(fast), min(rounds), max(rounds))


class MatrixProducts:
    """The matrix products of one decoder layer, forward and backward: the machine's rate at these sizes."""

    def __init__(
        self, size: DecoderSize, tokens: int, *, device: torch.device, dtype: torch.dtype, repeats: int = 1
    ) -> None:
        """Make products of `tokens` rows; `repeats` makes small ones long enough to time."""
        make = torch.Generator(device).manual_seed(0)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=make, device=device, dtype=dtype)

        counts = Counter(size.products)
        self._pairs = [(random(tokens, a), random(a, b), random(tokens, b)) for a, b in counts]
        self._counts = list(counts.values())
        self._repeats = repeats
        self.flops = repeats * 6.0 * tokens * sum(a * b for a, b in size.products)

    def __call__(self) -> None:
        for _ in range(self._repeats):
            for (x, w, g), count in zip(self._pairs, self._counts, strict=True):
                for _ in range(count):
                    _ = x @ w
                    _ = g @ w.T
                    _ = x.T @ g


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
