"""A comparison of evaluations as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from pixelreasoner.core.terminal import visible_line
from pixelreasoner.evals.comparison import Comparison
from pixelreasoner.evals.tables import summary_table


def comparison_tables(comparison: Comparison) -> Iterator[Table]:
    """Each evaluation on its own, then every pair: over all tasks, and by kind where there are several."""
    yield summary_table({name: run["summary"] for name, run in comparison["runs"].items()})
    yield _pairs_table(comparison)


def _pairs_table(comparison: Comparison) -> Table:
    score, n, samples = (comparison[key] for key in ("score", "n", "samples"))
    rollouts = f", {samples} rollouts each" if samples > 1 else ""
    table = Table(title=f"differences of '{visible_line(score)}' in points, {n} tasks{rollouts}")
    table.add_column("second − first", overflow="fold")
    table.add_column("tasks", justify="right")
    table.add_column("difference", justify="right")
    table.add_column("95 %", justify="right")
    if samples == 1:
        table.add_column("1st / 2nd only", justify="right")
    table.add_column("p", justify="right")
    several = len(comparison["pairs"]) > 1
    if several:
        table.add_column("p, Holm", justify="right")
    for pair in comparison["pairs"]:
        name = f"{visible_line(pair['b'])} − {visible_line(pair['a'])}"
        adjusted = [_p(pair["p_holm"])] if several else []
        table.add_row(Text(name), *_cells(pair, samples), *adjusted)
        if len(pair["by_kind"]) > 1:
            for kind, tested in pair["by_kind"].items():
                table.add_row(Text(f"  {visible_line(kind)}"), *_cells(tested, samples))
    table.caption = _caption(comparison, several)
    return table


def _cells(tested: Mapping[str, Any], samples: int) -> list[str]:
    low, high = tested["bootstrap95"]
    discordant = [f"{tested['only_a']} / {tested['only_b']}"] if samples == 1 else []
    return [
        str(tested["n"]),
        _points(tested["difference"]),
        f"{_points(low)}, {_points(high)}",
        *discordant,
        _p(tested["p"]),
    ]


def _caption(comparison: Comparison, several: bool) -> str:
    tests = {pair["test"] for pair in comparison["pairs"]}
    named = {"mcnemar": "McNemar's exact test", "sign_flip": "paired sign-flip test"}
    said = [f"p: {' or '.join(named[test] for test in sorted(tests))}", "95 %: paired bootstrap over tasks"]
    if comparison["samples"] == 1:
        said.append("1st / 2nd only: tasks that one alone gets right")
    if several:
        said.append("Holm: adjusted for the number of pairs; kinds are not adjusted")
    return "; ".join(said)


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"
