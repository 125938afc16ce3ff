"""What a run will ask and cost, before it asks anything: `pixelreasoner synth RECIPE --dry-run`.

How many tasks pass each stage, and how long replies are, is assumed, or measured in the run so far. A slot
that gives a trajectory with probability y after a stage takes 1 / y tasks through that stage.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table

from pixelreasoner.core.progress_line import clock_text
from pixelreasoner.core.rejections import REJECTIONS_FILE
from pixelreasoner.core.run_folder import RunFolder
from pixelreasoner.core.terminal import TerminalConsole
from pixelreasoner.endpoint.access import PaidServerConfig
from pixelreasoner.endpoint.cache import totals_in
from pixelreasoner.endpoint.ledger import Spending, total
from pixelreasoner.synth.config import SynthConfig, build_seeds
from pixelreasoner.synth.journal import filled
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.planned import slots_of
from pixelreasoner.synth.prompt_sizes import prompt_tokens
from pixelreasoner.synth.rejection import Stage
from pixelreasoner.synth.servers import check_budget, replies_file, server_sections
from pixelreasoner.synth.slots import Seeds, Slot
from pixelreasoner.synth.stage_counts import ORDER
from pixelreasoner.synth.taught import Taught

YIELDS: Mapping[Stage, float] = {
    "propose": 0.7, "outline": 1.0, "ocr": 1.0, "difficulty": 0.7, "write": 0.9, "compose": 1.0, "judge": 0.7,
}  # fmt: skip
"""Shares of the tasks that pass a stage, as long as none are measured."""
STAGE_OF: Mapping[str, Stage] = {
    "propose": "propose", "solve": "difficulty", "write": "write", "judge": "judge",
}  # fmt: skip
"""Which stage makes the requests of a purpose."""
SECTION_OF = {
    "propose": "chat_teacher.server",
    "write": "chat_teacher.server",
    "solve": "student.server",
    "judge": "judge.server",
}
REPLY_TOKENS = {"propose": 200, "solve": 250, "write": 350, "judge": 120}
"""Of a reply, as long as none are measured."""
REPLY_S = 10.0
"""Seconds that a reply is assumed to take."""
ENOUGH_TASKS = 50
"""Tasks after which the yields of the run so far are taken for those of the rest."""


@dataclass(frozen=True)
class SoFar:
    """What there is of a run already."""

    slots: int
    made: int
    rejected: Mapping[str, int]
    """Tasks, by the stage that turned them down."""
    spent: Mapping[str, Spending]

    @property
    def is_measured(self) -> bool:
        """Whether there is enough to say how many tasks pass."""
        return self.made > 0 and self.made + sum(self.rejected.values()) >= ENOUGH_TASKS

    def yields(self) -> dict[Stage, float]:
        """The share of tasks that pass each stage: measured, or assumed."""
        if not self.is_measured:
            return dict(YIELDS)
        found: dict[Stage, float] = {}
        past = self.made
        for stage in reversed(ORDER):
            entered = past + self.rejected.get(stage, 0)
            found[stage], past = past / entered, entered
        return found


@dataclass(frozen=True)
class Asked:
    """What is asked for one purpose."""

    requests: float
    prompt_tokens: float
    completion_tokens: float
    usd: float


@dataclass(frozen=True)
class Estimate:
    """What the rest of a run will ask, take and cost."""

    slots: int
    """That are to be made."""
    by_purpose: Mapping[str, Asked]
    seconds: float
    """With as many requests under way as the servers may have."""
    yields: Mapping[Stage, float]
    so_far: SoFar
    unknown: int = 0
    """Of the slots, those whose template fits none of the first tasks: what they ask is not counted."""


def dry_run(config: SynthConfig) -> None:
    """Show what a run of `config` will ask and cost. No request is made, and nothing is written.

    Raises:
        ConfigError, CheckpointError, SynthesisError: as for a run.
    """
    check_budget(config)
    console = TerminalConsole()
    estimate = estimated(config)
    console.print(_shown(estimate, config))


def estimated(config: SynthConfig) -> Estimate:
    """What a run of `config` will ask and cost; of one that was begun, the rest.

    Raises:
        ConfigError, CheckpointError, SynthesisError: as for a run.
    """
    seeds, taught, so_far = build_seeds(config), Taught.load(config), read_so_far(config)
    planned = slots_of(config, seeds, taught)
    rest = planned[so_far.slots :]
    yields = so_far.yields()
    asked: dict[str, Asked] = {}
    kinds = Counter(_kind(slot) for slot in rest) if server_sections(config) else {}
    unknown = 0
    for slot, count in kinds.items():
        sizes = prompt_tokens(config, seeds, taught, slot)
        unknown += 0 if sizes else count
        calls = calls_of(config, slot, yields, seeds)
        for purpose, size in sizes.items():
            measured = so_far.spent.get(purpose, Spending())
            of_reply = measured.completion_tokens / measured.requests if measured.requests else None
            server = server_sections(config)[SECTION_OF[purpose]]
            one = _asked(count * calls[purpose], size, of_reply or REPLY_TOKENS[purpose], server)
            asked[purpose] = _sum(asked.get(purpose), one)
    return Estimate(len(rest), asked, _seconds(config, asked), yields, so_far, unknown)


def calls_of(
    config: SynthConfig, slot: Slot, yields: Mapping[Stage, float], seeds: Sequence[Seeds]
) -> dict[str, float]:
    """Requests of each purpose for one trajectory of a kind of slot, at given yields.

    The student answers text-only tasks until it is right, others always as often; the judge is asked about
    the crop and about another place.
    """
    samples = 0 if config.student is None else config.student.samples
    text_only = slot.template is Template.TEXT_ONLY
    once = {
        "propose": 1.0,
        "write": 0.0 if text_only and samples else 1.0,
        "solve": (1 + samples) / 2 if text_only else float(samples),
        "judge": 0.0 if text_only or config.judge is None else 1.0 + config.judge.swap,
    }
    there: dict[Stage, bool] = {
        "propose": slot.kind in getattr(seeds[slot.source].tasks, "seed_kinds", ()),
        "difficulty": samples > 0,
        "judge": once["judge"] > 0,
    }
    calls: dict[str, float] = {}
    for purpose, stage in STAGE_OF.items():
        tasks = 1.0
        for passed in ORDER[ORDER.index(stage) :]:
            # What does not fit a template is mostly known before anything is asked.
            tasks /= yields[passed] if passed != "outline" and there.get(passed, True) else 1.0
        calls[purpose] = once[purpose] * tasks
    return calls


def read_so_far(config: SynthConfig) -> SoFar:
    """What there is of a run in its folder; nothing where there is none. Nothing is written."""
    folder = RunFolder(config.out)
    slots = list(filled(folder)) if folder.journal.exists() else []
    path, rejected = folder.path / REJECTIONS_FILE, Counter[str]()
    if path.exists():
        with path.open("rb") as file:
            rejected.update(filter(None, map(_stage_of, file)))
    return SoFar(len(slots), sum(slots), rejected, totals_in(replies_file(folder.path)))


def _stage_of(line: bytes) -> str | None:
    """The stage of a rejection; None of a line that is not whole, which a run goes on without."""
    try:
        return str(json.loads(line)["stage"]) if line.endswith(b"\n") else None
    except (ValueError, LookupError, TypeError):
        return None


def _kind(slot: Slot) -> Slot:
    return Slot(slot.template, slot.source, slot.kind, slot.needs_operation)


def _asked(requests: float, prompt: float, reply: float, server: PaidServerConfig) -> Asked:
    prompts, replies = requests * prompt, requests * reply
    return Asked(requests, prompts, replies, server.usd(round(prompts), round(replies)))


def _sum(a: Asked | None, b: Asked) -> Asked:
    if a is None:
        return b
    return Asked(
        a.requests + b.requests,
        a.prompt_tokens + b.prompt_tokens,
        a.completion_tokens + b.completion_tokens,
        a.usd + b.usd,
    )


def _seconds(config: SynthConfig, asked: Mapping[str, Asked]) -> float:
    """The time of the server that takes longest: all work at once."""
    longest = 0.0
    for section, server in server_sections(config).items():
        mine = [part for purpose, part in asked.items() if SECTION_OF[purpose] == section]
        requests = sum(part.requests for part in mine)
        tokens = sum(part.prompt_tokens + part.completion_tokens for part in mine)
        longest = max(
            longest,
            requests * REPLY_S / server.concurrency,
            60 * requests / (server.requests_per_minute or float("inf")),
            60 * tokens / (server.tokens_per_minute or float("inf")),
        )
    return longest


def _shown(estimate: Estimate, config: SynthConfig) -> Group | str:
    """The estimate in words and a table."""
    if not server_sections(config):
        return f"{estimate.slots} trajectories to make; the recipe names no server, so nothing is asked."
    table = Table("asked for", "requests", "prompt tokens", "reply tokens", "USD")
    rows = estimate.by_purpose
    whole = Asked(0, 0, 0, 0)
    for purpose in STAGE_OF:
        if (part := rows.get(purpose)) is not None and part.requests:
            whole = _sum(whole, part)
            table.add_row(purpose, *_figures(part))
    table.add_section()
    table.add_row("all", *_figures(whole))
    return Group(*_words(estimate, config), table, *_ending(estimate, config))


def _figures(part: Asked) -> list[str]:
    counts = (part.requests, part.prompt_tokens, part.completion_tokens)
    return [*(f"{count:,.0f}" for count in counts), f"{part.usd:,.2f}"]


def _words(estimate: Estimate, config: SynthConfig) -> list[str]:
    so_far = estimate.so_far
    first = f"{estimate.slots} of {config.n} trajectories to make. No request was made."
    passed = ", ".join(
        f"{stage} {estimate.yields[stage]:.0%}" for stage in ORDER if estimate.yields[stage] < 1
    )
    how = "measured in the run so far" if so_far.is_measured else "assumed"
    return [first, f"Tasks that pass each stage, {how}: {passed}."]


def _ending(estimate: Estimate, config: SynthConfig) -> list[str]:
    spent = total(estimate.so_far.spent)
    lines = [
        "Pictures are counted as a token for 28 x 28 pixels; what tries again after a fault is not counted.",
        f"Time: {clock_text(estimate.seconds)}, if a reply takes {REPLY_S:g} s, with the concurrency and the "
        f"limits of the recipe.",
    ]
    if estimate.unknown:
        lines.append(
            f"Not counted: {estimate.unknown} trajectories whose template fits none of the first tasks of "
            f"their kind."
        )
    if spent.requests:
        lines.append(
            f"Spent so far: {spent.requests:,} requests, {spent.tokens:,} tokens, {spent.usd:.2f} USD."
        )
    if config.budget.usd is not None:
        left = config.budget.usd - spent.usd
        cost = sum(part.usd for part in estimate.by_purpose.values())
        enough = "is enough" if cost <= left else "is not enough"
        lines.append(f"The budget of {config.budget.usd:g} USD {enough}.")
    return lines
