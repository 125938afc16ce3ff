"""`pixelreasoner overlap`: whether training tasks and a benchmark share pictures, names or questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pixelreasoner.cli.options import option

if TYPE_CHECKING:
    from rich.console import Console

    from pixelreasoner.core.task import Task
    from pixelreasoner.evals.catalogue import Catalogue
    from pixelreasoner.evals.overlap import Overlap
    from pixelreasoner.evals.overlap_sources import Side
    from pixelreasoner.viewer.overlap_page import Pair

PRINTED = 10
PICTURE_BYTES = 2**27
"""Decoded pictures kept meanwhile: none is looked at twice."""
ON_PAGE = 200
"""Pairs of pictures on the page; the JSON has all."""
WORDS = {
    "exact": "show a picture of A, pixel for pixel",
    "near": "show a copy of a picture of A (scaled, compressed again, cut at its sides)",
    "name": "share an id or the name of a file with A (of five characters or more, and no plain number)",
    "question": "ask a question that A asks, too (alone no overlap)",
}


def overlap(
    a: Annotated[tyro.conf.Positional[str], option("A")],
    b: Annotated[tyro.conf.Positional[str], option("B")],
    *,
    a_split: Annotated[str | None, option("NAME")] = None,
    b_split: Annotated[str | None, option("NAME")] = None,
    a_path: Annotated[str | None, option("DIR|NAME")] = None,
    b_path: Annotated[str | None, option("DIR|NAME")] = None,
    limit: Annotated[int | None, option("N")] = None,
    out: Annotated[Path | None, option("FILE", name="json")] = None,
    html: Annotated[Path | None, option("FILE")] = None,
    strict: Annotated[bool, option()] = False,
) -> None:
    """Look for tasks of B, a benchmark, in A, what is trained on.

    Compared are ids and names of files, pictures pixel for pixel, copies of pictures by a perceptual hash,
    and questions. Videos are compared by the frames that are taken from them. Exit code 0 whatever is found;
    with --strict, 1 when a picture or a name is shared.

    Args:
        a: A task file, the folder of a data set, a registered source, a recipe (its tasks or benchmark), a
            registered benchmark, trajectories, the folder of a run, or a folder of images.
        b: As A.
        a_split: Only this split of A.
        b_split: Only this split of B.
        a_path: Where a registered data set or benchmark A lies.
        b_path: The same for B.
        limit: Look at so many tasks of each part, from the start; 1,000 of one that never ends.
        out: Write all that was found to a JSON file. As overlap.json in the folder of an evaluation it is
            shown by `compare`.
        html: Write a page with the pictures found, side by side.
        strict: Exit code 1 when a task of B overlaps.
    """
    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.core.files import check_outputs, write_text
    from pixelreasoner.core.media import DECODED
    from pixelreasoner.core.progress_line import ProgressLine
    from pixelreasoner.core.terminal import TerminalConsole
    from pixelreasoner.evals.catalogue import Catalogue
    from pixelreasoner.evals.overlap import find_overlap, overlap_json
    from pixelreasoner.evals.overlap_sources import open_side
    from pixelreasoner.viewer.overlap_page import write_overlap_page

    check_outputs({"--json": out, "--html": html})
    DECODED.resize(PICTURE_BYTES)
    sides = (
        open_side(a, split=a_split, path=a_path, limit=limit),
        open_side(b, split=b_split, path=b_path, limit=limit),
    )
    with Catalogue() as first, Catalogue() as second:
        first.add_all(_tracked(sides[0], "A"))
        second.add_all(_tracked(sides[1], "B"))
        with ProgressLine("copies", total=0) as line:

            def watch(done: int, total: int) -> None:
                line.total = total
                line.update(done)

            found = find_overlap(first, second, watch=watch)
        report = overlap_json(first, second, found, (a, b))
        _print(TerminalConsole(), report, sides)
        if out is not None:
            write_text(out, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        if html is not None:
            write_overlap_page(html, report, _pairs((first, second), found, sides))
    say_done({what: path for what, path in {"Page": html, "Found": out}.items() if path is not None})
    if strict and report["found"]["any"]:
        raise SystemExit(1)


def _tracked(side: Side, label: str) -> Iterator[tuple[Task, frozenset[str]]]:
    from pixelreasoner.core.progress_line import tracked

    return tracked(side.tasks(), label, total=side.size)


def _pairs(
    catalogues: tuple[Catalogue, Catalogue], found: Overlap, sides: tuple[Side, Side]
) -> Iterator[Pair]:
    """Yield the pictures of the first matches, read again."""
    from pixelreasoner.core.media import Picture, pictures_of, pixel_digest
    from pixelreasoner.viewer.overlap_page import Pair

    digests = [{place: digest for digest, place in c.places.items()} for c in catalogues]

    def shown(at: int, place: int) -> tuple[Picture, str]:
        task = sides[at].task(catalogues[at].owners[place][0])
        wanted = digests[at][place]
        pictures = (p for p in pictures_of(task.media) if pixel_digest(p.pixels) == wanted)
        return next(pictures), task.question

    for match in found.pictures[:ON_PAGE]:
        (picture_a, question_a), (picture_b, question_b) = shown(0, match.a), shown(1, match.b)
        yield Pair(picture_a, question_a, picture_b, question_b)


def _print(console: Console, report: dict[str, Any], sides: tuple[Side, Side]) -> None:
    from rich.text import Text

    from pixelreasoner.core.terminal import visible_line

    def say(text: str, style: str = "") -> None:
        console.print(Text(visible_line(text), style=style), highlight=False, soft_wrap=True)

    for letter, key, side in (("A", "a", sides[0]), ("B", "b", sides[1])):
        held = report[key]
        first = ", the first ones of a source that never ends" if side.endless else ""
        say(f"{letter}: {held['name']}: {held['tasks']:,} tasks{first}; {held['pictures']:,} pictures")
        if held["flat"]:
            say(f"   {held['flat']:,} of them are nearly flat, and were compared pixel for pixel only")
    n, counts = report["b"]["tasks"], report["found"]
    say(
        f"{counts['any']:,} of {n:,} tasks of B overlap with A", "bold red" if counts["any"] else "bold green"
    )
    for key, words in WORDS.items():
        say(f"   {counts[key]:,} {words}")
    for match in report["pictures"][:PRINTED]:
        near = (
            "" if match["match"] == "exact" else f" ({match['bits']} bits, {match['difference']:.0f} of 255)"
        )
        say(f"   {match['match']}{near}: {match['a'][0]} = {match['b'][0]}")
    for named in report["names"][:PRINTED]:
        say(f"   name {named['name']}: {named['a']} = {named['b']}")
