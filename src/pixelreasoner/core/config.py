"""The base of every configuration: frozen, strict, read from TOML, saved with the run.

Every number is finite and has a least and a greatest value: by the types below, or by a `Field` with bounds.
A field that may have another value when a run goes on is marked where it is declared::

    steps: Annotated[Count, MAY_CHANGE] = 480
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Self, Union, cast, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pixelreasoner.core.errors import ConfigError

Table = Mapping[str, Any]

MOST = 10**9
"""The greatest number of anything that is counted."""
Count = Annotated[int, Field(ge=1, le=MOST)]
CountOrZero = Annotated[int, Field(ge=0, le=MOST)]
Bytes = Annotated[int, Field(ge=0, le=2**60)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""As numpy and TOML hold it."""
Share = Annotated[float, Field(ge=0, le=1)]


def _finite(options: dict[str, Any]) -> dict[str, Any]:
    for name, value in options.items():
        if not _is_finite(value):
            raise ValueError(f"the option '{name}' is {value}; give finite numbers")
    return options


def _is_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_finite(item) for item in cast(Table, value).values())
    if isinstance(value, (list, tuple)):
        return all(_is_finite(item) for item in cast(Sequence[Any], value))
    return not isinstance(value, float) or math.isfinite(value)


Options = Annotated[dict[str, Any], AfterValidator(_finite)]
"""Arguments of a part that a recipe names; the part says what they are (`registry.check_call`)."""


@dataclass(frozen=True)
class MayChange:
    """The mark of a field, or of a whole section, that may differ when a run goes on (`differences`)."""


MAY_CHANGE = MayChange()


class Config(BaseModel):
    """A frozen pydantic model that refuses unknown keys, numbers that are not finite, and true for 1.

    A section that is given in part keeps the rest of its DEFAULT, which need not be that of its class::

        class Eval(Config):
            sampling: Sampling = Sampling(temperature=0.0)

        Eval.model_validate({"sampling": {"max_tokens": 64}}).sampling.temperature      # 0.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    if not TYPE_CHECKING:  # pyright knows the fields, and would lose them

        def __init__(self, **values: Any) -> None:
            """A configuration from values.

            Raises:
                ConfigError: one of them cannot be used. (`model_validate` raises pydantic's own error.)
            """
            try:
                super().__init__(**values)
            except ValidationError as e:
                problems = "; ".join(explain(error) for error in e.errors())
                raise ConfigError(f"{type(self).__name__}: {problems}") from e

        # pydantic then builds sections without it, and its own errors keep the place within them.
        __init__.__pydantic_base_init__ = True

    def changed(self, **values: Any) -> Self:
        """The configuration with other values, which are checked (`model_copy` checks none).

        Raises:
            ConfigError: one of them cannot be used.
        """
        return type(self)(**{**dict(self), **values})

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        items = cast(Sequence[Any], value) if isinstance(value, (list, tuple)) else (value,)
        wrong = any(isinstance(item, bool) for item in items)
        if wrong and _is_number(cls.model_fields[info.field_name].annotation):
            raise ValueError("a number is needed")
        return cast(Any, value)

    @model_validator(mode="before")
    @classmethod
    def _fill_sections(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        table = dict(cast(Table, data))
        for name, field in cls.model_fields.items():
            default, given = field.default, table.get(name)
            if isinstance(default, Config) and isinstance(given, Mapping):
                table[name] = _laid_over(default, cast(Table, given))
        return table


def explain(error: Mapping[str, Any]) -> str:
    """One of pydantic's errors as a sentence: the key, its value, what is allowed."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"'{key}' is required and not set"
    message = str(error["msg"]).removeprefix("Value error, ")
    if not key:
        return message
    if error["type"] == "extra_forbidden":
        return f"unknown key '{key}'"
    return f"'{key}' cannot be {error['input']!r}: {message[0].lower()}{message[1:]}"


@dataclass(frozen=True)
class Difference:
    """A field that differs between two configurations of one class."""

    key: str
    """With its sections: `optim.lr`."""
    before: Any
    now: Any
    may_change: bool
    """Whether it, or a section it is in, is marked `MAY_CHANGE`."""

    def __str__(self) -> str:
        return f"{self.key} (it was {_shown(self.before)}, and is now {_shown(self.now)})"


def differences(before: Config, now: Config) -> Iterator[Difference]:
    """Every field with another value, sections field by field."""
    for name, field in type(before).model_fields.items():
        old, new = getattr(before, name), getattr(now, name)
        marked = any(isinstance(mark, MayChange) for mark in field.metadata)
        if isinstance(old, Config) and type(old) is type(new):
            for inner in differences(old, new):
                yield Difference(f"{name}.{inner.key}", inner.before, inner.now, marked or inner.may_change)
        elif old != new:
            yield Difference(name, old, new, marked)


def _shown(value: Any) -> str:
    """As it is written in a recipe, nearly; a section field by field that is not at its default."""
    if isinstance(value, Config):
        return str(value.model_dump(mode="json", exclude_defaults=True))
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_shown(item) for item in cast(Sequence[Any], value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{k}: {_shown(v)}' for k, v in cast(Table, value).items())}}}"
    return "not set" if value is None else str(value)


def _is_number(annotation: Any) -> bool:
    """Whether a field takes numbers, lists of numbers, and perhaps None, and nothing else."""
    if get_origin(annotation) is Annotated:
        return _is_number(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType, tuple, list):
        return all(inner in (NoneType, Ellipsis) or _is_number(inner) for inner in get_args(annotation))
    return annotation in (int, float)


def _laid_over(default: Config, given: Table) -> dict[str, Any]:
    """The values of `default`, those that are given in their place; sections within it likewise."""
    out: dict[str, Any] = dict(default)
    for key, value in given.items():
        under = out.get(key)
        if isinstance(under, Config) and isinstance(value, Mapping):
            out[key] = _laid_over(under, cast(Table, value))
        else:
            out[key] = value
    return out
