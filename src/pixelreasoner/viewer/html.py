"""Trajectories as one self-contained HTML page: question, turns, crops with their boxes, answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pixelreasoner.core.terminal import visible
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.viewer.steps import view


def trajectory_html(trajectory: Trajectory) -> str:
    """Return one trajectory as a complete page without external resources."""
    return _page([trajectory], trajectory.task.question)


def save_html(trajectories: Sequence[Trajectory], path: Path, title: str = "Trajectories") -> None:
    """Write a page with all trajectories, folded when there are several. Makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_page(trajectories, title), encoding="utf-8")


def render(template: str, **values: object) -> str:
    """Return a template of this package as a complete page; text is escaped unless it is `Markup`."""
    style = Markup(_environment().get_template("style.css").render())
    return _environment().get_template(template).render(style=style, **values)


def _page(trajectories: Sequence[Trajectory], title: str) -> str:
    return render("trajectories.html", title=title, views=[view(t) for t in trajectories])


def _shown(value: object) -> object:
    """A value of a template, its control characters shown: an override of direction reorders a page, too."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("pixelreasoner.viewer"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
