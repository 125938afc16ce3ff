"""Recipes: one TOML file and a few overrides become one frozen configuration, saved with the run.

Precedence is defaults < file < overrides. Everything is checked when the recipe is loaded, and every
error says where the value came from and what is allowed there.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin

import tomli_w
from pydantic import ValidationError

from pixelreasoner.core.config import Config, explain
from pixelreasoner.core.errors import ConfigError

C = TypeVar("C", bound=Config)
Table = dict[str, Any]
Loc = tuple[int | str, ...]

RESOLVED_FILE = "config.toml"
UNKNOWN = "extra_forbidden"
"""What pydantic calls a key that is not there."""


def load_recipe(cls: type[C], path: Path | None = None, overrides: Sequence[str] = ()) -> C:
    """The configuration a TOML file and `section.key=value` overrides describe.

    An override's value is read as TOML (`lr=1e-5`, `kinds=["count"]`, `shuffle=false`), and as plain text
    where it is not TOML (`out=runs/mine`).

    Args:
        cls: what to load; unknown keys are refused.
        path: the recipe, or None for the defaults.
        overrides: applied over the file, in order.

    Raises:
        ConfigError: naming the file or the override, the key, and what is allowed there.
    """
    table = _read(path) if path is not None else {}
    for text in overrides:
        _override(table, text)
    try:
        return cls.model_validate(table)
    except ValidationError as e:
        lines = [_explain(cls, path, overrides, error["loc"], error) for error in e.errors()]
        unknown = dict.fromkeys(error["loc"][:-1] for error in e.errors() if error["type"] == UNKNOWN)
        raise ConfigError("\n".join([*lines, *(_allowed(cls, section) for section in unknown)])) from e


def save_resolved(config: Config, folder: Path) -> Path:
    """Write `config` as config.toml in `folder`, every default spelled out.

    `load_recipe` reads it back to an equal configuration. TOML has no null: a field that is None is left
    out, so a field that may be None must have None for its default.
    """
    table = config.model_dump(mode="json", exclude_none=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RESOLVED_FILE
    path.write_text(tomli_w.dumps(table), encoding="utf-8")
    assert load_recipe(type(config), path) == config, f"{type(config).__name__} does not survive TOML"
    return path


def find_recipe(name: Path) -> Path:
    """The file `name`, or the shipped recipe of that name, with or without its ".toml".

    Raises:
        ConfigError: there is neither; the message names the closest ones and lists those that are shipped.
    """
    shipped = shipped_recipes()
    for path in (name, shipped / name, shipped / f"{name}.toml"):
        if path.is_file():
            return path
    beside = [str(path) for path in name.parent.glob("*.toml")]
    near = _near(str(name), [*recipe_names(), *beside])
    known = ", ".join(recipe_names()) or "none found"
    raise ConfigError(f"{name}: no such recipe; give a file, or one of the shipped ones: {known}.{near}")


def recipe_names() -> list[str]:
    """The names of the shipped recipes, as commands take them."""
    root = shipped_recipes()
    return sorted(str(path.relative_to(root).with_suffix("")) for path in root.rglob("*.toml"))


def shipped_recipes() -> Path:
    """The folder of the recipes: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parents[1] / "recipes"


def _read(path: Path) -> Table:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as e:
        near = _near(path.name, [p.name for p in path.parent.glob("*.toml")])
        raise ConfigError(f"{path}: no such recipe.{near}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path} is not valid TOML: {e}") from e
    except OSError as e:
        raise ConfigError(f"{path} cannot be read: {e.strerror}") from e


def _override(table: Table, text: str) -> None:
    """Set one value in `table`, in place."""
    key, equals, value = text.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(f"override '{text}' is not of the form key=value or section.key=value")
    for depth, name in enumerate(names[:-1], start=1):
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"override '{text}': '{'.'.join(names[:depth])}' is a value, not a section")
        table = cast(Table, inner)
    table[names[-1]] = _value(value.strip())


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(
    cls: type[Config], path: Path | None, overrides: Sequence[str], loc: Loc, error: Mapping[str, Any]
) -> str:
    """One line about one validation error."""
    key = ".".join(str(part) for part in loc)
    where = _origin(path, overrides, loc)
    if error["type"] == UNKNOWN:
        name = str(loc[-1])
        elsewhere = " or ".join(f"'{found}'" for found in _paths_to(cls, name))
        near = f" Did you mean {elsewhere}?" if elsewhere else _near(name, _keys_at(cls, loc[:-1]))
        return f"{where}: unknown key '{key}'.{near}"
    return f"{where}: {explain(error)}"


def _allowed(cls: type[Config], section: Loc) -> str:
    place = f"in section '{'.'.join(map(str, section))}'" if section else "at the top level"
    return f"Allowed {place}: {', '.join(_keys_at(cls, section)) or 'nothing'}"


def _paths_to(cls: type[Config], name: str) -> list[str]:
    """The places of keys of that name in the sections of a configuration, lists and tables left out."""
    found = [name] if name in cls.model_fields else []
    for key, field in cls.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Config):
            found += [f"{key}.{path}" for path in _paths_to(field.annotation, name)]
    return found


def _origin(path: Path | None, overrides: Sequence[str], loc: Loc) -> str:
    """The last override that set the value at `loc`, else the file."""
    for text in reversed(overrides):
        names = tuple(text.partition("=")[0].strip().split("."))
        if loc and names == tuple(map(str, loc[: len(names)])):
            return f"override '{text}'"
    return str(path) if path is not None else "configuration"


def _near(name: str, choices: Sequence[str]) -> str:
    """A question that names the closest choices, to be appended; empty when none is close."""
    matches = difflib.get_close_matches(name, choices, n=3)
    return f" Did you mean {' or '.join(repr(m) for m in matches)}?" if matches else ""


def _keys_at(cls: type[Config], loc: Loc) -> list[str]:
    """The keys allowed in the section at `loc`, sorted; of every alternative where there are several."""
    sections = [cls]
    for part in loc:
        fields = [s.model_fields[part] for s in sections if isinstance(part, str) and part in s.model_fields]
        # A list index or a union's tag leads to no field of its own: the section stays.
        if fields:
            sections = [inner for f in fields for inner in _configs_in(f.annotation)]
    return sorted({name for s in sections for name in s.model_fields})


def _configs_in(annotation: Any) -> list[type[Config]]:
    """The configuration classes a field's type mentions: `A`, `A | None`, `tuple[A, ...]`, `dict[str, A]`."""
    if get_origin(annotation) in (Union, UnionType, tuple, list, dict):
        return [c for arg in get_args(annotation) if arg is not NoneType for c in _configs_in(arg)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, Config) else []
