"""What a synthesis run came to: `summary.json`, and what is said at its end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.slots import Slot

MOST_REASONS = 12
"""Reasons that are shown at the end; `summary.json` has all."""


@dataclass(frozen=True)
class Summary:
    """The counts of a run."""

    wanted: int
    """Slots."""
    made: int
    """Trajectories."""
    unfilled: int
    """Slots whose tasks were all rejected."""
    by_template: Mapping[str, int]
    """Trajectories of each template, of each source of seeds, of each kind of task."""
    by_source: Mapping[str, int]
    by_kind: Mapping[str, int]
    unfilled_by_template: Mapping[str, int]
    rejections: Mapping[str, int]
    """Tasks that were turned down, by "stage.reason", the most frequent first."""
    spending: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    """What the servers were asked, by purpose."""
    prompts_version: str = ""
    """Of the prompts; empty where no server was asked."""

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def summarise(
    slots: Iterable[Slot], filled: Iterable[bool], sources: Mapping[int, str], rejections: Path
) -> Summary:
    """The counts of a run.

    Args:
        slots: all of them.
        filled: for each, whether it has a trajectory.
        sources: the name of each set of seeds, by its number.
        rejections: the file of all that were rejected.
    """
    templates, names, kinds, empty = (Counter[str]() for _ in range(4))
    for slot, has_one in zip(slots, filled, strict=True):
        if not has_one:
            empty[slot.template.value] += 1
            continue
        templates[slot.template.value] += 1
        names[sources[slot.source]] += 1
        kinds[slot.kind] += 1
    reasons = Counter(f"{row['stage']}.{row['reason']}" for row in _rows(rejections))
    return Summary(
        wanted=templates.total() + empty.total(),
        made=templates.total(),
        unfilled=empty.total(),
        by_template={t.value: templates[t.value] for t in Template if templates[t.value]},
        by_source=dict(names.most_common()),
        by_kind=dict(kinds.most_common()),
        unfilled_by_template=dict(empty),
        rejections=dict(reasons.most_common()),
    )


def shown(summary: Summary) -> Group:
    """The counts as tables."""
    counts = Table("template", "trajectories", "share")
    for template, count in summary.by_template.items():
        counts.add_row(template, str(count), f"{count / summary.made:.1%}")
    tables = [counts]
    if summary.rejections:
        reasons = Table("rejected: stage", "reason", "tasks")
        for name, count in list(summary.rejections.items())[:MOST_REASONS]:
            stage, _, reason = name.partition(".")
            reasons.add_row(stage, reason, str(count))
        tables.append(reasons)
    if summary.spending:
        tables.append(_spending(summary))
    return Group(*tables)


def unfilled_sentence(summary: Summary) -> str:
    """What is missing, and what helps; empty where nothing is."""
    if not summary.unfilled:
        return ""
    where = ", ".join(f"{count} of {name}" for name, count in summary.unfilled_by_template.items())
    return (
        f"{summary.made} of {summary.wanted} trajectories were made; for {summary.unfilled} ({where}) every "
        f"task that may be tried was rejected. Give more seeds, raise tries, or lower n, in a new folder"
    )


def _spending(summary: Summary) -> Table:
    table = Table("asked for", "requests", "prompt tokens", "completion tokens", "USD")
    for purpose, spent in summary.spending.items():
        table.add_row(
            purpose,
            f"{spent['requests']:,.0f}",
            f"{spent['prompt_tokens']:,.0f}",
            f"{spent['completion_tokens']:,.0f}",
            f"{spent['usd']:.2f}",
        )
    return table


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        yield from (json.loads(line) for line in file)
