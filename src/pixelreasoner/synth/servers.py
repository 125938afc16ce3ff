"""The servers that a recipe names, with one cache of replies and one budget for all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.endpoint.access import PaidServerConfig
from pixelreasoner.endpoint.asker import Asker
from pixelreasoner.endpoint.cache import ResponseCache
from pixelreasoner.endpoint.ledger import Ledger
from pixelreasoner.synth.chat_teacher import ChatTeacher
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.difficulty import Student
from pixelreasoner.synth.judging import CropJudge
from pixelreasoner.synth.prompts import VERSION
from pixelreasoner.synth.propose import Proposer
from pixelreasoner.synth.taught import Taught

REPLIES_FILE = "replies.sqlite"
"""In the folder of a run: every reply that was ever paid for."""


@dataclass(frozen=True)
class Servers:
    """What asks the servers; None for what a recipe has no server for."""

    teacher: ChatTeacher | None = None
    proposer: Proposer | None = None
    student: Student | None = None
    judge: CropJudge | None = None


def server_sections(config: SynthConfig) -> dict[str, PaidServerConfig]:
    """The servers of a recipe, by their sections."""
    sections = {
        "chat_teacher": config.chat_teacher,
        "student": config.student,
        "judge": config.judge,
    }
    return {f"{name}.server": section.server for name, section in sections.items() if section is not None}


def check_budget(config: SynthConfig) -> None:
    """See that a budget in dollars limits something.

    Raises:
        ConfigError: no server has a price, so that every request counts as free.
    """
    servers = server_sections(config)
    if config.budget.usd is not None and servers and not any(s.usd(10**6, 10**6) for s in servers.values()):
        raise ConfigError(
            f"budget.usd is {config.budget.usd:g}, and no server has a price, so it would limit nothing; "
            f"give usd_per_million_prompt_tokens and usd_per_million_completion_tokens of "
            f"{next(iter(servers))}, or set budget.tokens in its place"
        )


def replies_file(folder: Path) -> Path:
    """The cache of replies of a run."""
    return folder / REPLIES_FILE


def spent(cache: ResponseCache) -> dict[str, dict[str, float]]:
    """What all replies of a run have cost, by purpose; the same however often it was interrupted."""
    names = ("requests", "prompt_tokens", "completion_tokens", "usd", "estimated")
    return {purpose: {name: getattr(of, name) for name in names} for purpose, of in cache.totals().items()}


def prompts_version(config: SynthConfig) -> str:
    """Which prompts the servers of a recipe are told: a number, and whether the recipe changes some."""
    if not server_sections(config):
        return ""
    prompts = [section.prompts for section in (config.chat_teacher, config.judge) if section is not None]
    changed = any(told != type(told)() for told in prompts)
    return f"{VERSION}{', changed' if changed else ''}"


@asynccontextmanager
async def open_servers(
    config: SynthConfig, taught: Taught, cache: ResponseCache, ledger: Ledger
) -> AsyncGenerator[Servers]:
    """The servers of a recipe, until the block is left; within an event loop. Nothing is sent yet.

    Raises:
        MissingExtraError: the package openai is not installed.
        ConfigError: the variable for a key is not set.
    """
    async with AsyncExitStack() as stack:
        askers: dict[str, Asker] = {}
        for section, server in server_sections(config).items():
            askers[section] = Asker(server, cache, ledger, section=section)
            stack.push_async_callback(askers[section].close)
        teacher = proposer = student = judge = None
        if config.chat_teacher is not None:
            asker = askers["chat_teacher.server"]
            teacher, proposer = ChatTeacher(asker, config.chat_teacher), Proposer(asker, config.chat_teacher)
        if config.student is not None:
            asker = askers["student.server"]
            student = Student(asker, config.student, taught.tools.vision, taught.chat_format)
        if config.judge is not None:
            judge = CropJudge(askers["judge.server"], config.judge)
        yield Servers(teacher, proposer, student, judge)
