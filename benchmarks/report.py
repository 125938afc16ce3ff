"""Measurements as JSON lines, as tables for a terminal or a document, and as a picture.

A record is a flat object; its `kind` is "machine", "train", "memory", "rollout", "step", "gpu", "host",
"growth", "eval", "synth" or "note".
The record of the machine comes first in a file, and names the command that measured the others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.columns import COLUMNS, MEMORY, METHOD_NAMES, TITLES, WHO, Column, Record
from pixelreasoner.core.errors import MissingExtraError, RecordError

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
"""What is between them in a document is written by `fill`."""
BAR = r"\|"
"""A plain bar would end the cell of a table that it stands in."""


def write(path: Path, records: Iterable[Record]) -> None:
    """One JSON object per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def read(path: Path) -> list[Record]:
    """Raises RecordError when the file cannot be read."""
    try:
        records = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as e:
        raise RecordError(f"{path} is not a file of measurements: {e}") from e
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict) or "kind" not in record:
            raise RecordError(f"{path} is not a file of measurements: record {number} has no kind")
    return records


def tables(records: Sequence[Record]) -> list[tuple[str, list[str], list[list[str]]]]:
    """(title, header, rows) for each kind of record that there is."""
    merged = with_memory(records)
    found = [
        (title, COLUMNS[kind], [r for r in merged if r["kind"] == kind]) for kind, title in TITLES.items()
    ]
    found.append(("Memory over the size of a group", MEMORY, group_sizes(records)))
    profiled = [r for r in merged if r.get("profile")]
    if profiled:
        parts: list[Column] = [(name, _share(name)) for name in profiled[0]["profile"]]
        found.append(("Where the time goes", [*WHO, *parts], profiled))
    return [
        (title, [name for name, _ in columns], [[text(record) for _, text in columns] for record in chosen])
        for title, columns, chosen in found
        if chosen
    ]


def with_memory(records: Sequence[Record]) -> list[Record]:
    """The records, those of training with the memory that was measured for the same thing."""
    peaks = {_key(r): r["peak_bytes"] for r in records if r["kind"] == "memory"}
    return [
        r | {"peak_bytes": peaks[_key(r)]} if r["kind"] == "train" and _key(r) in peaks else r
        for r in records
    ]


def group_sizes(records: Sequence[Record]) -> list[Record]:
    """The records of memory of one model and one length: of those that were measured with the most sizes."""
    found: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        if record["kind"] == "memory":
            key = record["model"], record["prompt"], record["completion"], record["crops"]
            found.setdefault(key, []).append(record)
    best = max(found.values(), key=lambda same: len({r["group"] for r in same}), default=[])
    if len({r["group"] for r in best}) < 2:
        return []
    order = list(dict.fromkeys(r["method"] for r in best))
    return sorted(best, key=lambda r: (order.index(r["method"]), r["group"]))


def markdown(records: Sequence[Record]) -> str:
    """The tables as a document has them, the machine and the command before."""
    parts = [line for r in records if r["kind"] == "machine" for line in (*about(r), "")]
    parts += [f"- {r['text']}" for r in records if r["kind"] == "note"]
    for title, header, rows in tables(records):
        parts += ["", f"**{title}**", "", _line(header), _line(["---"] * len(header)), *map(_line, rows)]
    return "\n".join(parts).strip() + "\n"


def fill(document: Path, runs: Sequence[Sequence[Record]], plot: Path | None = None) -> None:
    """Write the tables of each run, and the picture, between the two marks of a document.

    Raises:
        RecordError: the document cannot be read, or has no marks.
    """
    try:
        before, mark, rest = document.read_text().partition(BEGIN)
    except OSError as e:
        raise RecordError(f"{document} cannot be read: {e}") from e
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise RecordError(f"{document} has no place for tables; put the lines {BEGIN} and {END} into it")
    parts = [markdown(run) for run in runs]
    if plot is not None:
        where = os.path.relpath(plot, document.parent)
        parts.append(f"![Peak memory of a step over the number of attempts in a group]({where})\n")
    document.write_text("\n".join([before + BEGIN, "", *parts]) + "\n" + END + after)


def show(console: Console, records: Sequence[Record]) -> None:
    """The tables on a terminal."""
    for record in records:
        if record["kind"] == "machine":
            for line in about(record):
                console.print(line, soft_wrap=True, markup=False)
            for name in record["left_out"]:
                name = METHOD_NAMES.get(name, name)
                console.print(f"Left out: {name}; it is not installed (extra `bench`).", style="yellow")
        elif record["kind"] == "note":
            console.print(record["text"], style="yellow")
    for title, header, rows in tables(records):
        for table in turned(title, header, rows):
            console.print()
            console.print(table)


def turned(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Table]:
    """A table as a terminal has room for it: a row for each fact, a column for each method.

    What the methods were compared on is the title of a table of its own: the columns before the method, and
    of those after it as many as tell the rows of one method apart, such as the size of a group. A table
    without methods has a column for each of its rows, named by the first cell.
    """
    at = header.index("method") if "method" in header else 0
    facts = [i for i in range(len(header)) if i > at]
    case = list(range(at))
    while facts and len({tuple(row[i] for i in (*case, at)) for row in rows}) < len(rows):
        case.append(facts.pop(0))
    compared: dict[tuple[str, ...], list[Sequence[str]]] = {}
    for row in rows:
        compared.setdefault(tuple(row[i] for i in case), []).append(row)
    found: list[Table] = []
    for values, same in compared.items():
        words = [f"{header[i]} {value}" for i, value in zip(case, values, strict=True)]
        table = Table(title=", ".join([title, *words]), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("", max_width=22)
        for row in same:
            table.add_column(row[at], justify="right", overflow="fold")
        for i in facts:
            table.add_row(header[i], *(row[i] for row in same))
        found.append(table)
    return found


def about(machine: Record) -> tuple[str, str]:
    """What was run, and on what."""
    versions = ", ".join(
        f"{name} {machine[name]}" for name in ("torch", "transformers", "trl") if machine.get(name)
    )
    return (
        f"`{machine['command']}`" if "command" in machine else "",
        f"{machine['date']}: {machine['device']}, {machine['threads']} threads, {versions}; "
        f"load before the start {machine['load']:.1f}.",
    )


def plot_memory(records: Sequence[Record], path: Path) -> None:
    """Peak memory over the size of a group, a line for each method; the ending of the name is the format.

    Raises:
        MissingExtraError: matplotlib is not installed.
        RecordError: memory was measured for fewer than two sizes of any group.
    """
    chosen = group_sizes(records)
    if not chosen:
        raise RecordError(
            "these measurements hold no memory over group sizes; run `python -m benchmarks train`"
        )
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingExtraError("matplotlib", "bench", "drawing memory over group size") from e

    figure = Figure(figsize=(5.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for method in dict.fromkeys(r["method"] for r in chosen):
        points = [(r["group"], r["peak_bytes"] / 2**20) for r in chosen if r["method"] == method]
        axes.plot(*zip(*points, strict=True), marker="o", label=METHOD_NAMES.get(method, method))
    axes.set_xlabel("attempts in a group")
    axes.set_ylabel("peak memory of a forward and backward pass [MiB]")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.2)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _key(record: Record) -> tuple[Any, ...]:
    return record["model"], record["method"], record["case"]


def _share(name: str) -> Any:
    return lambda r: format(r["profile"].get(name, 0.0), ".0%")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"
