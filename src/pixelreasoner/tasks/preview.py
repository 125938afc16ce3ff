"""What `pixelreasoner tasks` may be asked to look through: a source, a file, a folder, a recipe."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from pixelreasoner.core.config import explain
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.recipe import find_recipe, recipe_names
from pixelreasoner.tasks.config import SOURCES, TasksConfig, build_tasks
from pixelreasoner.tasks.datasets.known import recognise, recognised
from pixelreasoner.tasks.files import SUFFIXES, open_task_file
from pixelreasoner.tasks.source import TaskSource

RECIPE_SPLITS = {"rl": "rl", "eval": "test", "synth": "train"}
"""The split of a recipe that names none, by the command it is for."""


class Part(NamedTuple):
    """Tasks of one source."""

    name: str
    source: TaskSource


def open_parts(name: str, *, split: str | None = None, path: str | None = None) -> list[Part]:
    """What a name stands for; of a mixture, each part.

    Args:
        name: a registered source, package.module:function, a task file, a data set's folder or file, or a
            recipe with a section `tasks`.
        split: in place of the source's default, or the recipe's.
        path: where a data set lies, in place of the recipe's.

    Raises:
        ConfigError: there is none of that name, or the recipe has no tasks.
        RecordError: nothing can be read there.
    """
    if is_recipe(name):
        return _of_recipe(name, split, path)
    place = Path(name)
    if name.endswith(SUFFIXES) and not (place.is_file() and recognised(place)):
        # A row that cannot be read is reported among the others.
        return [Part(name, open_task_file(name, split=split, tolerant=True, seeds=True))]
    if place.exists():
        reader = recognise(place)
        return [Part(f"{reader.name} ({name})", reader.open(split=split or reader.splits[0], path=name))]
    options = {} if path is None else {"path": path}
    config = TasksConfig(source=name, split=split or "train", options=options)
    return [Part(name, build_tasks(config, seeds=True))]


def is_recipe(name: str) -> bool:
    """Whether a name is that of a recipe, a file or a shipped one."""
    return name.endswith(".toml") or name in recipe_names()


def _of_recipe(name: str, split: str | None, path: str | None) -> list[Part]:
    file = find_recipe(Path(name))
    words = re.findall(r"[A-Za-z]+", file.stem)
    default = next((RECIPE_SPLITS[word] for word in words if word in RECIPE_SPLITS), None)
    table = tomllib.loads(file.read_text(encoding="utf-8-sig")).get("tasks")
    if table is None and default is not None:
        table = {}  # a recipe of such a command has the tasks of its defaults
    if not isinstance(table, Mapping):
        raise ConfigError(
            f"{name} has no section [tasks]; give a recipe of synth, rl or eval, or name its tasks: "
            f"{', '.join(SOURCES.parts)}"
        )
    try:
        config = TasksConfig.model_validate({"split": default or "train", **table})
    except ValidationError as e:
        problems = "; ".join(explain(error) for error in e.errors())
        raise ConfigError(f"{name}, section [tasks]: {problems}") from e
    total = sum(part.weight for part in config.mixture)
    parts = [(f"{part.weight / total:.0%} {part.tasks.source}", part.tasks) for part in config.mixture]
    return [
        Part(label, build_tasks(_changed(tasks, split, path), seeds=True))
        for label, tasks in parts or [(config.source, config)]
    ]


def _changed(config: TasksConfig, split: str | None, path: str | None) -> TasksConfig:
    values: dict[str, Any] = {} if split is None else {"split": split}
    if path is not None:
        values["options"] = {**config.options, "path": path}
    return config.changed(**values)
