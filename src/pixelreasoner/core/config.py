"""The base of every configuration: frozen, strict, read from TOML, saved with the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, model_validator

Table = Mapping[str, Any]


class Config(BaseModel):
    """A frozen pydantic model that refuses unknown keys.

    A section that is given in part keeps the rest of its DEFAULT, which need not be that of its class::

        class Eval(Config):
            sampling: Sampling = Sampling(temperature=0.0)

        Eval.model_validate({"sampling": {"max_tokens": 64}}).sampling.temperature      # 0.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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
