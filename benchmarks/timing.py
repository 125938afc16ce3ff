"""Timing what is done in turn, so that a slow moment of the machine falls on everyone alike."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch

from pixelreasoner.models.roofline import DecoderSize

LEAST_ROUNDS = 2


def interleaved(
    tasks: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    seconds: float,
    device: torch.device,
    least: int = LEAST_ROUNDS,
) -> dict[str, list[float]]:
    """The seconds of each task in each round: A B C, A B C, ...; `least` of them, then until `seconds`.

    Each task has been run once before, by whoever calls this: the first run is never like the others.
    """
    end = time.perf_counter() + seconds
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for done in range(rounds):
        if done >= least and time.perf_counter() > end:
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
    """How many times as long one thing takes as another."""

    of_medians: float
    least: float
    most: float
    """Of the rounds, each with its own two times."""

    @classmethod
    def of(cls, slow: list[float], fast: list[float]) -> Ratio:
        rounds = [a / b for a, b in zip(slow, fast, strict=True)]
        return cls(median(slow) / median(fast), min(rounds), max(rounds))


class MatrixProducts:
    """The products of one decoder layer, forward and backward: what the machine does at this work's sizes."""

    def __init__(
        self, size: DecoderSize, tokens: int, *, device: torch.device, dtype: torch.dtype, repeats: int = 1
    ) -> None:
        """Of `tokens` rows; `repeats` makes small ones last long enough to be timed."""
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
