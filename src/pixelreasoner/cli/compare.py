"""`pixelreasoner compare`: evaluations of the same tasks against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from pixelreasoner.cli.options import option


def compare(
    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], option("RUN RUN [RUN ...]")],
    *,
    common: Annotated[bool, option()] = False,
    score: Annotated[str, option("NAME")] = "correct",
    without_operations: Annotated[Path | None, option("RUN")] = None,
    json: Annotated[Path | None, option("FILE")] = None,
    html: Annotated[Path | None, option("FILE")] = None,
) -> None:
    """Compare evaluations of the same tasks, with paired tests.

    Of each pair: the mean difference (second − first) with its paired bootstrap interval, how many tasks one
    alone gets right, and the p-value of McNemar's exact test; with several rollouts per task, of a paired
    sign-flip test. Of more than two evaluations, also adjusted after Holm.

    Args:
        runs: Folders of evaluations, or their files of trajectories.
        common: Compare the tasks and samples that all share, where they do not have the same.
        score: What is compared; another score of the records, such as pr_compat.
        without_operations: An evaluation without operations: what it gets right are the easy questions of
            RaPR, for all.
        json: Write the comparison to a file.
        html: Write a report with figures and all answers side by side to a page, with its pictures in a
            folder beside it.
    """
    from pixelreasoner.cli.compare_page import write_compare_page
    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.cli.show import names_of
    from pixelreasoner.core.errors import RecordError
    from pixelreasoner.core.files import check_outputs, write_text
    from pixelreasoner.core.terminal import TerminalConsole, visible
    from pixelreasoner.evals.comparison import compare as compare_evaluations
    from pixelreasoner.evals.comparison import comparison_text, warnings_of
    from pixelreasoner.evals.comparison_table import comparison_tables
    from pixelreasoner.evals.reading import read_evaluation
    from pixelreasoner.evals.results import read_without_operations

    if len({path.resolve() for path in runs}) < len(runs):
        raise RecordError("an evaluation is named twice; name each once")
    if len(runs) < 2:
        raise RecordError("a comparison needs two evaluations of the same tasks; name two folders")
    check_outputs({"--json": json, "--html": html})
    evaluations = {name: read_evaluation(path) for name, path in zip(names_of(runs), runs, strict=True)}
    comparison = compare_evaluations(
        evaluations,
        common=common,
        score=score,
        without_operations=read_without_operations(without_operations),
    )
    console = TerminalConsole()
    for warning in warnings_of(comparison):
        console.print(f"compare: {visible(warning)}", markup=False, highlight=False, style="yellow")
    for table in comparison_tables(comparison):
        console.print(table)
    written: dict[str, Path] = {}
    if json is not None:
        write_text(json, comparison_text(comparison))
        written["Comparison"] = json
    if html is not None:
        write_compare_page(runs, html, comparison)
        written["Report"] = html
    if written:
        say_done(written)
