"""Trajectories as one self-contained HTML page: question, turns, crops with their boxes, answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pixelreasoner.core.files import write_text
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.viewer.steps import view


def trajectory_html(trajectory: Trajectory) -> str:
    """Return one trajectory as a complete page without external resources."""
    return _page([trajectory], trajectory.task.question)


def save_html(trajectories: Sequence[Trajectory], path: Path, title: str = "Trajectories") -> None:
    """Write a page with all trajectories, folded when there are several. Makes the folder.

    Raises:
        RecordError: the place cannot be written to.
    """
    write_text(path, _page(trajectories, title))


def render(template: str, **values: object) -> str:
    """Return a template of this package as a complete page; text is escaped unless it is `Markup`."""
    style = Markup(_environment().get_template("style.css").render())
    return _environment().get_template(template).render(style=style, **values)


def _page(trajectories: Sequence[Trajectory], title: str) -> str:
    return render("trajectories.html", title=title, views=[view(t) for t in trajectories])


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("pixelreasoner.viewer"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
