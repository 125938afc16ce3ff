"""FineWeb-VISA: questions about screenshots of web pages, each with the box of the passage that answers it.

| field | what it holds |
|---|---|
| `question`, `short_answer` | texts |
| `image` | `{bytes, path}`, or bytes: the screenshot of a page |
| `bounding_box` | [left, top, right, bottom] of the passage, in pixels |

The cue of a task is the passage. Rows are left out whose box is 10 px wide or high at most, or at most 10 px
from an edge of the page, as the authors of VISA do before they train. So are rows without a box.

Source: the trainer of VISA (Ma et al. 2024), which reads these four columns of
`MrLight/fineweb-visa-multi-na`, takes the box as pixels of the picture, and has the two filters; 60,000 rows
for training. Not verified: what "multi-na" in the name stands for, and how rows without an answer are marked.
It is large and not fetched by itself: give its folder, or that name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pixelreasoner.core.geometry import Box, Size
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.tasks.datasets.answers import plain_question, read_answers
from pixelreasoner.tasks.datasets.reader import DatasetReader, DatasetTasks, NormalRow, normal_row
from pixelreasoner.tasks.datasets.report import UnusableError

LEAST_PX = 10
"""A box is wider and higher than this, and further than this from every edge of its page."""


def read(row: Mapping[str, Any]) -> NormalRow:
    """What a row means."""
    question = plain_question(row.get("question"))
    box, image = _box(row.get("bounding_box")), row.get("image")
    if isinstance(image, Mapping) and (size := cast(Mapping[str, Any], image).get("size")) is not None:
        _check_edges(box, Size(*size))
    return normal_row(
        read_answers(row.get("short_answer"), question),
        question=question,
        kind="webpage",
        images=[image] if image else [],
        cue={"box": [box.x1, box.y1, box.x2, box.y2]},
    )


def on_its_page(task: Task, row: Mapping[str, Any]) -> Task:
    """The task, its box checked against the page itself, whose size is known now even if it is a file."""
    (page,) = task.media
    assert isinstance(page, Picture)
    _check_edges(_box(row.get("bounding_box")), page.size)
    return task


def _box(value: Any) -> Box:
    """The box of the passage.

    Raises:
        UnusableError: there is none, or it is too small.
    """
    sides = cast(Sequence[Any], value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if len(sides) != 4 or not all(isinstance(side, (int, float)) and math.isfinite(side) for side in sides):
        raise UnusableError("no box of the evidence", f"{value!r:.60}" if value else "")
    x1, y1, x2, y2 = map(float, sides)
    box = Box(x1, y1, x2, y2)
    if box.width <= 0 or box.height <= 0:
        raise UnusableError("no box of the evidence", f"{list(sides)}")
    if box.width <= LEAST_PX or box.height <= LEAST_PX:
        raise UnusableError(f"the box is at most {LEAST_PX} px wide or high", f"{list(sides)}")
    return box


def _check_edges(box: Box, page: Size) -> None:
    if 0 in page:
        raise UnusableError("the picture cannot be read")
    right, bottom = page.width - box.x2, page.height - box.y2
    if min(box.x1, box.y1, right, bottom) <= LEAST_PX:
        sides = [f"{side:g}" for side in (box.x1, box.y1, box.x2, box.y2)]
        raise UnusableError(
            f"the box is at most {LEAST_PX} px from an edge",
            f"[{', '.join(sides)}] on {page.width}x{page.height}",
        )


READER = DatasetReader(
    name="fineweb-visa",
    splits=("train",),
    files=(
        "data/{split}-*.parquet",
        "{split}-*.parquet",
        "*/{split}-*.parquet",
        "{split}.parquet",
        "{split}.jsonl",
        "{split}.json",
    ),
    columns=("question", "short_answer", "bounding_box", "image"),
    read=read,
    hub_files=("data/*.parquet", "*.parquet"),
    finish=on_its_page,
    measured="image",
)


def fineweb_visa(*, split: str, path: str = "") -> DatasetTasks:
    """The registered source "fineweb-visa"; all of one kind, "webpage".

    When a shard is first opened it is read whole, for the sizes of its pages.

    Args:
        split: "train".
        path: the data set's folder, a file of its rows, or its name on the hub.

    Raises:
        ConfigError, RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    return READER.open(split=split, path=path)
