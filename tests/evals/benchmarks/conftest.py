"""Small copies of benchmarks in their real schemas, and what must hold for every one."""

from __future__ import annotations

import base64
import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn
from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.rewards.pr_compat import pr_compat
from tasks.datasets.conftest import png

LETTERS = "ABCDEFGH"


@cache
def base64_png(seed: int = 0, width: int = 30, height: int = 20) -> str:
    return base64.b64encode(png(seed, width, height)).decode()


def write_tsv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """As `pandas.to_csv(sep="\\t", index=False)`: None is an empty field, a list its repr."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)


def spoken(task: Task, text: str, answer: str | None) -> Trajectory:
    return Trajectory(task, (Turn(text),), StopReason.ANSWER, answer)


def tasks_of(benchmark: Benchmark) -> list[Task]:
    assert benchmark.tasks.size is not None
    return list(benchmark.tasks.take(0, benchmark.tasks.size))


def check_scores(benchmark: Benchmark) -> list[Task]:
    """Gold answers score 1 and empty ones 0, by both scores; the tasks."""
    tasks = tasks_of(benchmark)
    assert benchmark.scores.get("pr_compat") is pr_compat
    for task in tasks:
        gold = task.answers[0]
        assert benchmark.scorer(gold, task.answers, task) == 1.0
        assert pr_compat(spoken(task, f"So \\boxed{{{gold}}}", gold)) == 1.0
        for empty in (None, "", " ", "."):
            assert benchmark.scorer(empty, task.answers, task) == 0.0
            text = "" if empty is None else f"\\boxed{{{empty}}}"
            assert pr_compat(spoken(task, text, empty)) == 0.0
        assert pr_compat(spoken(task, "", None)) == 0.0
    return tasks


def check_wrong_letters(benchmark: Benchmark, tasks: Sequence[Task]) -> None:
    """Every letter but the right one is wrong, and so is one beyond the options: no letter is a default."""
    for task in tasks:
        for letter in LETTERS:
            expected = float(letter == task.answers[0])
            assert benchmark.scorer(letter, task.answers, task) == expected
            assert pr_compat(spoken(task, f"\\boxed{{{letter}}}", letter)) == expected


@pytest.fixture(autouse=True)
def _with_math_verify() -> None:
    pytest.importorskip("math_verify")
