"""The plots of a comparison: accuracy of several runs by kind, and against what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pixelreasoner.viewer.plots import INK, PANEL_INCHES, Share, panel_svg, style_axes

BAR_INCHES = 0.2
"""The height of a bar with its gap."""


@dataclass(frozen=True)
class Point:
    """A run in a plot of accuracy against something else."""

    x: float
    accuracy: Share


def bars_svg(kinds: Mapping[str, Mapping[str, Share]], *, title: str, colours: Mapping[str, str]) -> str:
    """Return a group of bars per kind, one per run, with their 95 % intervals; the first kind on top.

    Args:
        kinds: kind -> run -> its accuracy; a run that has no task of the kind is left out.
        title: what the shares are.
        colours: run -> colour, in the order of the bars.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    words = [
        f"{kind}: {', '.join(f'{run} {100 * share.value:.0f}' for run, share in runs.items())}"
        for kind, runs in kinds.items()
    ]
    height = 0.9 + len(kinds) * (BAR_INCHES * len(colours) + 0.15)
    return panel_svg(
        lambda axes: _draw_bars(axes, kinds, title, colours),
        title,
        f"{title}, %: {'; '.join(words)}",
        inches=(PANEL_INCHES[0], max(PANEL_INCHES[1], height)),
    )


def scatter_svg(
    points: Mapping[str, Point],
    *,
    title: str,
    x_label: str,
    colours: Mapping[str, str],
    percent: bool = False,
) -> str:
    """Return accuracy, in percent with its 95 % interval, against another figure of each run.

    Args:
        points: run -> where it lies.
        title: what is shown.
        x_label: what the other figure is, with its unit.
        colours: run -> colour.
        percent: whether the other figure is a share, shown from 0 to 100.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    scale = 100 if percent else 1
    words = [f"{run} {100 * p.accuracy.value:.0f} at {scale * p.x:,.0f}" for run, p in points.items()]
    return panel_svg(
        lambda axes: _draw_scatter(axes, points, title, x_label, colours, percent),
        title,
        f"{title}: {', '.join(words)}",
    )


def _draw_bars(
    axes: Any, kinds: Mapping[str, Mapping[str, Share]], title: str, colours: Mapping[str, str]
) -> None:
    runs: Sequence[str] = list(colours)
    width = 0.8 / len(runs)
    for place, shares in enumerate(kinds.values()):
        for at, run in enumerate(runs):
            if run not in shares:
                continue
            share, y = shares[run], place - 0.4 + (at + 0.5) * width
            axes.barh(y, 100 * share.value, 0.86 * width, color=colours[run])
            axes.plot([100 * share.low, 100 * share.high], [y, y], color=INK, linewidth=1.1, alpha=0.75)
    axes.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
    axes.set_ylim(len(kinds) - 0.45, -0.55)
    axes.set_xlim(0, 100)
    axes.set_xlabel("%, 95 % interval", color=INK)
    style_axes(axes, title)
    axes.grid(visible=False, axis="y")


def _draw_scatter(
    axes: Any,
    points: Mapping[str, Point],
    title: str,
    x_label: str,
    colours: Mapping[str, str],
    percent: bool,
) -> None:
    scale = 100 if percent else 1
    for run, point in points.items():
        share = point.accuracy
        x = scale * point.x
        axes.plot([x, x], [100 * share.low, 100 * share.high], color=colours[run], linewidth=3, alpha=0.4)
        axes.plot([x], [100 * share.value], "o", color=colours[run], markersize=8, alpha=0.8)
    if percent:
        axes.set_xlim(-4, 104)
    else:
        axes.margins(x=0.15)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:.3g}")
        axes.locator_params(axis="x", nbins=4)
    axes.set_ylim(0, 100)
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel("accuracy, %", color=INK)
    style_axes(axes, title)
