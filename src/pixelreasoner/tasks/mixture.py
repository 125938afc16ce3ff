"""Several task sources in given proportions, exact at every position."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.task import Task
from pixelreasoner.tasks.source import Kinds, TaskSource, check_kinds

MAX_PERIOD = 100_000
"""The longest cycle of a mixture, in tasks."""


class Mixture:
    """An endless source that takes from endless sources in proportion to weights.

    The choice of a source repeats after W positions, W being the sum of the weights in smallest whole
    numbers: 0.7 and 0.3 are 7 and 3. At position i each source has given its share of i tasks to within one,
    and which task comes next follows from i alone.

    Raises:
        ConfigError: the weights have so many digits that W is over 100,000.
    """

    def __init__(self, sources: Sequence[TaskSource], weights: Sequence[float]) -> None:
        assert sources, "a mixture of nothing"
        assert all(source.size is None for source in sources), "cycle the finite ones first"
        self._sources, self._weights = tuple(sources), tuple(weights)
        self._cycle = cycle_of(whole_weights(self._weights))

    @property
    def size(self) -> None:
        return None

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(kind for source in self._sources for kind in source.kinds))

    def take(self, start: int, n: int) -> Iterator[Task]:
        cycles, rest = divmod(start, len(self._cycle))
        given = [
            cycles * self._cycle.count(which) + self._cycle[:rest].count(which)
            for which in range(len(self._sources))
        ]
        for position in range(start, start + n):
            which = self._cycle[position % len(self._cycle)]
            yield from self._sources[which].take(given[which], 1)
            given[which] += 1

    def select(self, *, kind: Kinds = None, needs_operation: bool | None = None) -> Mixture:
        wanted = check_kinds(kind, self.kinds)
        kept: list[tuple[TaskSource, float]] = []
        for source, weight in zip(self._sources, self._weights, strict=True):
            here = tuple(k for k in source.kinds if wanted is None or k in wanted)
            if any(needs_operation is None or needs_operation in source.needs(k) for k in here):
                kept.append((source.select(kind=here, needs_operation=needs_operation), weight))
        if not kept:
            raise ConfigError(f"no part of the mixture has tasks with needs_operation = {needs_operation}")
        return Mixture([source for source, _ in kept], [weight for _, weight in kept])

    def needs(self, kind: str) -> frozenset[bool | None]:
        return frozenset[bool | None]().union(*(source.needs(kind) for source in self._sources))


def whole_weights(weights: Sequence[float]) -> tuple[int, ...]:
    """The smallest whole numbers in the proportions of `weights`, read as they are written: 0.7 is 7/10.

    Raises:
        ConfigError: they sum to more than `MAX_PERIOD`.
    """
    exact = [Fraction(repr(float(weight))) for weight in weights]
    scale = math.lcm(*(weight.denominator for weight in exact))
    whole = [int(weight * scale) for weight in exact]
    whole = [weight // math.gcd(*whole) for weight in whole]
    if sum(whole) > MAX_PERIOD:
        raise ConfigError(
            f"the weights {', '.join(f'{w:g}' for w in weights)} of a mixture repeat only after {sum(whole)} "
            f"tasks; write them with fewer digits, such as 0.33 for a third"
        )
    return tuple(whole)


@lru_cache(maxsize=16)
def cycle_of(weights: tuple[int, ...]) -> tuple[int, ...]:
    """Which source gives each task of one cycle of sum(weights) tasks.

    Task number c of source k (from 0) may come from position floor(c W / w_k) on, and must come before
    position ceil((c + 1) W / w_k). Of the tasks that may come, the one that must come first is taken. All of
    them come in time (S. Baruah et al., "Proportionate progress", Algorithmica 1996), which keeps every
    source within one task of its share.
    """
    total = sum(weights)
    given = [0] * len(weights)
    cycle: list[int] = []
    for position in range(total):
        ready = [k for k, w in enumerate(weights) if given[k] * total // w <= position]
        which = min(ready, key=lambda k: -(-(given[k] + 1) * total // weights[k]))
        cycle.append(which)
        given[which] += 1
    return tuple(cycle)
