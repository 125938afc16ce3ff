"""Training curves as SVG for a page, in its light or dark colours."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

from pixelreasoner.core.errors import MissingExtraError

COLOURS = ("#e8590c", "#1c7ed6", "#2b8a3e", "#9c36b5", "#c2255c", "#0c8599")
"""Legible on white and on near-black; the first runs get the first ones."""

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
        half_life: steps after which a value weighs half in the smoothed line; 3 % of the run when None.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingExtraError("matplotlib", "report", "drawing training curves") from e

    colours = colours or run_colours(list(runs))
    # Text stays text, in the page's own font; a salt makes the ids of two figures in one page differ.
    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif", "font.size": 11}
    ):
        figure = Figure(figsize=(4.6, 3.1), layout="constrained")
        axes = figure.add_subplot()
        for name, values in runs.items():
            steps = range(1, len(values) + 1)
            axes.plot(steps, list(values), color=colours[name], alpha=0.25, linewidth=0.9)
            smooth = smoothed(values, half_life if half_life is not None else max(1.0, 0.03 * len(values)))
            axes.plot(steps, smooth, color=colours[name], linewidth=2.0)
        axes.set_title(title, loc="left", color=_INK, fontsize=12, fontweight="bold")
        axes.set_xlabel("step", color=_INK)
        axes.tick_params(colors=_INK, length=0)
        axes.grid(color=_INK, alpha=0.12, linewidth=0.8)
        axes.set_axisbelow(True)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.margins(x=0.01)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :].replace(_INK, "currentColor")


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
