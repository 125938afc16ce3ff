"""Which tasks a run is about, as a recipe says it.

A registered source, a file, or a function of the user's::

    [tasks]
    source = "pixelworld"                                   # or "my_tasks.jsonl", or "my_module:my_source"
    split = "train"
    kinds = ["attribute", "count"]                          # filters; all kinds by default
    options = { needs_operation_share = 0.04 }              # of the source

Several of them in given proportions, by any weights::

    [[tasks.mixture]]
    weight = 0.7
    tasks = { source = "my_tasks.parquet", shuffle = 0 }

    [[tasks.mixture]]
    weight = 0.3
    tasks = { source = "pixelworld" }
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from pixelreasoner.core.config import MOST, Config, Count, Options, Seed
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.registry import Registry, check_call
from pixelreasoner.tasks.files import SUFFIXES, open_task_file
from pixelreasoner.tasks.mixture import Mixture
from pixelreasoner.tasks.rows import SEEDS_ARE_FOR
from pixelreasoner.tasks.source import FirstTasks, IndexedTasks, TaskSource, cycled, epoch_order, indexed

_DATASETS = "pixelreasoner.tasks.datasets"
SOURCES = Registry(
    "task source",
    {
        "pixelworld": "pixelreasoner.tasks.pixelworld.source:pixelworld",
        "fineweb-visa": f"{_DATASETS}.fineweb_visa:fineweb_visa",
        "media-folder": f"{_DATASETS}.media_folder:media_folder",
        "pixelreasoner-rl": f"{_DATASETS}.pixelreasoner_rl:pixelreasoner_rl",
        "infographicvqa": f"{_DATASETS}.infographicvqa:infographicvqa",
        "llava-cot": f"{_DATASETS}.llava_cot:llava_cot",
        "sa-1b": f"{_DATASETS}.sa_1b:sa_1b",
        "star": f"{_DATASETS}.star:star",
        "video-r1": f"{_DATASETS}.video_r1:video_r1",
        "visualprobe": f"{_DATASETS}.visualprobe:visualprobe",
    },
)
MOST_FRAMES = 10_000
FILE_OPTIONS = ("columns", "n_frames")
"""Options of a task file: arguments of `open_task_file`."""


class TasksConfig(Config):
    """A task source, and which of its tasks to use."""

    source: str = "pixelworld"
    """A registered name (pixelworld, or a data set of docs/data.md), a file that ends in .jsonl or .parquet,
    or package.module:function."""
    split: str = "train"
    """Handed to the source; of a file, the rows of this split and those that name none."""
    options: Options = Field(default_factory=dict)
    """Arguments of the source. pixelworld: seed, kinds, needs_operation_share, photos. A data set: path,
    n_frames (taken from each video file), and those of docs/data.md. A file: columns (our field -> its
    column), n_frames."""
    kinds: tuple[str, ...] = ()
    """Only these kinds of task; empty is all."""
    needs_operation: bool | None = None
    """Only tasks that need an operation, or only tasks that need none."""
    limit: Count | None = None
    """At most so many of the tasks that the filters leave: the first, or, with `shuffle`, a random choice."""
    shuffle: Seed | None = None
    """The seed of a random order, another one in each epoch; None is the source's own order."""
    mixture: tuple[WeightedTasks, ...] = ()
    """Parts in given proportions, in place of `source`, `options` and `shuffle`; each names its own
    split. A mixture has no end."""

    @model_validator(mode="after")
    def _one_level(self) -> TasksConfig:
        if not self.mixture:
            return self
        if any(part.tasks.mixture for part in self.mixture):
            raise ValueError("a part of a mixture cannot be a mixture; multiply the weights")
        plain = TasksConfig()
        for name in ("source", "options", "shuffle"):
            if vars(self)[name] != vars(plain)[name]:
                raise ValueError(f"'{name}' beside a mixture says nothing; give it to the parts")
        return self


class WeightedTasks(Config):
    """A part of a mixture."""

    weight: float = Field(gt=0, le=MOST)
    """Its share, relative to the other parts' weights."""
    tasks: TasksConfig
    """A section like `tasks` itself."""


TasksConfig.model_rebuild()


def build_tasks(
    config: TasksConfig, base_dir: Path | None = None, *, endless: bool = False, seeds: bool = False
) -> TaskSource:
    """The tasks a recipe describes.

    Args:
        config: source, filters and order.
        base_dir: where a relative file is looked for first (the recipe's folder); then the current one.
        endless: repeat a finite source epoch after epoch, for training.
        seeds: whether tasks may be without a question (`Task.is_seed`): for synthesis, and to look at them.

    Raises:
        ConfigError: there is no such source, kind or option, no task is left, or they are seeds and none are
            wanted.
        RecordError: a task file cannot be read.
    """
    if config.mixture:
        parts = [build_tasks(part.tasks, base_dir, endless=True, seeds=seeds) for part in config.mixture]
        source: TaskSource = Mixture(parts, [part.weight for part in config.mixture])
    else:
        source = _open(config, base_dir, seeds=seeds)
    if config.kinds or config.needs_operation is not None:
        kinds = config.kinds or None
        # Any finite source is filtered by its index, so that its limit and its order are those of the rest.
        source = source if source.size is None else indexed(source)
        source = source.select(kind=kinds, needs_operation=config.needs_operation)
    source = _ordered(source, config, endless=endless)
    if source.size == 0:
        raise ConfigError(
            f"tasks: nothing of '{config.source}' is left; check split, kinds and needs_operation"
        )
    return cycled(source, config.shuffle) if endless else source


def _ordered(source: TaskSource, config: TasksConfig, *, endless: bool) -> TaskSource:
    """The source up to the limit, in the order of its first epoch where there is only one."""
    if source.size is None:
        if config.limit is not None:
            return FirstTasks(source, config.limit)
        if config.shuffle is not None:
            raise ConfigError(f"tasks.shuffle: '{config.source}' has no end; leave it out, or set a limit")
        return source
    if config.limit is None and (config.shuffle is None or endless):
        return source
    return indexed(source).reordered(epoch_order(config.shuffle, 0, source.size)[: config.limit])


def _open(config: TasksConfig, base_dir: Path | None, *, seeds: bool) -> TaskSource:
    if config.source.endswith(SUFFIXES):
        path = Path(config.source)
        if base_dir is not None and (base_dir / path).is_file():
            path = base_dir / path
        if unknown := sorted(config.options.keys() - set(FILE_OPTIONS)):
            raise ConfigError(
                f"tasks.options: '{unknown[0]}' is no option of a task file; "
                f"they are {', '.join(FILE_OPTIONS)}. "
                f"If the recipe has it for another source, give tasks.options={{}}"
            )
        return open_task_file(path, split=config.split, seeds=seeds, **_file_options(config.options))
    make = SOURCES.find(config.source)
    check_call(f"task source '{config.source}'", make, split=config.split, **config.options)
    source = make(split=config.split, **config.options)
    if not seeds and isinstance(source, IndexedTasks) and source.seed_kinds:
        raise ConfigError(f"tasks: '{config.source}' has no questions; {SEEDS_ARE_FOR}")
    return source


def _file_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a file, checked."""
    columns, n_frames = options.get("columns", {}), options.get("n_frames", 1)
    if not isinstance(columns, Mapping) or not all(isinstance(c, str) for c in columns.values()):
        raise ConfigError("tasks.options.columns: give a table of our fields and the file's columns")
    if type(n_frames) is not int or not 1 <= n_frames <= MOST_FRAMES:
        raise ConfigError(f"tasks.options.n_frames: {n_frames!r} where 1 to {MOST_FRAMES} is needed")
    return dict(options)
