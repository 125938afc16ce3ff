"""A benchmark: whose tasks, how an answer is judged, and what the table must hold.

A benchmark of your own is one file, named `package.module:object` in a recipe: an object of `Benchmark`, or a
function that returns one and takes the recipe's `benchmark_options`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pixelreasoner.chat.chat_format import Wording
from pixelreasoner.core.errors import ConfigError, RecordError
from pixelreasoner.core.registry import Registry, check_call
from pixelreasoner.rewards.scorers import Scorer, exact
from pixelreasoner.tasks.source import TaskSource

BENCHMARKS = Registry("benchmark", {})


@dataclass(frozen=True)
class Benchmark:
    """What an evaluation needs to know of a benchmark."""

    name: str
    tasks: TaskSource
    scorer: Scorer = exact
    expected_rows: Mapping[str, int] = field(default_factory=dict[str, int])
    """Rows by kind; a table that holds others is refused."""
    wording: Wording = field(default_factory=Wording)
    """The prompt its figures are quoted with."""


def load_benchmark(name: str, options: Mapping[str, Any]) -> Benchmark:
    """The benchmark that a recipe names.

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
    for kind, expected in benchmark.expected_rows.items():
        size = benchmark.tasks.select(kind=kind).size
        if size != expected:
            raise RecordError(
                f"benchmark {benchmark.name}: {size} rows of kind '{kind}' instead of {expected}; "
                f"check that the data are complete and of the right version"
            )
    return benchmark
