"""What a task and its media are called where they come from: what data sets share that share pictures.

A name is the id of a task, or of an image or a video: the file's name without folder and suffix, in lower
case (`sa_223750`, `v_1lpsuq8qvjq`). Names that tell nothing, such as `image_1` or `12`, are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast

from pixelreasoner.core.image_files import EncodedImage
from pixelreasoner.core.media import pictures_of
from pixelreasoner.core.task import Task

LONGEST = 300
"""Characters of a name; longer texts are contents."""
_FILE = re.compile(
    r"[^\n]+\.(jpe?g|png|webp|gif|bmp|tiff?|heic|avif|mp4|mkv|webm|avi|mov|mpe?g)", re.IGNORECASE
)
_ID_FIELD = re.compile(r"(.*_)?(id|qid|vid|uid|image|video)", re.IGNORECASE)
_PLAIN = re.compile(
    r"[0-9]{1,6}|[0-9a-f]{32}|([a-z]?|image|images|img|frame|frames|video|clip|photo|picture|pic|page|figure|fig|"
    r"q|question|task|sample|example|item|row|test|train|val|data)[ _-]*[0-9]{0,6}"
)
"""Numbers of few digits, words for any picture with a number, digests."""


def telling(text: str) -> str | None:
    """The name in a text: a path, a file's name or an id; None where it tells nothing."""
    name = PurePosixPath(text.strip().replace("\\", "/")).name.lower()
    if _FILE.fullmatch(name):
        name = name.rpartition(".")[0]
    return None if len(name) < 5 or _PLAIN.fullmatch(name) else name


def names_in(row: object, field: str = "") -> Iterator[str]:
    """The names in the values of a row, of whatever schema: files, and fields for ids."""
    if isinstance(row, Mapping):
        for key, value in cast(Mapping[str, Any], row).items():
            yield from names_in(value, str(key))
    elif isinstance(row, list | tuple):
        for value in cast(list[Any], row):
            yield from names_in(value, field)
    elif isinstance(row, str | int) and not isinstance(row, bool):
        text = str(row)
        if len(text) <= LONGEST and (_FILE.fullmatch(text) or _ID_FIELD.fullmatch(field)):
            name = telling(text)
            if name is not None:
                yield name


def names_of(task: Task) -> Iterator[str]:
    """The names of a task's id and of the files of its pictures, where its row is not at hand."""
    if (name := telling(task.id)) is not None:
        yield name
    for picture in pictures_of(task.media):
        if isinstance(picture.source, EncodedImage) and isinstance(picture.source.file, Path):
            name = telling(picture.source.file.name)
            if name is not None:
                yield name
