"""Every key that a recipe of a configuration may have: what it may be, its default, and what it means.

All of it is read from the configuration's classes: names and types of the fields, their bounds, and the words
that stand beneath them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import tomli_w
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from pixelreasoner.core.config import Config

MANY = 10**9
"""An upper bound from here on only keeps nonsense out, and is not shown."""
LONGEST = 160
"""Characters of a default that are shown."""
TYPES = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path"}


@dataclass(frozen=True)
class RecipeKey:
    """One key of a recipe."""

    name: str
    """With its sections: `optim.lr`. `NAME` stands for any name, `[]` for each table of a list."""
    values: str
    """What it may be, such as `integer, ≥ 1`; `section` has keys of its own."""
    default: str
    """As TOML; empty where it is not set, or has to be."""
    required: bool
    meaning: str


def recipe_keys(cls: type[Config]) -> list[RecipeKey]:
    """The keys of a configuration, sections after the keys beside them, each followed by its own keys.

    A section that may hold itself (a mixture of mixtures) is followed down once.
    """
    return list(_keys(cls, None, "", ()))


def _keys(
    cls: type[Config], values: Config | None, prefix: str, above: tuple[type[Config], ...]
) -> Iterator[RecipeKey]:
    """The keys of a section whose defaults are those of `values`, and else of its class."""
    fields = cls.model_fields
    # In a TOML file plain keys have to come before sections.
    for name in sorted(fields, key=lambda name: bool(_sections(fields[name].annotation))):
        field = fields[name]
        required = values is None and field.is_required()
        default = field.get_default(call_default_factory=True) if values is None else getattr(values, name)
        sections = _sections(field.annotation)
        plain_section = bool(sections) and isinstance(default, Config)
        yield RecipeKey(
            name=prefix + name,
            values=_values(field.annotation, field.metadata),
            default="" if required or plain_section else _as_toml(default),
            required=required,
            meaning=" ".join((field.description or "").split()),
        )
        for suffix, section in sections:
            if section not in (*above, cls):
                inner = cast(Config, default) if plain_section else None
                yield from _keys(section, inner, f"{prefix}{name}{suffix}.", (*above, cls))


def _sections(annotation: Any) -> list[tuple[str, type[Config]]]:
    """The configurations a field holds, each with what stands between its name and their keys."""
    origin, args = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [("", annotation)]
    if origin in (Union, UnionType):
        return [found for arg in args for found in _sections(arg)]
    if origin is Annotated:
        return _sections(args[0])
    if origin in (tuple, list):
        return [(f"[]{suffix}", section) for suffix, section in _sections(args[0])]
    if origin is dict:
        return [(f".NAME{suffix}", section) for suffix, section in _sections(args[1])]
    return []


def _values(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What a field may be, in words."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _values(args[0], _flat(annotation.__metadata__))
    if origin in (Union, UnionType):
        return " or ".join(_values(arg, metadata) for arg in args if arg is not NoneType)
    if origin is Literal:
        return _one_of([f'"{arg}"' for arg in args])
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return _one_of([f'"{member.value}"' for member in annotation])
    if _sections(annotation) and origin is None:
        return "section"
    if origin in (tuple, list):
        inner = _values(args[0])
        if inner == "section":
            return "list of tables"
        return f"{'list' if args[-1] is Ellipsis or origin is list else f'{len(args)} values'}: {inner}"
    if origin is dict:
        return "table of sections" if _sections(annotation) else "table"
    return ", ".join([TYPES.get(cast(Any, annotation), "value"), *_bounds(metadata)])


def _one_of(values: Sequence[str]) -> str:
    return f"{', '.join(values[:-1])} or {values[-1]}" if len(values) > 1 else values[0]


def _flat(metadata: Sequence[Any]) -> list[Any]:
    return [m for item in metadata for m in (item.metadata if isinstance(item, FieldInfo) else [item])]


def _bounds(metadata: Sequence[Any]) -> Iterator[str]:
    for mark in metadata:
        match mark:
            case Ge():
                yield f"≥ {mark.ge}"
            case Gt():
                yield f"> {mark.gt}"
            case Le() if abs(cast(float, mark.le)) < MANY:
                yield f"≤ {mark.le}"
            case Lt() if abs(cast(float, mark.lt)) < MANY:
                yield f"< {mark.lt}"
            case _:
                pass


def _as_toml(value: Any) -> str:
    """A default as a recipe writes it, shortened where it is long; empty for None."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    text = _inline(_plain(value))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 2].rstrip()} …"


def _plain(value: Any) -> Any:
    """Configurations as tables of what they set, all the way down."""
    if isinstance(value, Config):
        table = value.model_dump(mode="json", exclude_none=True)
        return {key: item for key, item in table.items() if item not in ({}, [])}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in cast(Sequence[Any], value)]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in cast(Mapping[str, Any], value).items()}
    return str(value) if isinstance(value, Path) else value


def _inline(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, Mapping):
        table = cast(Mapping[str, Any], value)
        inner = ", ".join(f"{key} = {_inline(item)}" for key, item in table.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_inline(item) for item in cast(list[Any], value))}]"
    return tomli_w.dumps({"v": value}).removeprefix("v = ").rstrip("\n")
