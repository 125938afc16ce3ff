"""Where the records of a benchmark go: to a file while it measures, and to the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

Out = Annotated[Path | None, tyro.conf.arg(metavar="FILE.jsonl")]


def finish(records: Iterator[dict[str, Any]], out: Path | None, what: str, **options: object) -> None:
    """Write what is measured while it is, then show all of it."""
    from rich.console import Console

    from benchmarks import report

    kept: list[dict[str, Any]] = []
    with Console(stderr=True).status("measuring") as status:
        for record in records:
            if record["kind"] == "machine":
                record["command"] = _command(what, options)
            kept.append(record)
            status.update(f"{len(kept)} measurements")
            if out is not None:
                # After each, so that an interruption loses nothing.
                report.write(out, kept)
    report.show(Console(), kept)


def write_lines(records: Iterator[dict[str, Any]], out: Path | None) -> None:
    """Print records as they come, a JSON object per line, and keep them in a file."""
    import json

    lines: list[str] = []
    for record in records:
        lines.append(f"{json.dumps(record)}\n")
        sys.stdout.write(lines[-1])
        sys.stdout.flush()
    if out is not None:
        out.write_text("".join(lines), encoding="utf-8")


def _command(what: str, options: Mapping[str, object]) -> str:
    """How the command is given; options that are off are left out."""
    chosen = (f"--{k}" if v is True else f"--{k} {v}" for k, v in options.items() if v not in (False, None))
    return " ".join(["python -m benchmarks", what, *chosen])
