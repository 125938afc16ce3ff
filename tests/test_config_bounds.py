"""Every number of every configuration has bounds, is finite, and is no true or false (case C12)."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

import pixelreasoner
from pixelreasoner.cli.recipe_commands import RECIPE_COMMANDS
from pixelreasoner.core.config import Config

ITEM = object()
"""In a path: any item of a list."""
Path = tuple[Any, ...]
WITHOUT_BOUNDS = {
    ("CueRow", ("box", ITEM)): "a place in a picture, which `core.geometry.Box` checks against its size",
    ("CueRow", ("boxes", ITEM, ITEM)): "as `box`",
}
"""Numbers whose bounds the field cannot know; finite they have to be."""


def numbers_of(cls: type[Config], above: tuple[type[Config], ...] = ()) -> Iterator[tuple[Path, type, list]]:
    """The path of every number below a configuration, its type, and what its annotation says."""
    for name, field in cls.model_fields.items():
        yield from _numbers((name,), field.annotation, field.metadata, (*above, cls))


def _numbers(path: Path, annotation: Any, metadata: list, above) -> Iterator[tuple[Path, type, list]]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        more = [
            m for mark in arguments[1:] for m in (mark.metadata if isinstance(mark, FieldInfo) else [mark])
        ]
        yield from _numbers(path, arguments[0], [*metadata, *more], above)
    elif origin in (Union, UnionType):
        for inner in arguments:
            yield from _numbers(path, inner, metadata, above)
    elif origin in (tuple, list):
        for inner in dict.fromkeys(a for a in arguments if a is not Ellipsis):
            yield from _numbers((*path, ITEM), inner, [], above)
    elif origin is dict:
        yield from _numbers((*path, "mine"), arguments[1], [], above)
    elif annotation in (int, float):
        yield path, annotation, metadata
    elif isinstance(annotation, type) and issubclass(annotation, Config) and annotation not in above:
        for inner, kind, marks in numbers_of(annotation, above):
            yield (*path, *inner), kind, marks


def bounds(metadata: list) -> tuple[float | None, float | None]:
    """The least and the greatest value; for an open bound, the value that is just refused."""
    low = next(
        (v for m in metadata for name in ("ge", "gt") if (v := getattr(m, name, None)) is not None), None
    )
    high = next(
        (v for m in metadata for name in ("le", "lt") if (v := getattr(m, name, None)) is not None), None
    )
    return low, high


def table(path: Path, value: Any) -> Any:
    """A configuration that is given nothing but a value at a path."""
    for part in reversed(path):
        value = [value, value] if part is ITEM else {part: value}
    return value


def refused(cls: type[Config], path: Path, value: Any, place: Path | None = None) -> bool:
    """Whether the error names the place, which is the path itself unless another is given."""
    try:
        cls.model_validate(table(path, value))
    except ValidationError as e:
        places = [
            tuple(ITEM if isinstance(part, int) else part for part in error["loc"]) for error in e.errors()
        ]
        return (place or path) in places
    return False


def all_configs() -> list[type[Config]]:
    for module in pkgutil.walk_packages(pixelreasoner.__path__, "pixelreasoner."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, new = set(), [Config]
    while new:
        found |= set(new)
        new = [
            sub for cls in new for sub in cls.__subclasses__() if sub.__module__.startswith("pixelreasoner.")
        ]
    return sorted(found - {Config}, key=lambda cls: cls.__name__)


@pytest.mark.parametrize("command", RECIPE_COMMANDS)
def test_every_number_of_a_recipe_is_bounded(command):
    """A number that is not finite, true, and one beyond each bound: the error names the key."""
    entry = RECIPE_COMMANDS[command]
    cls = vars(importlib.import_module(entry.module))[entry.config]
    paths = list(numbers_of(cls))
    assert len(paths) > 10, "the walk finds the numbers"
    for path, kind, metadata in paths:
        low, high = bounds(metadata)
        assert low is not None, path
        assert high is not None, path
        wrong = [
            low - 1,
            high + 1 if kind is int else high * 2 + 1,
            True,
            math.nan,
            math.inf,
            -math.inf,
            "many",
        ]
        for value in wrong:
            # That true is no number is found where the whole list is.
            place = path[:-1] if value is True and path[-1] is ITEM else path
            assert refused(cls, path, value, place), (path, value)


def test_every_number_of_every_configuration_is_bounded():
    """Those that no recipe reaches, too: rows of task files, the chat format of a checkpoint, ..."""
    configs = all_configs()
    assert {"AskConfig", "ChatFormat", "LearnerConfig", "TaskRow"} <= {cls.__name__ for cls in configs}
    missing = []
    for cls in configs:
        for path, kind, metadata in numbers_of(cls):
            inner = (cls.__name__, path)
            reason = next((r for (_, p), r in WITHOUT_BOUNDS.items() if path[-len(p) :] == p), None)
            if None in bounds(metadata) and reason is None:
                missing.append(inner)
            if kind is float:
                assert refused(cls, path, math.nan), inner
    assert missing == []


def test_the_walk_finds_what_is_nested():
    class Inner(Config):
        a: int = 1

    class Outer(Config):
        one: Inner | None = None
        many: tuple[Inner, ...] = ()
        named: dict[str, Inner] = {}  # noqa: RUF012
        pair: tuple[float, float] = (0.0, 1.0)
        text: str = ""

    assert [path for path, *_ in numbers_of(Outer)] == [
        ("one", "a"), ("many", ITEM, "a"), ("named", "mine", "a"), ("pair", ITEM),
    ]  # fmt: skip
    assert NoneType not in [kind for _, kind, _ in numbers_of(Outer)]
