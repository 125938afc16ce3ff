"""Where tasks come from: a protocol, and what every finite source shares.

A source gives tasks by position, always the same at the same position. A run therefore resumes by a number,
and nothing is replayed. A source of the user's is a function, named in a recipe as
`package.module:function`::

    def shapes(*, split: str, n: int = 100) -> TaskSource:
        return IndexedTasks([TaskLabel("shape")] * n, partial(map, make_task))
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from functools import lru_cache
from itertools import islice
from typing import NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.task import Task

Kinds = str | tuple[str, ...] | None
"""One kind of task, one of several, or any."""


class TaskSource(Protocol):
    """Tasks by position. Media are decoded when a task is taken, and are not kept."""

    @property
    def size(self) -> int | None:
        """How many tasks there are; None when they never end."""
        ...

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of task there are, each once."""
        ...

    def take(self, start: int, n: int) -> Iterator[Task]:
        """Tasks `start` to `start + n - 1`, fewer where the source ends before."""
        ...

    def select(self, *, kind: Kinds = None, needs_operation: bool | None = None) -> TaskSource:
        """Those of one kind or several, those that need an operation or not; None is no condition.

        Nothing is read or made before tasks are taken.

        Raises:
            ConfigError: there is no such kind here.
        """
        ...

    def needs(self, kind: str) -> frozenset[bool | None]:
        """Which values `Task.needs_operation` has among the tasks of a kind."""
        ...


class TaskLabel(NamedTuple):
    """What is known of a task before its media are read."""

    kind: str = "open"
    needs_operation: bool | None = None
    is_seed: bool = False
    """As `Task.is_seed`."""


_NEEDS = (None, False, True)


class Scannable(Protocol):
    """A file of rows."""

    def scan(self) -> Iterator[tuple[int, object]]:
        """Every row: its number, and its values without its media."""
        ...


@runtime_checkable
class ReadsRows(Protocol):
    """What makes tasks from the rows of a file."""

    @property
    def rows(self) -> Scannable: ...

    @property
    def numbers(self) -> Sequence[int]:
        """Of the rows that are tasks, in order."""
        ...


class IndexedTasks:
    """A finite source: a label for each task, and a function that makes the tasks at given positions.

    An index entry takes three bytes, and eight more in a selection or another order, whatever the task's
    media take.
    """

    def __init__(self, labels: Iterable[TaskLabel], read: Callable[[Iterable[int]], Iterator[Task]]) -> None:
        """Keep an index of the labels.

        Args:
            labels: of all tasks, in order.
            read: the tasks at some positions, lazily; `functools.partial(map, make)` where `make` makes one.
        """
        codes: dict[str, int] = {}
        self._kind, self._need = array("H"), array("b")
        known: dict[TaskLabel, tuple[int, int]] = {}
        for label in labels:
            pair = known.get(label)
            if pair is None:
                kind = codes.setdefault(label.kind, len(codes))
                pair = known[label] = kind, _NEEDS.index(label.needs_operation)
            self._kind.append(pair[0])
            self._need.append(pair[1])
        self._names = tuple(codes)
        self._seeds = frozenset(label.kind for label in known if label.is_seed)
        self._read = read
        self._positions: Sequence[int] = range(len(self._kind))
        """Which entries this source holds, in its order; a selection shares the index."""

    @property
    def size(self) -> int:
        return len(self._positions)

    @property
    def kinds(self) -> tuple[str, ...]:
        if isinstance(self._positions, range):
            return self._names
        return tuple(dict.fromkeys(self._names[self._kind[at]] for at in self._positions))

    @property
    def seed_kinds(self) -> tuple[str, ...]:
        """The kinds among which there are seeds."""
        return tuple(kind for kind in self.kinds if kind in self._seeds) if self._seeds else ()

    def take(self, start: int, n: int) -> Iterator[Task]:
        assert start >= 0, start
        return self._read(self._positions[start : start + n])

    def select(self, *, kind: Kinds = None, needs_operation: bool | None = None) -> Self:
        wanted = check_kinds(kind, self.kinds)
        codes = [code for code, name in enumerate(self._names) if wanted is None or name in wanted]
        if needs_operation is None and len(codes) == len(self._names):
            return copy(self)
        chosen = np.isin(self._here(self._kind), codes)
        if needs_operation is not None:
            chosen &= self._here(self._need) == _NEEDS.index(needs_operation)
        places = np.flatnonzero(chosen)
        if not isinstance(self._positions, range):
            places = np.asarray(self._positions)[places]
        return self._with(array("q", places.astype(np.int64).tobytes()))

    def needs(self, kind: str) -> frozenset[bool | None]:
        if kind not in self._names:
            return frozenset()
        of_kind = self._here(self._kind) == self._names.index(kind)
        return frozenset(_NEEDS[code] for code in np.unique(self._here(self._need)[of_kind]).tolist())

    def rows(self) -> Iterator[tuple[int, object]]:
        """The values of the file behind the tasks, without media: a position in this source, and its row.

        In the order of the file, which is read once. Nothing where the tasks come from no file of rows.
        """
        if not isinstance(self._read, ReadsRows):
            return
        places = {self._read.numbers[at]: place for place, at in enumerate(self._positions)}
        for number, values in self._read.rows.scan():
            if number in places:
                yield places[number], values

    def reordered(self, order: Iterable[int]) -> Self:
        """The tasks at some positions of this source, in that order."""
        return self._with(self._positions[at] for at in order)

    def _here(self, codes: array[int]) -> npt.NDArray[np.integer]:
        """The entries of an index that this source holds, in its order."""
        every = np.asarray(codes)
        return every if isinstance(self._positions, range) else every[np.asarray(self._positions)]

    def _with(self, positions: Iterable[int]) -> Self:
        other = copy(self)
        other._positions = array("q", positions)
        return other


