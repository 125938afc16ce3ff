"""The page of a check for overlap: what two sets of tasks share, the pictures side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelreasoner.core.files import remove_left, writing
from pixelreasoner.core.media import Picture
from pixelreasoner.viewer.comparison_tables import overlap_lines
from pixelreasoner.viewer.html import render, write_page
from pixelreasoner.viewer.pictures import FILE_NAME, PictureFiles, figure

LONGEST = 300
"""Of a picture, in CSS pixels."""


@dataclass(frozen=True)
class Pair:
    """Two pictures that are copies, and what is asked about them."""

    a: Picture
    question_a: str
    b: Picture
    question_b: str


def write_overlap_page(path: Path, report: Mapping[str, Any], pairs: Iterable[Pair]) -> None:
    """Write `path` and the folder of pictures beside it.

    Args:
        path: the HTML file; its folder is made.
        report: what `pixelreasoner overlap --json` writes.
        pairs: of the first of the report's `pictures`, in their order, taken one at a time.

    Raises:
        RecordError: the place cannot be written to.
        MediaError: a picture is missing or damaged.
    """
    folder = path.with_name(f"{path.stem}_files")
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        remove_left(folder)
        with PictureFiles(folder) as pictures:
            shown = [
                (
                    match,
                    figure(
                        pair.a, longest=LONGEST, label="A", note=", ".join(match["a"]), alt=pair.question_a
                    ),
                    pair.question_a,
                    figure(
                        pair.b, longest=LONGEST, label="B", note=", ".join(match["b"]), alt=pair.question_b
                    ),
                    pair.question_b,
                )
                for match, pair in zip(report["pictures"], pairs, strict=False)
            ]
            page = render(
                "overlap.html", title=f"{report['b']['name']} in {report['a']['name']}", report=report,
                lines=overlap_lines(report), pairs=shown, folder=folder.name, uri=pictures.uri,
            )  # fmt: skip
        write_page(path, page)
        for file in folder.iterdir():
            if FILE_NAME.fullmatch(file.name) and file.name not in pictures.names:
                file.unlink()
