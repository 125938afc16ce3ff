"""Training curves: SVG for a page, in its light or dark colours, or a picture file of its own."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import escape

from pixelreasoner.core.errors import MissingExtraError, RecordError
from pixelreasoner.core.files import write_bytes
from pixelreasoner.core.metrics_file import Curve

COLOURS = ("#e8590c", "#1c7ed6", "#2b8a3e", "#9c36b5", "#c2255c", "#0c8599")
"""Legible on white and on near-black; the first runs get the first ones."""
FILE_SUFFIXES = (".png", ".svg", ".pdf")
PANEL_INCHES = (4.6, 3.1)
PANELS_IN_ROW = 3

INK = "#0a0b0c"
"""Placeholder of the page's text colour while matplotlib draws."""


@dataclass(frozen=True)
class Share:
    """A share of some tasks, 0 to 1, and its 95 % interval."""

    value: float
    low: float
    high: float


def curve_svg(
    runs: Mapping[str, Sequence[float]],
    *,
    title: str,
    colours: Mapping[str, str] | None = None,
    half_life: float | None = None,
) -> str:
    """Return one metric of several runs over their steps: raw values faint, smoothed values strong.

    Args:
        runs: run -> the value at each step; NaN leaves a gap in the raw line.
        title: what the values are.
        colours: run -> colour; those of `COLOURS` in order when None.
        half_life: values after which one weighs half in the smoothed line; 3 % of the run when None.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    curves = {name: Curve(tuple(range(1, len(v) + 1)), tuple(v)) for name, v in runs.items()}
    chosen = colours or run_colours(list(runs))
    ends = {name: [x for x in smoothed(v, 5) if not math.isnan(x)][-1:] for name, v in runs.items()}
    words = [f"{name} ends at {end[0]:.2f}" for name, end in ends.items() if end]
    return panel_svg(
        lambda axes: _draw_panel(axes, curves, title, chosen, half_life),
        title,
        f"{title}: {', '.join(words)}",
    )


def interval_svg(shares: Mapping[str, Share], *, title: str, colours: Mapping[str, str]) -> str:
    """Return shares of several models as points with their intervals, in percent, the first on top.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    words = [
        f"{name} {100 * s.value:.0f} ({100 * s.low:.0f} to {100 * s.high:.0f})" for name, s in shares.items()
    ]
    return panel_svg(
        lambda axes: _draw_intervals(axes, shares, title, colours), title, f"{title}, %: {', '.join(words)}"
    )


def share_curve_svg(
    runs: Mapping[str, Sequence[tuple[int, Share]]],
    *,
    title: str,
    colours: Mapping[str, str],
    start: tuple[str, float] | None = None,
) -> str:
    """Return a share of several runs at some of their steps, in percent, each with the band of its interval.

    Args:
        runs: run -> (step, share) in order.
        title: what the shares are.
        colours: run -> colour.
        start: name and share of what the runs started from, drawn as a line across.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    words = [f"{name} ends at {100 * points[-1][1].value:.0f}" for name, points in runs.items() if points]
    return panel_svg(
        lambda axes: _draw_bands(axes, runs, title, colours, start), title, f"{title}, %: {', '.join(words)}"
    )


def panel_svg(
    draw: Callable[[Any], None], title: str, words: str, *, inches: tuple[float, float] = PANEL_INCHES
) -> str:
    """Return one panel as SVG in the page's ink.

    Args:
        draw: draws on matplotlib's axes, with `INK` for the page's text colour.
        title: tells the panels of a page apart.
        words: what it shows, for who does not see it.
        inches: width and height.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    rc_context, figure_class = _matplotlib()
    # Text stays text, in the page's own font; a salt makes the ids of two figures in one page differ.
    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif", "font.size": 11}
    ):
        figure = figure_class(figsize=inches, layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(words)}"', 1)


