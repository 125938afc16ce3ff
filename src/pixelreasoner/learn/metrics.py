"""The metrics of an update, put together from those of its rows and optimiser steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from pixelreasoner.objectives.objective import LossOutputs


class UpdateMetrics:
    """Means over loss tokens, and maxima."""

    def __init__(self) -> None:
        self.n_tokens = 0
        """Loss tokens of the rows."""
        self._sums: dict[str, float] = {}
        self._maxima: dict[str, float] = {}

    def add_loss(self, out: LossOutputs, n_tokens: int) -> None:
        """Those of a row with `n_tokens` loss tokens."""
        self.n_tokens += n_tokens
        self.add_means({name: value.item() for name, value in out.metrics.items()}, n_tokens)
        for name, value in out.maxima.items():
            self._maxima[name] = max(self._maxima.get(name, -np.inf), value.item())

    def add_means(self, means: Mapping[str, float], n_tokens: int) -> None:
        """Values that hold for `n_tokens` of the loss tokens, and weigh as much."""
        for name, value in means.items():
            self._sums[name] = self._sums.get(name, 0.0) + n_tokens * value

    @classmethod
    def joined(cls, parts: Iterable[UpdateMetrics]) -> UpdateMetrics:
        """The metrics of all rows of several processes."""
        whole = cls()
        for part in parts:
            whole.n_tokens += part.n_tokens
            for name, value in part._sums.items():
                whole._sums[name] = whole._sums.get(name, 0.0) + value
            for name, value in part._maxima.items():
                whole._maxima[name] = max(whole._maxima.get(name, -np.inf), value)
        return whole

    def result(self) -> dict[str, float]:
        """Means over tokens, maxima, and `loss_tokens`."""
        means = {name: value / max(self.n_tokens, 1) for name, value in self._sums.items()}
        return {**means, **self._maxima, "loss_tokens": float(self.n_tokens)}
