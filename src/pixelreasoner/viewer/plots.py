"""Training curves: SVG for a page, in its light or dark colours, or a picture file of its own."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelreasoner.core.errors import MissingExtraError, RecordError
from pixelreasoner.core.files import write_bytes
from pixelreasoner.core.metrics_file import Curve

COLOURS = ("#e8590c", "#1c7ed6", "#2b8a3e", "#9c36b5", "#c2255c", "#0c8599")
"""Legible on white and on near-black; the first runs get the first ones."""
FILE_SUFFIXES = (".png", ".svg", ".pdf")
PANEL_INCHES = (4.6, 3.1)
PANELS_IN_ROW = 3

_INK = "#0a0b0c"
"""Placeholder of the page's text colour while matplotlib draws."""


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
    rc_context, figure_class = _matplotlib()
    curves = {name: Curve(tuple(range(1, len(v) + 1)), tuple(v)) for name, v in runs.items()}
    # Text stays text, in the page's own font; a salt makes the ids of two figures in one page differ.
    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif", "font.size": 11}
    ):
        figure = figure_class(figsize=PANEL_INCHES, layout="constrained")
        _draw_panel(figure.add_subplot(), curves, title, colours or run_colours(list(runs)), half_life)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :].replace(_INK, "currentColor")


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
    axes.set_title(title, loc="left", color=_INK, fontsize=12, fontweight="bold")
    axes.set_xlabel("step", color=_INK)
    axes.tick_params(colors=_INK, length=0)
    axes.grid(color=_INK, alpha=0.12, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.margins(x=0.01)


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