class FirstTasks:
    """The first tasks of a source, of an endless one most often.

    A selection holds the first `size` of the tasks selected, which need not be among the first `size` of all.
    """

    def __init__(self, source: TaskSource, size: int) -> None:
        self._source, self._limit = source, size

    @property
    def size(self) -> int:
        return self._limit if self._source.size is None else min(self._limit, self._source.size)

    @property
    def kinds(self) -> tuple[str, ...]:
        return self._source.kinds

    def take(self, start: int, n: int) -> Iterator[Task]:
        return self._source.take(start, max(0, min(n, self.size - start)))

    def select(self, *, kind: Kinds = None, needs_operation: bool | None = None) -> FirstTasks:
        return FirstTasks(self._source.select(kind=kind, needs_operation=needs_operation), self._limit)

    def needs(self, kind: str) -> frozenset[bool | None]:
        return self._source.needs(kind)


class CycledTasks:
    """An endless source: a finite one, epoch after epoch."""

    def __init__(self, source: TaskSource, seed: int | None) -> None:
        assert source.size is not None, "an endless source needs no epochs"
        if source.size == 0:
            raise ConfigError("there are no tasks to repeat; check the file, its split and the filters")
        self._source, self._seed, self._epoch = source, seed, source.size

    @property
    def size(self) -> None:
        return None

    @property
    def kinds(self) -> tuple[str, ...]:
        return self._source.kinds

    def take(self, start: int, n: int) -> Iterator[Task]:
        for position in range(start, start + n):
            epoch, at = divmod(position, self._epoch)
            yield from self._source.take(epoch_order(self._seed, epoch, self._epoch)[at], 1)

    def select(self, *, kind: Kinds = None, needs_operation: bool | None = None) -> TaskSource:
        return cycled(self._source.select(kind=kind, needs_operation=needs_operation), self._seed)

    def needs(self, kind: str) -> frozenset[bool | None]:
        return self._source.needs(kind)


def cycled(source: TaskSource, seed: int | None) -> TaskSource:
    """An endless source: a finite one repeats by epochs, each in an order of its own.

    Args:
        source: where it is endless, it is returned as it is.
        seed: of the orders; None keeps the source's own order in every epoch.

    Raises:
        ConfigError: the source is empty.
    """
    return source if source.size is None else CycledTasks(source, seed)


@lru_cache(maxsize=4)
def epoch_order(seed: int | None, epoch: int, size: int) -> Sequence[int]:
    """The positions of a finite source in the order of an epoch."""
    if seed is None:
        return range(size)
    # Eight bytes a position; a list of ints would take four times as much.
    return array("q", np.random.default_rng([seed, epoch]).permutation(size).tobytes())


def indexed(source: TaskSource) -> IndexedTasks:
    """A finite source with an index, so that it can be filtered and reordered.

    One that has none is read once, task by task, for its labels.
    """
    if isinstance(source, IndexedTasks):
        return source
    assert source.size is not None, "an endless source has no index"
    labels = (TaskLabel(t.kind, t.needs_operation, t.is_seed) for t in source.take(0, source.size))

    def read(positions: Iterable[int]) -> Iterator[Task]:
        for at in positions:
            yield from islice(source.take(at, 1), 1)

    return IndexedTasks(labels, read)


def check_kinds(kind: Kinds, kinds: tuple[str, ...]) -> tuple[str, ...] | None:
    """The kinds a selection asks for, None for all.

    Raises:
        ConfigError: one of them is not there.
    """
    wanted = (kind,) if isinstance(kind, str) else kind
    if unknown := sorted(set(wanted or ()) - set(kinds)):
        raise ConfigError(f"there is no task of kind '{unknown[0]}' here; the kinds are {', '.join(kinds)}")
    return wanted
