"""Recipes about seeds in the three real formats, with a teacher, a student and a judge on a server."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from pixelreasoner.core.records import read_trajectories
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.journal import REJECTIONS_FILE
from seed_files import make_fineweb_visa, make_sa_1b, make_star

NO_FURTHER_ZOOM = {
    "image": {"single_pass": 0.5, "recrop_once": 0.25, "recrop_twice": 0.25, "further_zoom": 0.0}
}
"""The signs and passages of the made seeds are too large for a crop that is far larger."""
APART = {"config.toml", "run.json", ".lock", "replies.sqlite"}
"""Files of a run that hold times and places, or are no part of the data set."""


def make_seeds(folder: Path, n: int) -> dict[str, str]:
    """`n` seeds of each format; the right answers by question, as the student of the script takes them."""
    make_sa_1b(folder / "sa-1b", n)
    pages = make_fineweb_visa(folder / "fineweb-visa", n)
    rows = make_star(folder / "star", n)
    return {row.question: row.letter for row in rows} | {page.question: page.short_answer for page in pages}


def recipe(out: Path, checkpoint: Path, seeds: Path, url: str, **changes: Any) -> dict[str, Any]:
    """A recipe with all servers; `changes` go over its keys, and None leaves one out."""
    names = sorted(path.name for path in seeds.iterdir())
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
        "seeds": [{"tasks": {"source": name, "options": {"path": str(seeds / name)}}} for name in names],
        "n": 12,
        "tries": 8,
        "mix": NO_FURTHER_ZOOM,
        "chat_teacher": {"server": server},
        "student": {"server": server, "samples": 3},
        "judge": {"server": server},
    }
    return {key: value for key, value in (given | changes).items() if value is not None}


def config(*args: Any, **changes: Any) -> SynthConfig:
    """The recipe as a configuration."""
    return SynthConfig.model_validate(recipe(*args, **changes))


def dataset(folder: Path) -> dict[str, str]:
    """The hashes of all files of a run's data set."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in APART]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def rejections(folder: Path) -> list[dict[str, Any]]:
    """The lines of `rejections.jsonl`."""
    return [json.loads(line) for line in (folder / REJECTIONS_FILE).read_text().splitlines()]


def check_complete(folder: Path, n: int) -> Counter[str]:
    """That a run has no lost and no doubled item, and explains every rejection; its templates."""
    summary = json.loads((folder / "summary.json").read_text())
    made = list(read_trajectories(folder / "trajectories.jsonl"))
    turned_down = rejections(folder)
    assert summary["wanted"] == n
    assert (summary["made"], summary["made"] + summary["unfilled"]) == (len(made), n)
    assert len({t.task.id for t in made}) == len(made), "a task is in the set twice"
    kept = {t.task.id for t in made}
    assert all(row["reason"] and row["stage"] for row in turned_down)
    assert not [row for row in turned_down if row["task"] in kept and row["stage"] != "outline"]
    assert sum(summary["rejections"].values()) == len(turned_down)
    recorded = list(read_trajectories(folder / "rejected" / "trajectories.jsonl"))
    places = [row["trajectory"] for row in turned_down if "trajectory" in row]
    assert places == list(range(len(recorded)))
    named = [row["task"] for row in turned_down if "trajectory" in row]
    assert [t.task.id for t in recorded] == named
    return Counter(t.source for t in made)
