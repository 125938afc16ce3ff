"""The report of several evaluations: how right each is, what it cost, where they differ, and every attempt.

The figures come from `summary.json`, a comparison and an evidence, as they lie on disk; what an older one
does not hold is left out. Below them is the list of all tasks (`viewer.gallery`), wrong answers first, all
models side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.viewer.comparison_plots import Point, bars_svg, scatter_svg
from pixelreasoner.viewer.comparison_tables import (
    evidence_tables,
    found,
    overlap_lines,
    overview,
    paired_table,
    protocol_tables,
)
from pixelreasoner.viewer.gallery import Attempts, Frame, write_gallery
from pixelreasoner.viewer.plots import Share, run_colours
from pixelreasoner.viewer.tables import Key

ALL, NEEDS = "all", "needs_operation"
PARTS = ((ALL, "Accuracy, all tasks"), (NEEDS, "Accuracy where an operation is needed"))


@dataclass(frozen=True)
class EvaluatedRun:
    """One evaluation, as its folder holds it."""

    name: str
    """Tells it apart from the others."""
    summary: Mapping[str, Any]
    """As `summary.json`."""
    trajectories: Iterable[Trajectory]
    """Taken one at a time, once; never all in memory."""
    protocol: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What its figures depend on: nested, of JSON values."""


def write_comparison(
    path: Path,
    *,
    runs: Sequence[EvaluatedRun],
    comparison: Mapping[str, Any] | None = None,
    evidence: Mapping[str, Mapping[str, Any]] | None = None,
    overlap: Mapping[str, Any] | None = None,
    meta: Mapping[str, object] | None = None,
) -> int:
    """Write the page and the folder beside it, without external resources; returns how many tasks it shows.

    Args:
        path: the HTML file; its folder is made.
        runs: in the order to show them.
        comparison: paired tests, `comparison_tables.paired_table` says which keys.
        evidence: run -> what `evidence.json` holds of it.
        overlap: what `pixelreasoner overlap --json` wrote about the tasks.
        meta: facts about this page, for its end.

    Raises:
        RecordError: there is nothing to compare, two runs share a name or have no task in common, or the
            place cannot be written to.
        MediaError: a picture is missing or damaged.
        MissingExtraError: matplotlib is not installed.
    """
    names = [run.name for run in runs]
    if not runs or len(set(names)) < len(names):
        raise RecordError("a comparison needs evaluations with different names; name each folder once")
    summaries = {run.name: run.summary for run in runs}
    colours = run_colours(names)
    values = {
        "keys": [Key(name, colour) for name, colour in colours.items()],
        "overview": overview(summaries),
        "plots": [Markup(svg) for svg in _plots(runs, colours)],
        "paired": paired_table(comparison or {}),
        "evidence": evidence_tables(evidence or {}),
        "overlap": overlap_lines(overlap or {}),
        "protocol": protocol_tables({run.name: run.protocol for run in runs}),
        "meta": meta or {},
        "heading": "The first wrong attempts",
    }
    return write_gallery(
        path,
        [Attempts(run.name, run.trajectories) for run in runs],
        title=" and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}",
        frame=Frame("comparison.html", values, wrong_first=True),
    )


def _plots(runs: Sequence[EvaluatedRun], colours: Mapping[str, str]) -> list[str]:
    """Return the plots for which any run has the figures."""
    svgs: list[str] = []
    for part, title in PARTS:
        if kinds := _kinds(runs, part):
            svgs.append(bars_svg(kinds, title=title, colours=colours))
    axes = (
        ("Accuracy and RaPR", "RaPR: rollouts with a valid operation, %", True, _rapr),
        ("Accuracy and pixel budget", "largest image, megapixels", False, _megapixels),
        ("Accuracy and visual tokens", "visual tokens per rollout, mean", False, _visual_tokens),
    )
    for title, x_label, percent, figure in axes:
        points = {
            run.name: Point(x, share)
            for run in runs
            if (x := figure(run)) is not None and (share := _share(run.summary, (ALL,))) is not None
        }
        if points:
            svgs.append(scatter_svg(points, title=title, x_label=x_label, colours=colours, percent=percent))
    return svgs


def _kinds(runs: Sequence[EvaluatedRun], part: str) -> dict[str, dict[str, Share]]:
    """Return kind -> run -> accuracy; the kinds in the order of the first run."""
    names = dict.fromkeys(k for run in runs for k in found(run.summary, "accuracy", "by_kind") or {})
    kinds = {
        kind: {
            run.name: share
            for run in runs
            if (share := _share(run.summary, ("by_kind", kind, part))) is not None
        }
        for kind in names
    }
    return {kind: shares for kind, shares in kinds.items() if shares}


def _share(summary: Mapping[str, Any], place: tuple[str, ...]) -> Share | None:
    """Return an accuracy with its interval, the share itself twice where the summary holds none."""
    value = found(summary, "accuracy", *place)
    if value is None:
        return None
    low, high = found(summary, "interval95", "accuracy", *place) or (value, value)
    return Share(value, low, high)


def _rapr(run: EvaluatedRun) -> float | None:
    return found(run.summary, "rapr", ALL)


def _megapixels(run: EvaluatedRun) -> float | None:
    """Return the pixel budget of an image, in megapixels, as the protocol has it."""
    most = found(run.protocol, "vision", "image", "max_pixels")
    return None if most is None else most / 1e6


def _visual_tokens(run: EvaluatedRun) -> float | None:
    return found(run.summary, "per_rollout", "visual_tokens", "mean")
