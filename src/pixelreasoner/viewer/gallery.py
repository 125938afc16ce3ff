"""Pages of many trajectories: a list to search, filter and sort; one attempt, or two models' side by side.

::

    page.html               the first attempts, which are there without JavaScript
    page_files/
      gallery.js, gallery.css
      index.js              a row per task and per attempt: all that is filtered and sorted by
      attempts-0-12.js      the HTML of 50 attempts of the first model, read when one is looked at
      messages-0.js         the texts of its messages, read at the first search
      5f0c...-760x480.jpeg  pictures, each once per size

Data are scripts, because a page opened from a disk may read no other files. HTML comes from the templates
only, so that whatever a model wrote is escaped in one place.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.files import remove_left, write_text, writing
from pixelreasoner.core.media import pictures_of
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import SCORE_METRIC, Trajectory
from pixelreasoner.viewer.html import asset, render, write_page
from pixelreasoner.viewer.pictures import FILE_NAME, PictureFiles
from pixelreasoner.viewer.roles import template_of
from pixelreasoner.viewer.steps import TrajectoryView, asked, count, view

IN_CHUNK = 50
"""Attempts of a file."""
IN_PAGE = 20
"""Attempts that are in the page itself."""
FACTS = 5
"""Fields of a row of the index that come before its numbers."""
ASSETS = ("gallery.css", "gallery.js")
_OWN_NAME = re.compile(r"(attempts-\d+-\d+|messages-\d+|index)\.js")

TaskKey = tuple[str, str, tuple[str, ...], int]
"""Id, question, digests of the pictures, and which attempt at it: RL makes several at one task."""


@dataclass(frozen=True)
class Attempts:
    """The attempts of one model."""

    name: str
    trajectories: Iterable[Trajectory]
    """Taken one at a time; never all in memory."""


@dataclass(frozen=True)
class Frame:
    """What else is on the page, and in which order the tasks come."""

    template: str = "gallery.html"
    values: Mapping[str, object] = field(default_factory=dict[str, object])
    """Of the template, beside those of every gallery."""
    wrong_first: bool = False
    """Tasks come as recorded otherwise. Several models are then shown all side by side."""


def write_gallery(path: Path, models: Iterable[Attempts], *, title: str, frame: Frame | None = None) -> int:
    """Write `path` and the folder beside it, which takes its name; returns how many tasks are on the page.

    Attempts of several models at the same task are shown together. A page written there before is replaced.

    Args:
        path: the HTML file; its folder is made.
        models: the first two are shown side by side when the page opens.
        title: the page's heading.
        frame: the page around the list; the list alone when None.

    Raises:
        RecordError: there is nothing to show, two models have no task in common, or the place cannot be
            written to.
        MediaError: a picture is missing or damaged.
    """
    frame = frame or Frame()
    folder = path.with_name(f"{path.stem}_files")
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        remove_left(folder)
        with PictureFiles(folder) as pictures:
            writer = _Writer(folder, pictures, frame.wrong_first)
            for model in models:
                writer.add(model)
        if not writer.tasks:
            raise RecordError(f"{path}: there are no trajectories to show")
        names = writer.finish()
        page = render(
            frame.template, title=title, folder=folder.name, summary=writer.summary(),
            first=writer.first, uri=pictures.uri, **frame.values,
        )  # fmt: skip
        write_page(path, page)
        _remove_old(folder, names | pictures.names)
    return len(writer.tasks)


class _Writer:
    """Collects the index and writes the other files as attempts come."""

    def __init__(self, folder: Path, pictures: PictureFiles, wrong_first: bool) -> None:
        self.folder, self.pictures, self._wrong_first = folder, pictures, wrong_first
        self.tasks: dict[TaskKey, int] = {}
        """The row of each task."""
        self.first: list[TrajectoryView] = []
        self._task_rows: list[tuple[Any, ...]] = []
        self._models: list[dict[str, Any]] = []
        self._names: set[str] = set(ASSETS)

    def add(self, model: Attempts) -> None:
        """Write the attempts of one model.

        Raises:
            RecordError: it has no task in common with the models before.
        """
        place = len(self._models)
        seen: Counter[TaskKey] = Counter()
        known = len(self.tasks)
        numbers: list[Mapping[str, float]] = []
        rows: list[list[Any]] = []
        messages: list[str] = []
        chunk: list[str] = []
        for trajectory in model.trajectories:
            row = self._row(trajectory.task, seen)
            v = view(trajectory)
            if place == 0 and len(self.first) < IN_PAGE and not (self._wrong_first and v.correct):
                self.first.append(v)
            rows.append([row, *_facts(trajectory)])
            numbers.append(_numbers(trajectory))
            messages.append("\n".join(turn.text for turn in trajectory.turns))
            chunk.append(render("attempt.html", t=v, uri=self.pictures.uri))
            if len(chunk) == IN_CHUNK:
                self._write_chunk(place, len(rows) - len(chunk), chunk)
                chunk = []
        if chunk:
            self._write_chunk(place, len(rows) - len(chunk), chunk)
        if place and not any(row[0] < known for row in rows):
            raise RecordError(
                f"'{model.name}' and '{self._models[0]['name']}' have no task in common; "
                f"name evaluations on the same tasks"
            )
        names = list(dict.fromkeys(name for values in numbers for name in values))
        for row, values in zip(rows, numbers, strict=True):
            row.insert(FACTS, [_finite(values.get(name)) for name in names])
        self._models.append({"name": model.name, "numbers": names, "attempts": rows})
        self._write(f"messages-{place}.js", "messages", place, messages)

    def finish(self) -> set[str]:
        """Write the index, the script and the styles; returns the names of all files but the pictures."""
        index: dict[str, Any] = {"chunk": IN_CHUNK, "tasks": self._task_rows, "models": self._models}
        if self._wrong_first:
            index |= {"sort": "wrong|up", "all": True}
        self._write("index.js", "index", index)
        for name in ASSETS:
            write_text(self.folder / name, asset(name))
        return self._names

    def summary(self) -> str:
        """Return what the page holds, in a sentence per model."""
        lines = [count(len(self.tasks), "task")]
        for model in self._models:
            scores = [row[1] for row in model["attempts"] if row[1] is not None]
            right = f", {100 * sum(scores) / len(scores):.1f}\u00a0% right" if scores else ""
            lines.append(f"{model['name']}: {count(len(model['attempts']), 'attempt')}{right}")
        return " · ".join(lines)

    def _row(self, task: Task, seen: Counter[TaskKey]) -> int:
        """Return the row of a task, made where it is new."""
        digests = tuple(picture.digest for picture in pictures_of(task.media))
        seen[first := (task.id, task.question, digests, 0)] += 1
        key = (*first[:3], seen[first])
        if key not in self.tasks:
            self.tasks[key] = len(self.tasks)
            need = None if task.needs_operation is None else int(task.needs_operation)
            self._task_rows.append((task.id, asked(task), task.kind, need, " or ".join(task.answers)))
        return self.tasks[key]

    def _write_chunk(self, place: int, start: int, chunk: list[str]) -> None:
        number = start // IN_CHUNK
        self._write(f"attempts-{place}-{number}.js", "attempts", place, number, chunk)

    def _write(self, name: str, function: str, *arguments: object) -> None:
        """Write a data file: a call of a function of gallery.js."""
        self._names.add(name)
        write_text(
            self.folder / name, f"pixelreasoner.{function}({', '.join(map(script_json, arguments))});\n"
        )


def script_json(value: object) -> str:
    """Return JSON that is safe in a script wherever it stands: ASCII, no `<`, `>` or `&`."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _facts(trajectory: Trajectory) -> Iterator[Any]:
    """Yield score, stop reason, operations by name, answer, template, reason of rejection.

    The list shows them, and filters by them.
    """
    yield _finite(trajectory.metrics.get(SCORE_METRIC))
    yield str(trajectory.stop)
    calls = [t.call.name for t in trajectory.turns if t.call is not None and t.observation is not None]
    yield sorted(set(calls))
    yield trajectory.answer
    yield template_of(trajectory)
    # The detail is special to one: what is filtered by is the stage and the reason.
    yield trajectory.rejection.partition(" (")[0]


def _numbers(trajectory: Trajectory) -> dict[str, float]:
    """Return what attempts are sorted by."""
    return {
        "operations": trajectory.n_operations,
        "failed calls": trajectory.n_invalid_operations,
        "turns": len(trajectory.turns),
        "tokens": trajectory.n_sampled_tokens,
        **{name.replace("_", " "): value for name, value in trajectory.metrics.items()},
    }


def _finite(value: float | None) -> float | None:
    """Return the value for JSON, which knows no NaN."""
    return value if value is not None and abs(value) < float("inf") else None


def _remove_old(folder: Path, names: set[str]) -> None:
    """Remove what an earlier page left in the folder; files of others stay."""
    for file in folder.iterdir():
        own = _OWN_NAME.fullmatch(file.name) or FILE_NAME.fullmatch(file.name)
        if own and file.name not in names:
            file.unlink()
