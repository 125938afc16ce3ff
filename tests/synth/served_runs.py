"""Recipes about seeds in the three real formats, with a teacher, a student and a judge on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pixelreasoner.synth.config import SynthConfig
from seed_files import make_fineweb_visa, make_sa_1b, make_star

RIGHT = ("sa-1b", "fineweb-visa", "star")


def make_seeds(folder: Path, n: int) -> None:
    """`n` seeds of each format."""
    make_sa_1b(folder / "sa-1b", n)
    make_fineweb_visa(folder / "fineweb-visa", n)
    make_star(folder / "star", n)


def recipe(out: Path, checkpoint: Path, seeds: Path, url: str, **changes: Any) -> dict[str, Any]:
    """A recipe with all servers; `changes` go over its keys."""
    sets = [{"tasks": {"source": name, "options": {"path": str(seeds / name)}}} for name in RIGHT]
    server = {
        "url": url,
        "model": "m",
        "concurrency": 8,
        "timeout_s": 20.0,
        "retries": 4,
        "retry_wait_s": 0.01,
        "retry_max_wait_s": 0.05,
        "usd_per_million_prompt_tokens": 2.5,
        "usd_per_million_completion_tokens": 10.0,
    }
    given: dict[str, Any] = {
        "out": str(out),
        "checkpoint": str(checkpoint),
        "seeds": sets,
        "n": 12,
        "tries": 8,
        "chat_teacher": {"server": server},
        "student": {"server": server, "samples": 3},
        "judge": {"server": server},
    }
    return given | changes


def config(*args: Any, **changes: Any) -> SynthConfig:
    """The recipe as a configuration; a change to None leaves a key out."""
    return SynthConfig.model_validate({k: v for k, v in recipe(*args, **changes).items() if v is not None})
