"""The page of evidence: in plain words what the operations of a model were worth, with the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pixelreasoner.core.errors import MissingExtraError
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.viewer.html import render, write_page
from pixelreasoner.viewer.plots import Share, interval_svg, run_colours
from pixelreasoner.viewer.steps import view

RUN_NAMES = {
    "plain": "as it is",
    "no_operations": "no operations",
    "blank": "grey pictures",
    "random_crop": "random regions",
    "swap": "another's crop",
}
PARTS = {"all": "All tasks", "needs_operation": "Where needed"}


def write_evidence(
    path: Path,
    evidence: Mapping[str, Any],
    *,
    rows: Sequence[tuple[str, str]],
    examples: Sequence[tuple[str, Trajectory]] = (),
) -> None:
    """Write the page at `path`, without external resources. Makes the folder.

    Args:
        path: the HTML file.
        evidence: what `evidence.json` holds.
        rows: name and text of each figure.
        examples: label and rollout, in the order to show them.

    Raises:
        RecordError: the place cannot be written to.
    """
    page = render(
        "evidence.html",
        title="What the operations were worth",
        verdict=evidence["verdict"],
        sentences=evidence["sentences"],
        figures=[Markup(svg) for svg in _figures(evidence)],
        rows=rows,
        examples=[(label, view(trajectory)) for label, trajectory in examples],
        meta={
            "checkpoint": evidence["checkpoint"],
            **({"base": evidence["base"]} if evidence["base"] else {}),
            "tasks": str(evidence["n"]),
        },
    )
    write_page(path, page)


def _figures(evidence: Mapping[str, Any]) -> list[str]:
    """Return the accuracy under each control, a figure for each part; none without matplotlib."""
    out: list[str] = []
    for part, title in PARTS.items():
        found = evidence[part]
        accuracies: Mapping[str, Any] = {} if found is None else found["accuracy"]
        shares: dict[str, Share] = {
            RUN_NAMES.get(name, str(name)): Share(figure["mean"], *figure["interval95"])
            for name, figure in accuracies.items()
        }
        try:
            if shares:
                colours = run_colours(list(shares))
                out.append(interval_svg(shares, title=f"Accuracy. {title}", colours=colours))
        except MissingExtraError:  # the table holds the same figures
            return []
    return out
