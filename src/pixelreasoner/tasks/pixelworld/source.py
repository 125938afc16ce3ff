"""PixelWorld as a task source: unbounded, tasks are made on demand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast, get_args

from pydantic import ValidationError

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.task import Task
from pixelreasoner.tasks.pixelworld.world import PixelWorld, Split, WorldConfig
from pixelreasoner.tasks.source import Kinds, check_kinds


class PixelWorldTasks:
    """One split of a world.

    `take` gives `PixelWorld.tasks` of the split. A selection of one kind and one need gives `PixelWorld.task`
    with the position as its index; no task is painted and then skipped.
    """

    def __init__(self, world: PixelWorld, split: Split, needs_operation: bool | None = None) -> None:
        self.world = world
        self.split: Split = split
        self._needs = needs_operation

    @property
    def size(self) -> None:
        return None

    @property
    def kinds(self) -> tuple[str, ...]:
        return self.world.config.kinds

    def take(self, start: int, n: int) -> Iterator[Task]:
        if self._needs is None:
            yield from self.world.tasks(self.split, n, start=start)
            return
        for position in range(start, start + n):
            index, which = divmod(position, len(self.kinds))
            yield self.world.task(self.split, self.kinds[which], index, needs_operation=self._needs)

    def select(self, *, kind: Kinds = None, needs_operation: bool | None = None) -> PixelWorldTasks:
        wanted = check_kinds(kind, self.kinds)
        kinds = tuple(k for k in self.kinds if wanted is None or k in wanted)
        world = PixelWorld(self.world.config.model_copy(update={"kinds": kinds}))
        needs = self._needs if needs_operation is None else needs_operation
        if self._needs not in (None, needs):
            raise ConfigError(f"these tasks have needs_operation = {self._needs}; there are no others here")
        return PixelWorldTasks(world, self.split, needs)

    def needs(self, kind: str) -> frozenset[bool | None]:
        if kind not in self.kinds:
            return frozenset()
        return frozenset((False, True)) if self._needs is None else frozenset((self._needs,))


def pixelworld(*, split: str, **options: Any) -> PixelWorldTasks:
    """Return the registered source "pixelworld".

    Args:
        split: "base", "train", "rl" or "test".
        options: the fields of `WorldConfig`: seed, kinds, needs_operation_share, photos.

    Raises:
        ConfigError: there is no such split or option, or a value is out of range.
    """
    if split not in get_args(Split):
        raise ConfigError(f"PixelWorld has no split '{split}'; its splits are {', '.join(get_args(Split))}")
    try:
        config = WorldConfig.model_validate(options)
    except ValidationError as e:
        problems = "; ".join(f"'{'.'.join(map(str, p['loc']))}': {p['msg']}" for p in e.errors())
        allowed = ", ".join(WorldConfig.model_fields)
        raise ConfigError(f"options of the task source 'pixelworld': {problems}. Allowed: {allowed}") from e
    return PixelWorldTasks(PixelWorld(config), cast(Split, split))
