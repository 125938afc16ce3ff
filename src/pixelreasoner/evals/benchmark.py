"""A benchmark: whose tasks, how an answer is judged, and what the table must hold.

A benchmark of your own is one file, named `package.module:object` in a recipe: an object of `Benchmark`, or a
function that returns one and takes the recipe's `benchmark_options`. The registered ones are in
`evals.benchmarks`, one file each; docs/evaluation.md has the table.
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pixelreasoner.chat.chat_format import Wording
from pixelreasoner.core.errors import ConfigError, RecordError
from pixelreasoner.core.recipe import find_recipe
from pixelreasoner.core.registry import Registry, check_call
from pixelreasoner.core.trajectory import SCORE_METRIC, Trajectory
from pixelreasoner.evals.aggregates import Aggregate
from pixelreasoner.evals.scores import Score
from pixelreasoner.rewards.scorers import Scorer, exact
from pixelreasoner.tasks.preview import is_recipe
from pixelreasoner.tasks.source import TaskSource

log = logging.getLogger(__name__)

TrajectoryScore = Callable[[Trajectory], float | None]
"""A score of a whole rollout, 0 to 1; None where it has none (no box to compare, a judge that failed)."""

_HERE = "pixelreasoner.evals.benchmarks"
BENCHMARKS = Registry(
    "benchmark",
    {
        "vstar": f"{_HERE}.vstar:vstar",
        "tallyqa": f"{_HERE}.tallyqa:tallyqa",
        "infovqa": f"{_HERE}.infovqa:infovqa",
        "mvbench": f"{_HERE}.mvbench:mvbench",
        "hrbench": f"{_HERE}.hrbench:hrbench",
        "visualprobe-eval": f"{_HERE}.visualprobe:visualprobe",
        "treebench": f"{_HERE}.treebench:treebench",
        "zoombench": f"{_HERE}.zoombench:zoombench",
        "mme-realworld": f"{_HERE}.mme_realworld:mme_realworld",
        "cgbench": f"{_HERE}.cgbench:cgbench",
        "pixelworld-test": f"{_HERE}.pixelworld:pixelworld",
        "pixelreasoner-eval": f"{_HERE}.pixelreasoner_sets:pixelreasoner_sets",
    },
)


@dataclass(frozen=True)
class Benchmark:
    """What an evaluation needs to know of a benchmark."""

    name: str
    tasks: TaskSource
    scorer: Scorer = exact
    """The standard score (`core.trajectory.SCORE_METRIC`)."""
    expected_rows: Mapping[str, int] = field(default_factory=dict[str, int])
    """Rows by kind, or by a pattern of kinds ("single/*"); a table that holds others is refused."""
    wording: Wording = field(default_factory=Wording)
    """The prompt its figures are quoted with."""
    scores: Mapping[str, TrajectoryScore] = field(default_factory=dict[str, TrajectoryScore])
    """Scores beside the standard one, by name: pr_compat."""
    aggregate: Aggregate | None = None
    """The figures that are published, where they are more than the mean over all tasks."""
    metric: str = ""
    """What the standard score is, in words."""
    source: str = ""
    """Where the rows are from."""
    licence: str = ""
    """Of the rows and the pictures, as their publishers say."""

    def found_rows(self) -> dict[str, int]:
        """How many rows there are, by the keys of `expected_rows`."""
        if not self.expected_rows:
            return {}
        sizes = {kind: self.tasks.select(kind=kind).size or 0 for kind in self.tasks.kinds}
        return {
            pattern: sum(
                size for kind, size in sizes.items() if kind == pattern or fnmatchcase(kind, pattern)
            )
            for pattern in self.expected_rows
        }

    def wrong_rows(self) -> dict[str, tuple[int, int]]:
        """The keys of `expected_rows` of which there are others: how many there are, and should be."""
        found = self.found_rows()
        return {key: (found[key], n) for key, n in self.expected_rows.items() if found[key] != n}

    def facts(self, scores: Sequence[Score]) -> dict[str, Any]:
        """What a summary says of the benchmark; ready for JSON.

        Args:
            scores: of the tasks that were evaluated (`evals.scores.Score`).
        """
        missing = {key: list(rows) for key, rows in self.wrong_rows().items()}
        figures: dict[str, Any] = {}
        if self.aggregate is not None and scores:
            names = dict.fromkeys(name for s in scores for name in (SCORE_METRIC, *dict(s.other_scores)))
            figures = {name: self.aggregate([s.of(name) for s in scores]) for name in names}
        return {
            "name": self.name,
            "metric": self.metric,
            "source": self.source,
            "licence": self.licence,
            "rows": self.tasks.size,
            "complete": not missing,
            "wrong_rows": missing,
            "figures": figures,
        }


def load_benchmark(name: str, options: Mapping[str, Any], *, incomplete: bool = False) -> Benchmark:
    """The benchmark that a recipe names.

    Args:
        name: a registered one, or package.module:object.
        options: arguments of its function.
        incomplete: whether a table that lacks rows, or has more, is taken all the same.

    Raises:
        ConfigError: there is none of that name, or it is no benchmark.
        RecordError: its table does not hold the rows it should.
    """
    found: Benchmark | Callable[..., Benchmark] = BENCHMARKS.find(name)
    if isinstance(found, Benchmark):
        benchmark = found
    else:
        check_call(f"benchmark '{name}'", found, **options)
        benchmark = found(**options)
    if not isinstance(benchmark, Benchmark):
        raise ConfigError(f"benchmark '{name}' is no pixelreasoner.evals.benchmark.Benchmark")
    if not incomplete:
        for kind, (size, expected) in benchmark.wrong_rows().items():
            raise RecordError(
                f"benchmark {benchmark.name}: {size} rows of kind '{kind}' instead of {expected}; check that "
                f"the data are complete and of the right version, or evaluate what is there, and say so: "
                f"incomplete=true"
            )
    return benchmark


def named_benchmark(name: str, *, split: str | None = None, path: str | None = None) -> TaskSource | None:
    """The tasks of a registered benchmark, or of the one that a recipe names; None of any other name.

    What a benchmark that is not complete lacks is said.

    Args:
        name: of a benchmark, or a recipe's.
        split: in place of the benchmark's own.
        path: where its data lie, in place of the recipe's.

    Raises:
        ConfigError, RecordError: as `load_benchmark`.
    """
    given = {key: value for key, value in (("split", split), ("path", path)) if value is not None}
    table: Mapping[str, Any] = {"benchmark": name} if name in BENCHMARKS.parts else {}
    if not table and is_recipe(name):
        table = tomllib.loads(find_recipe(Path(name)).read_text(encoding="utf-8-sig"))
    if not table.get("benchmark"):
        return None
    options = table.get("benchmark_options", {})
    benchmark = load_benchmark(
        table["benchmark"], {**(options if isinstance(options, Mapping) else {}), **given}, incomplete=True
    )
    if wrong := benchmark.wrong_rows():
        found = ", ".join(f"{n:,} rows of kind '{kind}' instead of {m:,}" for kind, (n, m) in wrong.items())
        log.warning("benchmark %s is not complete: %s; the rest is not looked at", benchmark.name, found)
    return benchmark.tasks
