"""One table of ablations: the method on the embedded model, one part changed at a time, over several seeds.

Runs of a seed share what they have in common: the synthesised trajectories, the warm start. What is finished
is not done again, so more seeds or more ablations can be added to a folder later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.files import remove_left, write_text
from pixelreasoner.core.run_status import locked
from pixelreasoner.core.terminal import TerminalConsole
from pixelreasoner.evals.metrics import summarize
from pixelreasoner.nano.pipeline import Pipeline
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.train.rl import RLConfig

SUMMARY_FILE = "summary.json"
TABLE_FILE = "table.md"


@dataclass(frozen=True)
class Ablation:
    """What differs from the shipped recipes, as a command line would change them."""

    what: str
    synth: tuple[str, ...] = ()
    rl: tuple[str, ...] = ()
    warm_start: bool = True


ABLATIONS = {
    "full": Ablation("as shipped"),
    "no_curiosity": Ablation("no curiosity", rl=("rewards.curiosity.weight=0",)),
    "no_warm_start": Ablation("no warm start", warm_start=False),
    "no_self_correction": Ablation("no self-correction", synth=("mix.self_correction=false",)),
    "message_mask": Ablation("whole messages with a wrong operation masked", synth=("error_mask=message",)),
    "scale_std": Ablation("advantages over the std of the rewards", rl=("advantage_scale=std",)),
    "scale_none": Ablation("advantages not scaled", rl=("advantage_scale=none",)),
    "scale_correctness": Ablation(
        "advantages over the std of correctness", rl=("advantage_scale=correctness",)
    ),
    "truncated_turns": Ablation("messages cut off masked", rl=("mask_truncated=turns",)),
    "truncated_all": Ablation("rollouts cut off masked", rl=("mask_truncated=all",)),
    "no_replay": Ablation("no replay", rl=("replay.enabled=false",)),
}
MEASURES: Mapping[str, tuple[str, ...]] = {
    "accuracy": ("accuracy", "all"),
    "where needed": ("accuracy", "needs_operation"),
    "RaPR": ("rapr", "all"),
    "RaPR where needed": ("rapr", "needs_operation"),
    "failed operations": ("op_error_rate",),
}


def run(*, out: Path, names: Sequence[str], seeds: Sequence[int]) -> None:
    """Train and evaluate what is missing, then write `table.md` into `out`.

    Raises:
        ConfigError: there is no ablation of a name, or another process works in `out`.
    """
    chosen = list(names) or list(ABLATIONS)
    if unknown := [name for name in chosen if name not in ABLATIONS]:
        raise ConfigError(f"there is no ablation {', '.join(unknown)}; there are: {', '.join(ABLATIONS)}")
    console = TerminalConsole(stderr=True)
    results: dict[str, list[Mapping[str, Any]]] = {name: [] for name in chosen}
    with locked(out):
        remove_left(out)
        for seed in seeds:
            pipeline = Pipeline(out / f"seed{seed}", seed=seed, photos=None, console=console)
            for name in chosen:
                results[name].append(_result(pipeline, name, ABLATIONS[name]))
        table = ablation_table(results, seeds)
        write_text(out / TABLE_FILE, table + "\n")
    console.print(table, markup=False, highlight=False, soft_wrap=True)


def _result(pipeline: Pipeline, name: str, ablation: Ablation) -> Mapping[str, Any]:
    """The summary of one run, made where it is missing; what changes nothing shares the run of "full"."""
    if _changes_nothing(pipeline, ablation):
        name, ablation = "full", ABLATIONS["full"]
    path = pipeline.out / name / SUMMARY_FILE
    if not path.exists():
        pipeline.stage(f"seed {pipeline.seed}  {name}: {ablation.what}")
        checkpoint = pipeline.rl(name, _start(pipeline, name, ablation), *ablation.rl)
        summary = summarize(pipeline.evaluate(name, checkpoint))
        write_text(path, json.dumps(summary, indent=2) + "\n")
    return json.loads(path.read_text(encoding="utf-8"))


def _changes_nothing(pipeline: Pipeline, ablation: Ablation) -> bool:
    """Whether it names what the shipped recipes say."""
    changed = (("synth", SynthConfig, ablation.synth), ("rl", RLConfig, ablation.rl))
    return ablation.warm_start and all(
        pipeline.recipe(cls, recipe, changes) == pipeline.recipe(cls, recipe, ())
        for recipe, cls, changes in changed
    )


def _start(pipeline: Pipeline, name: str, ablation: Ablation) -> Path:
    """What RL starts from: the base, or a warm start on this ablation's trajectories."""
    if not ablation.warm_start:
        return pipeline.base
    suffix = f"_{name}" if ablation.synth else ""
    data = pipeline.synthesise(f"synth{suffix}", *ablation.synth)
    return pipeline.warm_start(f"warm_start{suffix}", data)


def ablation_table(results: Mapping[str, Sequence[Mapping[str, Any]]], seeds: Sequence[int]) -> str:
    """Markdown: a row per ablation; percent, mean over the seeds and its 95 % interval (Student's t)."""
    lines = [
        _line([f"% (seeds {', '.join(map(str, seeds))})", *MEASURES]),
        _line(["---"] * (1 + len(MEASURES))),
    ]
    for name, summaries in results.items():
        cells = [interval([_percent(s, path) for s in summaries]) for path in MEASURES.values()]
        lines.append(_line([ABLATIONS[name].what, *cells]))
    return "\n".join(lines)


def interval(values: Sequence[float]) -> str:
    """The mean and half the width of its 95 % interval; the mean alone of one value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.1f}"
    t = float(stats.t.ppf(0.975, len(values) - 1))
    return f"{mean:.1f} ± {t * np.std(values, ddof=1) / len(values) ** 0.5:.1f}"


def _percent(summary: Any, path: Sequence[str]) -> float:
    for key in path:
        summary = summary[key]
    return 100 * summary


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
