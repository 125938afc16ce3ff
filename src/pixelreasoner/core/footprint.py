"""About how much memory a record takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, cast

from pixelreasoner.core.media import Picture

NUMBER_BYTES = 40
"""An int or a float of a tuple, and its place there."""
OBJECT_BYTES = 64
"""Any other object, beside what it holds."""
PICTURE_BYTES = 1024
"""A picture beside its pixels or its file's bytes: digest, size, path."""


def n_bytes(*records: object) -> int:
    """The bytes of some records: trajectories, tasks, groups. What several share is counted once."""
    return _count(records, set())


def _count(value: Any, seen: set[int]) -> int:
    """As `n_bytes`; objects in `seen`, by identity, cost nothing more."""
    if value is None or isinstance(value, (bool, int, float)):
        return NUMBER_BYTES
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, Picture):
        return PICTURE_BYTES + value.n_bytes
    if isinstance(value, str):
        return OBJECT_BYTES + len(value)
    if isinstance(value, Mapping):
        table = cast(Mapping[object, object], value)
        return _sum(table.keys(), seen) + _sum(table.values(), seen)
    if isinstance(value, Sequence):
        items = cast(Sequence[object], value)
        # Token ids and log-probabilities are most of a record; the first one tells what they are.
        if items and isinstance(items[0], (int, float)):
            return OBJECT_BYTES + NUMBER_BYTES * len(items)
        return _sum(items, seen)
    if is_dataclass(value):
        return _sum((getattr(value, f.name) for f in fields(value)), seen)
    return OBJECT_BYTES


def _sum(values: Iterable[object], seen: set[int]) -> int:
    return OBJECT_BYTES + sum(_count(value, seen) for value in values)
