"""What an evaluation leaves beside its records: `protocol.json` and `summary.json`."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.files import write_text
from pixelreasoner.core.run_folder import RunFolder
from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.config import EvalConfig
from pixelreasoner.evals.metrics import Summary, right_without_operations, summarize_scores
from pixelreasoner.evals.protocol import (
    PROTOCOL_FILE,
    Protocol,
    changed_model,
    protocol_text,
    read_protocol,
    recipe_protocol,
)
from pixelreasoner.evals.reading import Evaluation, read_evaluation
from pixelreasoner.evals.scores import Score
from pixelreasoner.evals.seconds import host


def keep_protocol(folder: RunFolder, protocol: Protocol, console: Console, *, begins: bool) -> None:
    """Write `protocol.json`; name what is not as it was when the run began, and keep both values.

    `begins` says that there is no rollout yet: what an attempt before left behind does not count.
    """
    before = None if begins else read_protocol(folder.path)
    if before is not None:
        protocol, changed = changed_model(before, protocol)
        if changed:
            console.print(
                f"eval: not as when this evaluation began: {', '.join(changed)}; the new values are under "
                f"protocol.changed of summary.json. For one protocol throughout, choose another --out",
                markup=False,
                highlight=False,
                style="yellow",
            )
    write_text(folder.path / PROTOCOL_FILE, protocol_text(protocol))


def write_summary(
    config: EvalConfig,
    folder: RunFolder,
    benchmark: Benchmark | None,
    scores: Sequence[Score],
    without_operations: Evaluation | None,
) -> Summary:
    """Write `summary.json`: the statistics, under `protocol` the protocol, under `host` machine and times.

    All but `host` is the same, byte for byte, when the evaluation is made again.

    Raises:
        ConfigError: `without_operations` is known to be of another checkpoint, or is of other tasks.
    """
    of_recipe = recipe_protocol(config, benchmark, scores[:: config.samples])
    protocol = {**(read_protocol(folder.path) or {}), **of_recipe}
    easy = None
    if without_operations is not None:
        check_same_checkpoint(protocol, without_operations)
        easy = easy_questions(without_operations, {s.task_id for s in scores})
    text = protocol_text(protocol)
    write_text(folder.path / PROTOCOL_FILE, text)
    summary = summarize_scores(scores, samples=config.samples, easy=easy)
    if benchmark is not None:
        summary["benchmark"] = benchmark.facts(scores)
    summary |= {"protocol": json.loads(text), "host": host(folder.path)}
    write_text(folder.summary, json.dumps(summary, indent=2) + "\n")
    return summary


def read_without_operations(path: Path | None) -> Evaluation | None:
    """The evaluation that says which questions are easy.

    Raises:
        RecordError: the folder holds no evaluation.
        ConfigError: operations were used in it.
    """
    if path is None:
        return None
    found = read_evaluation(path)
    if any(s.n_operations + s.n_unread + s.n_invalid for s in found.scores):
        raise ConfigError(
            f"{path} is to say what is right without operations, and operations were used there; give an "
            f"evaluation with interaction.operations = []"
        )
    return found


def easy_questions(other: Evaluation, tasks: Container[str]) -> dict[str, bool]:
    """Which questions an evaluation without operations got right, by the id of the task.

    Raises:
        ConfigError: none of its tasks is among `tasks`.
    """
    if not any(task_id in tasks for task_id in other.by_task):
        raise ConfigError(
            f"{other.path} is to say what is right without operations, and is of other tasks; give an "
            f"evaluation of the same tasks, or leave without_operations out"
        )
    return right_without_operations(other.scores)


def check_same_checkpoint(protocol: Mapping[str, Any], other: Evaluation) -> None:
    """Refuse an evaluation whose weights are known to be others.

    Raises:
        ConfigError: they are.
    """
    both = [(p or {}).get("checkpoint", {}).get("weights") for p in (protocol, other.protocol)]
    if None not in both and both[0] != both[1]:
        raise ConfigError(
            f"{other.path} is of other weights ({both[1]}) than this evaluation ({both[0]}); give one of the "
            f"same checkpoint, or leave without_operations out"
        )
