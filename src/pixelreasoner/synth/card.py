"""The data set card: what a synthesised set holds, what it cost, what was turned down, whose pictures it has.

Everything in it was counted: in the records as they were written, and in the summary of the run. What a run
has no figures for (the offline teacher asks nobody) is left out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pixelreasoner import __version__
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.inspection import inspected_regions
from pixelreasoner.core.media import Video
from pixelreasoner.core.terminal import visible
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.synth.licences import licence_of
from pixelreasoner.synth.mix import Template

_PIXELS = re.compile(r"pixel of (.+) in steps of (\d+)")
_BUDGET = re.compile(r"(\d+)\.\.(\d+)")
REASONS = 40
"""Reasons of rejection that are listed; the rest is one line."""


@dataclass
class Contents:
    """What the trajectories of a set are, counted as they pass: memory does not grow with their number."""

    n: int = 0
    templates: Counter[str] = field(default_factory=Counter[str])
    kinds: Counter[str] = field(default_factory=Counter[str])
    operations: Counter[int] = field(default_factory=Counter[int])
    """Trajectories by their number of operations."""
    words: Counter[int] = field(default_factory=Counter[int])
    """Trajectories by the words of the model's messages, calls included."""
    coordinates: Counter[str] = field(default_factory=Counter[str])
    masked: int = 0
    """Messages of which something is not learned."""
    videos: int = 0
    """Trajectories about a video."""
    shown: int = 0
    """Crops and selected frames."""
    covered: int = 0
    """Trajectories whose last operation shows all of the cue."""
    with_cue: int = 0
    """Those that have an operation and a cue."""

    def add(self, trajectory: Trajectory) -> None:
        """Count one."""
        self.n += 1
        self.templates[trajectory.source] += 1
        self.kinds[trajectory.task.kind] += 1
        self.operations[trajectory.n_operations] += 1
        self.words[sum(len(turn.text.split()) for turn in trajectory.turns)] += 1
        self.coordinates[trajectory.coordinates] += 1
        self.masked += sum(turn.masked is not None for turn in trajectory.turns)
        self.videos += any(isinstance(item, Video) for item in trajectory.task.media)
        self.shown += sum(len(seen.images) for seen in trajectory.read_observations if seen is not None)
        region = next((r for r in reversed(inspected_regions(trajectory)) if r is not None), None)
        if region is not None and trajectory.task.cue is not None:
            self.with_cue += 1
            self.covered += region.coverage_of(trajectory.task.cue) >= 1


class Form(NamedTuple):
    """How one format of export is described."""

    loading: str
    header: tuple[str, ...] = ()
    """Lines of the YAML header."""


FORMS: Mapping[str, Form] = {
    "parquet": Form(
        """```python
from datasets import load_dataset

data = load_dataset("path/to/{name}", split="train")  # this folder, or its name on the hub
data[0]["messages"], data[0]["images"]  # the conversation, and its pictures as PIL images
```

`messages` is the conversation, each part of type "image" standing for the next of `images`; the frames of a
video are in `frames`, at `times_s` seconds. What is not to be learned stands in `masked`: for each message of
the assistant the characters `[start, end)` of its text, an empty list for nothing.
`pixelreasoner.synth.exports.parquet.read_parquet` reads the records of the package back, unchanged.""",
        ("configs:", "- config_name: default", "  data_files:", "  - split: train", "    path: data/train-*"),
    ),
    "pixelreasoner-sft": Form(
        """The rows of `release.json` have the form of TIGER-Lab/PixelReasoner-SFT-Data: `qid` and
`message_list`. Boxes are pixels of the files in `images/`. `masked` (for each message of the assistant the
characters that are not to be learned, or null), `template` and `times_s` are additions.

```bash
pixelreasoner convert path/to/{name} --recipe RECIPE  # of `sft`: its model, its pixel budgets, its `data`
```""",
        ("configs:", "- config_name: default", "  data_files:", "  - split: train", "    path: release.json"),
    ),
    "sharegpt": Form(
        """The conversations of `train.jsonl` have the form of ShareGPT; `dataset_info.json` describes them to
LLaMA-Factory:

```bash
llamafactory-cli train ... --dataset_dir path/to/{name} --dataset pixelreasoner
```

LLaMA-Factory learns every message of the assistant: also the {masked} wrong operations that the paper keeps
out of the loss. Where they stand is in `masked`, which it passes over.""",
        ("configs:", "- config_name: default", "  data_files:", "  - split: train", "    path: train.jsonl"),
    ),
}


