"""Several runs of the demo in one table: mean and standard deviation over their seeds.

::

    for s in 0 1 2; do pixelreasoner demo --seed $s --out runs/seed$s; done
    python -m pixelreasoner.evals.seeds runs/seed*/metrics.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from pixelreasoner.core.errors import RecordError

Metrics = Mapping[str, Any]
"""What the demo writes to `metrics.json`."""


def read_metrics(paths: Sequence[Path]) -> list[Metrics]:
    """Raises RecordError when a file is no demo's, or two are of the same seed."""
    runs: list[Metrics] = []
    for path in paths:
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            seed, _ = run["seed"], run["models"]
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise RecordError(f"{path} is not the metrics.json of a demo: {e}") from e
        if seed in [other["seed"] for other in runs]:
            raise RecordError(f"{path} has seed {seed}, as a file before it; give one file per seed")
        runs.append(run)
    return runs


def seeds_table(runs: Sequence[Metrics]) -> str:
    """Markdown: a row per measure, a column per model; percent, mean ± sample standard deviation."""
    models = list(runs[0]["models"])
    kinds = list(runs[0]["models"][models[0]]["accuracy"]["by_kind"])
    measures: dict[str, tuple[str, ...]] = {
        "accuracy": ("accuracy", "all"),
        "where the operation is needed": ("accuracy", "needs_operation"),
        **{f"… {kind}": ("accuracy", "by_kind", kind, "needs_operation") for kind in kinds},
        "RaPR": ("rapr", "all"),
        "RaPR where needed": ("rapr", "needs_operation"),
        "operations in error": ("op_error_rate",),
    }
    seeds = ", ".join(str(run["seed"]) for run in runs)
    lines = [_line([f"% (seeds {seeds})", *models]), _line(["---"] * (1 + len(models)))]
    for name, path in measures.items():
        cells = [_spread([_at(run["models"][model], path) for run in runs]) for model in models]
        lines.append(_line([name, *cells]))
    return "\n".join(lines)


def _at(summary: Any, path: Sequence[str]) -> float:
    for key in path:
        summary = summary[key]
    return 100 * summary


def _spread(values: Sequence[float]) -> str:
    deviation = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):.1f}{deviation}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    try:
        print(seeds_table(read_metrics([Path(arg) for arg in sys.argv[1:]])))  # noqa: T201
    except (RecordError, IndexError) as e:
        sys.exit(f"{e}" if sys.argv[1:] else "name the metrics.json of each run")