def save_curves(
    path: Path, panels: Mapping[str, Mapping[str, Curve]], *, half_life: float | None = None
) -> None:
    """Write a picture of several metrics of several runs, a panel for each metric. Makes the folder.

    Args:
        path: ends in one of `FILE_SUFFIXES`, which says the format.
        panels: metric -> run -> its curve.
        half_life: as in `curve_svg`; 0 draws the raw values only.

    Raises:
        MissingExtraError: matplotlib is not installed.
        RecordError: the path has another suffix.
    """
    if path.suffix.lower() not in FILE_SUFFIXES:
        raise RecordError(f"{path}: end the name in {', '.join(FILE_SUFFIXES)}")
    rc_context, figure_class = _matplotlib()
    runs = list(dict.fromkeys(run for curves in panels.values() for run in curves))
    colours = run_colours(runs)
    n_columns = min(PANELS_IN_ROW, len(panels))
    n_rows = -(-len(panels) // n_columns)
    with rc_context({"font.family": "sans-serif", "font.size": 11}):
        width, height = PANEL_INCHES
        figure = figure_class(figsize=(width * n_columns, height * n_rows + 0.4), layout="constrained")
        for index, (title, curves) in enumerate(panels.items(), start=1):
            axes = figure.add_subplot(n_rows, n_columns, index)
            _draw_panel(axes, curves, title, colours, half_life)
        handles = [_line(colours[run]) for run in runs]
        figure.legend(handles, runs, loc="outside upper left", ncols=min(4, len(runs)), frameon=False)
        picture = io.BytesIO()
        figure.savefig(picture, format=path.suffix[1:].lower(), dpi=150, facecolor="white")
    write_bytes(path, picture.getvalue())


def run_colours(runs: Sequence[str]) -> dict[str, str]:
    """Return a colour for each run, in order."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(runs)}


def smoothed(values: Sequence[float], half_life: float) -> list[float]:
    """Return the exponential moving average, unbiased at the start; NaN counts as missing."""
    keep = 0.5 ** (1 / half_life)
    total = weight = 0.0
    out: list[float] = []
    for value in values:
        total, weight = keep * total, keep * weight
        if not math.isnan(value):
            total, weight = total + value, weight + 1
        out.append(total / weight if weight else math.nan)
    return out


def smooth_curve(curve: Curve, half_life: float | None = None) -> Curve:
    """Return a smoothed curve; `half_life` counts its points, 3 % of them when None, 0 for no smoothing."""
    if half_life == 0:
        return curve
    return Curve(curve.steps, tuple(smoothed(curve.values, half_life or max(1.0, 0.03 * len(curve.values)))))


def _draw_panel(
    axes: Any,
    curves: Mapping[str, Curve],
    title: str,
    colours: Mapping[str, str],
    half_life: float | None,
) -> None:
    """Draw one metric: raw values faint, smoothed values strong."""
    for name, curve in curves.items():
        # Points that lie apart, as those of evaluations do, are marked.
        style = "-" if curve.steps[1:2] == (curve.steps[0] + 1,) else ".-"
        if half_life != 0:
            axes.plot(curve.steps, curve.values, color=colours[name], alpha=0.25, linewidth=0.9)
        strong = smooth_curve(curve, half_life)
        axes.plot(strong.steps, strong.values, style, color=colours[name], linewidth=2.0)
    axes.set_xlabel("step", color=INK)
    axes.margins(x=0.01)
    style_axes(axes, title)


def _draw_intervals(axes: Any, shares: Mapping[str, Share], title: str, colours: Mapping[str, str]) -> None:
    for place, (name, share) in enumerate(shares.items()):
        colour = colours.get(name, INK)
        axes.plot([100 * share.low, 100 * share.high], [place, place], color=colour, linewidth=3, alpha=0.4)
        axes.plot([100 * share.value], [place], "o", color=colour, markersize=7)
        axes.annotate(
            f"{100 * share.value:.0f}", (100 * share.value, place), (0, 7), textcoords="offset points",
            ha="center", color=INK, fontsize=10,
        )  # fmt: skip
    axes.set_yticks(range(len(shares)), list(shares))
    axes.set_ylim(len(shares) - 0.5, -0.6)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("%, 95 % interval", color=INK)
    style_axes(axes, title)


def _draw_bands(
    axes: Any,
    runs: Mapping[str, Sequence[tuple[int, Share]]],
    title: str,
    colours: Mapping[str, str],
    start: tuple[str, float] | None,
) -> None:
    for name, points in runs.items():
        steps = [step for step, _ in points]
        low, high = [100 * s.low for _, s in points], [100 * s.high for _, s in points]
        axes.fill_between(steps, low, high, color=colours[name], alpha=0.18, linewidth=0)
        axes.plot(steps, [100 * s.value for _, s in points], ".-", color=colours[name], linewidth=2.0)
    if start is not None:
        name, value = start
        axes.axhline(100 * value, color=INK, linewidth=1, linestyle="--", alpha=0.6)
        axes.annotate(
            name, (0, 100 * value), (3, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
            color=INK, fontsize=9,
        )  # fmt: skip
    axes.set_ylim(0, 100)
    axes.set_xlabel("step (%, 95 % band)", color=INK)
    axes.margins(x=0.03)
    style_axes(axes, title)


def style_axes(axes: Any, title: str) -> None:
    """Give a panel its title and the quiet look of all of them."""
    axes.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold")
    axes.tick_params(colors=INK, length=0)
    axes.grid(color=INK, alpha=0.12, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _line(colour: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linewidth=2.0)


def _matplotlib() -> tuple[Any, Any]:
    """Return `rc_context` and `Figure`."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingExtraError("matplotlib", "report", "drawing training curves") from e
    return rc_context, Figure