def card(contents: Contents, facts: Mapping[str, Any], *, form: str, name: str) -> str:
    """The card as Markdown with a YAML header for the hub.

    Args:
        contents: of the set.
        facts: the summary of the run, as far as it has one: `made`, `wanted`, `by_template`, `by_source`,
            `rejections` ({"stage.reason": n}), `spending` ({purpose: {requests, prompt_tokens,
            completion_tokens, usd, estimated}}), `prompts_version`, `unfilled`; and of its recipe `sources`,
            `models` ({what for: name}), `checkpoint` and `seed`. All may be missing.
        form: a name of `FORMS`.
        name: of the folder.
    """
    sections = (
        _introduction(contents, facts, name),
        _section("How to load it", FORMS[form].loading.format(name=name, masked=contents.masked)),
        _section("What it holds", _holdings(contents, facts)),
        _section("What it cost", _spending(facts.get("spending"), contents.n)),
        _section("What was turned down", _rejections(facts.get("rejections"), contents.n)),
        _section("Licences", _licences(_source_names(facts))),
    )
    return "\n\n".join((_header(contents, form, name), *filter(None, sections))) + "\n"


def _header(contents: Contents, form: str, name: str) -> str:
    tasks = ["image-text-to-text", "visual-question-answering"]
    if contents.videos:
        tasks.append("video-text-to-text")
    lines = (
        "---",
        f"pretty_name: {json.dumps(name)}",
        "license: other",
        "license_name: licences-of-the-seeds",
        "language:",
        "- en",
        "task_categories:",
        *(f"- {task}" for task in tasks),
        "size_categories:",
        f"- {size_category(contents.n)}",
        "tags:",
        "- pixel-reasoner",
        "- tool-use",
        "- synthetic",
        *FORMS[form].header,
        "---",
    )
    return "\n".join(lines)


def size_category(n: int) -> str:
    """The hub's name for a number of rows: `1K<n<10K`."""
    steps = ((10**3, "1K"), (10**4, "10K"), (10**5, "100K"), (10**6, "1M"), (10**7, "10M"), (10**8, "100M"))
    below = "n"
    for limit, text in steps:
        if n < limit:
            return f"n<{text}" if below == "n" else f"{below}<n<{text}"
        below = text
    return "n>100M"


def _introduction(contents: Contents, facts: Mapping[str, Any], name: str) -> str:
    made = f"{contents.n:,} trajectories"
    wanted = facts.get("wanted")
    if isinstance(wanted, int) and wanted > contents.n:
        made += f" of {wanted:,} wanted: the run was exported before its end, or had too few tasks"
    details = [f"pixelreasoner {__version__}"]
    details += [f"checkpoint `{facts['checkpoint']}`"] if facts.get("checkpoint") else []
    details += [f"prompts version {facts['prompts_version']}"] if facts.get("prompts_version") else []
    details += [f"seed {facts['seed']}"] if facts.get("seed") is not None else []
    return (
        f"# {_plain(name)}\n\n"
        f"{made}: a question about an image or a video, visual operations that were carried out, "
        f"and the answer, after the templates of Pixel Reasoner (arXiv 2505.15966).\n\n"
        f"Made with {', '.join(details)}.{_models(facts.get('models'))}"
    )


def _models(models: Any) -> str:
    """Which models were asked, and for what."""
    named = models.items() if isinstance(models, Mapping) else ()
    asked = ", ".join(f"{role} `{name}`" for role, name in named)
    return f" Asked were: {asked}." if asked else ""


def _holdings(contents: Contents, facts: Mapping[str, Any]) -> str:
    order = [str(template) for template in Template]
    names = sorted(contents.templates, key=lambda t: order.index(t) if t in order else len(order))
    tables = [_counts("template", {t: contents.templates[t] for t in names}, contents.n)]
    if by_source := _numbers(facts.get("by_source")):
        tables.append(_counts("seed set", by_source, contents.n))
    tables.append(_counts("kind of task", dict(contents.kinds.most_common()), contents.n))
    tables.append(_counts("operations", dict(sorted(contents.operations.items())), contents.n))
    n = max(1, contents.n)
    mean = sum(words * count for words, count in contents.words.items()) / n
    lines = [
        f"- about a video: {contents.videos:,}; crops and selected frames: {contents.shown:,}",
        f"- words of the assistant in a trajectory: {mean:.0f} on average, "
        f"median {_quantile(contents.words, 0.5)}, 95th percentile {_quantile(contents.words, 0.95)}",
        f"- messages with a wrong operation, which is not to be learned: {contents.masked:,}",
        f"- last operation shows all of the evidence: {contents.covered:,} of {contents.with_cue:,}",
        f"- coordinates of boxes: {', '.join(map(_unit, filter(None, contents.coordinates))) or 'not said'}",
    ]
    if unfilled := facts.get("unfilled"):
        lines.append(
            f"- wanted and not found: {unfilled if isinstance(unfilled, int) else json.dumps(unfilled)}"
        )
    return "\n\n".join((*tables, "\n".join(lines)))


