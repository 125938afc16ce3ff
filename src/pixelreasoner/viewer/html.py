"""A trajectory as one self-contained HTML page: question, turns, crops with their boxes, answer."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pixelreasoner.core.files import write_text
from pixelreasoner.core.terminal import visible
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.viewer.pictures import FigureUri, data_uri
from pixelreasoner.viewer.steps import view

_TEMPLATES = Path(__file__).parent / "templates"


def trajectory_html(trajectory: Trajectory) -> str:
    """Return one trajectory as a complete page without external resources."""
    return _page(trajectory, trajectory.task.question)


def save_html(trajectory: Trajectory, path: Path, title: str) -> None:
    """Write a page with one trajectory, pictures included; `viewer.gallery` writes many. Makes the folder.

    Raises:
        RecordError: the place cannot be written to.
    """
    write_page(path, _page(trajectory, title))


def render(template: str, *, uri: FigureUri = data_uri, **values: object) -> str:
    """Return a template of this package; text is escaped unless it is `Markup`."""
    return _environment().get_template(template).render(uri=uri, **values)


def asset(name: str) -> str:
    """Return a style sheet or a script of this package."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def write_page(path: Path, page: str) -> None:
    """Write a page so that it appears whole or not at all. Makes the folder.

    Raises:
        RecordError: the place cannot be written to.
    """
    # Half a surrogate pair is text in a record, and none in a file.
    write_text(path, page.encode("utf-8", "replace").decode("utf-8"))


def _page(trajectory: Trajectory, title: str) -> str:
    return render("single.html", title=title, t=view(trajectory))


def _shown(value: object) -> object:
    """A value of a template, its control characters shown: an override of direction reorders a page, too."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pixelreasoner.viewer"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["style"] = Markup(asset("style.css"))
    return environment
