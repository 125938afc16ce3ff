"""Parts that a recipe chooses: by a registered name, or as `package.module:object`.

One registry per kind of part (operations, reward terms, scorers, task sources, ...). Registered names map to
`package.module:object` too, so that a part is imported only when somebody asks for it::

    SCORERS = Registry("scorer", {"exact": "pixelreasoner.rewards.scorers:exact"})
    SCORERS.find("exact")
    SCORERS.find("my_package.scoring:close_enough")
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from pixelreasoner.core.errors import ConfigError


@dataclass(frozen=True)
class Registry:
    """The registered parts of one kind."""

    kind: str
    """In the singular, for messages: "scorer"."""
    parts: Mapping[str, str]
    """Registered names and where each part lies."""

    def find(self, name: str) -> Any:
        """The part a recipe names.

        A module is looked for in the current folder too, so that a file of the user's needs no installation.

        Raises:
            ConfigError: there is no such name, module or object; the message lists the registered names.
        """
        place = self.parts.get(name, name)
        module_name, colon, attribute = place.partition(":")
        if not colon or not module_name or not attribute:
            names = ", ".join(sorted(self.parts))
            registered = f"the registered ones are {names}" if names else "none is registered"
            raise ConfigError(
                f"there is no {self.kind} '{name}'; {registered}. Your own is named package.module:object"
            )
        module = self._module(module_name, name)
        found: Any = module
        for part in attribute.split("."):
            members = cast(dict[str, Any], vars(found))
            if part not in members:
                raise ConfigError(f"{self.kind} '{name}': the module {module_name} has no '{attribute}'")
            found = members[part]
        return found

    def _module(self, module_name: str, name: str) -> Any:
        here = os.getcwd()
        if here not in sys.path:
            sys.path.append(here)
        try:
            return importlib.import_module(module_name)
        except ModuleNotFoundError as e:
            # A missing import within the user's module is another mistake than a missing module.
            if e.name is not None and (module_name == e.name or module_name.startswith(f"{e.name}.")):
                raise ConfigError(
                    f"{self.kind} '{name}': there is no module {module_name} here or in the environment "
                    f"(the current folder is {here})"
                ) from e
            raise ConfigError(f"{self.kind} '{name}': {module_name} cannot be imported: {e}") from e


def check_call(part: str, function: Any, *arguments: Any, **options: Any) -> None:
    """Check that a part can be called so, without calling it.

    Args:
        part: what it is, for the message: "scorer 'mine'".
        function: what a registry found.
        *arguments: as many as it will get; their values do not matter.
        **options: what a recipe gives it.

    Raises:
        ConfigError: it is no function or class, takes other arguments, or an option is not of the type, or
            not within the bounds, that the parameter's annotation says.
    """
    if not callable(function):
        raise ConfigError(f"{part} is neither a function nor a class")
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # some built-in functions have none
    try:
        signature.bind(*arguments, **options)
    except TypeError as e:
        beside = f" beside its {len(arguments)} arguments" if arguments else ""
        raise ConfigError(f"{part} cannot be called with the options {options}{beside}: {e}") from e
    hints = _hints(function) if options else {}
    for name in options.keys() & hints.keys():
        _check_option(part, name, options[name], hints[name])


def _hints(function: Any) -> dict[str, Any]:
    """The types of a part's parameters by name, with their bounds, as far as they are known."""
    called = [function, function.__init__] if isinstance(function, type) else [function]
    hints: dict[str, Any] = {}
    for each in called:
        try:
            hints |= get_type_hints(each, include_extras=True)
        except (NameError, TypeError, AttributeError):
            continue  # names that are there for type checkers only
    return hints


def _check_option(part: str, name: str, value: Any, hint: Any) -> None:
    """Check an option against the type of its parameter: a number, a text, one of some, true or false."""
    if not _is_scalar(hint):
        return
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False))
        adapter.validate_python(value, strict=True)
    except ValidationError as e:
        message = e.errors()[-1]["msg"]
        raise ConfigError(
            f"{part}: the option '{name}' cannot be {value!r}: {message[0].lower()}{message[1:]}"
        ) from e


def _is_scalar(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _is_scalar(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return True
    if get_origin(hint) in (Union, UnionType):
        return all(_is_scalar(inner) for inner in get_args(hint))
    return hint in (int, float, bool, str, NoneType)