def _unit(coordinates: str) -> str:
    """What the numbers of boxes mean, in words; `coordinates` is that of `VisionSpec`."""
    if match := _PIXELS.fullmatch(coordinates):
        budgets = " and ".join(f"{int(low):,} to {int(high):,}" for low, high in _BUDGET.findall(match[1]))
        shown = f"with {budgets} pixels, sides multiples of {match[2]}"
        return f"pixels of a picture as the model is shown it: {shown}"
    return "relative, 0 to 1,000" if coordinates == Unit.RELATIVE.value else coordinates


def _spending(spending: Any, kept: int) -> str:
    """A line per purpose, and what one kept trajectory took; how many requests have estimated tokens."""
    rows: list[tuple[str, ...]] = []
    totals = [0.0] * 5
    for purpose, values in spending.items() if isinstance(spending, Mapping) else ():
        numbers = [float(values.get(name) or 0) for name in _SPENT]
        totals = [a + b for a, b in zip(totals, numbers, strict=True)]
        rows.append((str(purpose), *_spent(numbers)))
    if not rows:
        return ""
    rows.append(("all", *_spent(totals)))
    if kept:
        each = [value / kept for value in totals]
        rows.append(
            ("per kept trajectory", *(f"{v:,.1f}" for v in each[:3]), f"{each[3]:.5f}", f"{each[4]:.1f}")
        )
    head = ("", "requests", "prompt tokens", "completion tokens", "US dollars", "tokens estimated")
    return _table(head, rows)


_SPENT = ("requests", "prompt_tokens", "completion_tokens", "usd", "estimated")


def _spent(numbers: Sequence[float]) -> tuple[str, ...]:
    return (*(f"{v:,.0f}" for v in numbers[:3]), f"{numbers[3]:.2f}", f"{numbers[4]:,.0f}")


def _rejections(rejections: Any, kept: int) -> str:
    """A line per reason, the most frequent first."""
    counts = Counter(_numbers(rejections))
    if not counts:
        return ""
    rows = [(*reason.partition(".")[::2], f"{n:,}") for reason, n in counts.most_common(REASONS)]
    if (rest := counts.total() - sum(n for _, n in counts.most_common(REASONS))) > 0:
        rows.append(("", "other reasons", f"{rest:,}"))
    share = kept / (kept + counts.total())
    text = f"{counts.total():,} tries; {share:.1%} of all tries gave a trajectory."
    return f"{text}\n\n{_table(('stage', 'reason', 'tries'), rows)}"


def _source_names(facts: Mapping[str, Any]) -> list[str]:
    return list(_numbers(facts.get("by_source"))) or list(facts.get("sources") or ())


def _licences(sources: Sequence[str]) -> str:
    lines = [f"- **{_plain(source)}**: {licence_of(source)}" for source in sources]
    note = (
        "Pictures, questions and answers are those of the seed sets, and stay under their licences. "
        "The terms of the model that wrote the texts hold for the texts."
    )
    return "\n".join((note, "", *lines)) if lines else note


def _counts(what: str, counts: Mapping[Any, int], total: int) -> str:
    rows = [(str(key), f"{n:,}", f"{n / max(1, total):.1%}") for key, n in counts.items()]
    return _table((what, "trajectories", "share"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column, and those of words, are on the left."""
    lines: list[Sequence[str]] = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


_MARKUP = re.compile(r"([\\`*\[\]<>|#])")


def _cell(text: str) -> str:
    return _plain(text)


def _plain(text: str) -> str:
    """A name of somebody else's as it stands: in one line, without what Markdown or a terminal would obey."""
    return _MARKUP.sub(r"\\\1", " ".join(visible(text).split()))


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}" if text else ""


def _numbers(value: Any) -> dict[str, int]:
    """The counts in a table of a summary."""
    items: Iterator[tuple[Any, Any]] = iter(value.items() if isinstance(value, Mapping) else ())
    return {str(name): n for name, n in items if isinstance(n, int) and not isinstance(n, bool)}


def _quantile(counts: Counter[int], share: float) -> int:
    """The smallest value that at least this share of the counts do not exceed."""
    seen, wanted = 0, share * counts.total()
    for value in sorted(counts):
        seen += counts[value]
        if seen >= wanted:
            return value
    return 0
