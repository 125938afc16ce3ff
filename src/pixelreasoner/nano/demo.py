"""The demo on the embedded model: synthesise, warm-start, train twice, evaluate, report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.files import remove_left, write_text
from pixelreasoner.core.metrics_file import curve_of, read_curves, read_metrics
from pixelreasoner.core.provenance import provenance
from pixelreasoner.core.run_folder import METRICS_FILE
from pixelreasoner.core.run_status import locked
from pixelreasoner.core.terminal import TerminalConsole
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.evals.metrics import summarize
from pixelreasoner.evals.tables import summary_table
from pixelreasoner.nano.pipeline import Pipeline
from pixelreasoner.tasks.pixelworld.paint import photographs
from pixelreasoner.viewer.gallery import Attempts, write_gallery
from pixelreasoner.viewer.report import Example, HeldOut, model_name, write_report

CURVES = ("rapr", "reward", "accuracy")
EXAMPLES = 8
METRICS_JSON = "metrics.json"
NO_CURIOSITY = "rewards.curiosity.weight=0"
CURVE_TASKS = 60
HELD_OUT_CURVE = ("eval_every=15", f"eval.n={CURVE_TASKS}", "eval.tasks.needs_operation=true")
"""What RL evaluates on the way, on held-out tasks that need the operation."""
REPORT, PAGES = "report.html", "trajectories.html"
PAGE_ORDER = ("rl_curiosity", "rl_no_curiosity", "warm_start", "base")
"""The first two stand side by side when the page of all attempts opens."""


def run(*, out: Path, seed: int, photos: Path | None) -> None:
    """Run the whole demo; writes `metrics.json`, `report.html` and `trajectories.html` into `out`.

    Raises:
        ConfigError: `out` holds a demo with another seed or other photographs, or another process works in
            it, or it cannot be written to.
        MediaError: the folder of photographs cannot be read, or holds none.
    """
    console = TerminalConsole(stderr=True)
    photographs(photos)  # what is wrong with them is said before anything is written
    with locked(out):
        remove_left(out)
        _claim(out, {"seed": seed, "photos": str(photos) if photos else None})
        _run(out, seed, photos, console)


def _run(out: Path, seed: int, photos: Path | None, console: Console) -> None:
    began, spent = time.time(), _spent(out)
    demo = Pipeline(out, seed=seed, photos=photos, console=console)

    demo.stage("1/5  synthesise trajectories (oracle teacher)")
    data = demo.synthesise("synth")
    demo.stage("2/5  warm-start instruction tuning")
    models = {"base": demo.base, "warm_start": demo.warm_start("warm_start", data)}
    demo.stage("3/5  RL without curiosity")
    models["rl_no_curiosity"] = demo.rl(
        "rl_no_curiosity", models["warm_start"], *HELD_OUT_CURVE, NO_CURIOSITY
    )
    demo.stage("4/5  RL with curiosity")
    models["rl_curiosity"] = demo.rl("rl_curiosity", models["warm_start"], *HELD_OUT_CURVE)
    demo.stage("5/5  evaluate on held-out tasks, and report")
    results = {name: demo.evaluate(name, checkpoint) for name, checkpoint in models.items()}
    summaries = {name: summarize(trajectories) for name, trajectories in results.items()}
    console.print(summary_table(summaries))
    trained = [name for name in models if name.startswith("rl_")]
    curves = {name: read_curves(out / name, CURVES) for name in trained}
    metrics = {
        "wall_s": round(spent + time.time() - began, 1),
        "seed": seed,
        "models": summaries,
        "training": curves,
    }
    write_text(out / METRICS_JSON, json.dumps(metrics, indent=2) + "\n")
    write_gallery(
        out / PAGES,
        [Attempts(model_name(name), results[name]) for name in PAGE_ORDER],
        title=f"The demo's attempts at {len(results['base'])} held-out tasks",
    )
    held_out = {name: curve_of(read_metrics(out / name), "eval_accuracy_needs_operation") for name in trained}
    write_report(
        out / REPORT,
        metrics=metrics,
        curves=curves,
        held_out=HeldOut(held_out, CURVE_TASKS),
        examples=_examples(results["rl_curiosity"], results["warm_start"]),
        pages=PAGES,
        meta={"seed": seed, "command": f"pixelreasoner demo --seed {seed}", **provenance()},
    )
    made = "   ".join(str(out / name) for name in (PAGES, METRICS_JSON))
    console.print(f"{out / REPORT}   {made}   {metrics['wall_s']:.0f} s", markup=False, soft_wrap=True)


def _claim(out: Path, settings: Mapping[str, Any]) -> None:
    """Write down whose folder this is; one of a demo with other settings is refused."""
    path = out / "demo.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # ValueError: torn by a power cut
        before = dict(settings)
    if before != settings:
        raise ConfigError(
            f"{out} holds a demo with other settings ({path}); choose another --out or delete it"
        )
    write_text(path, json.dumps(settings) + "\n", ConfigError)


def _spent(out: Path) -> float:
    """The seconds that earlier runs of an unfinished demo took."""
    folders = [path.parent for path in out.glob(f"*/{METRICS_FILE}")]
    times = [row["time"] for folder in folders for row in read_metrics(folder)]
    return max(times) - min(times) if len(times) > 1 and not (out / METRICS_JSON).exists() else 0.0


def _examples(curious: Sequence[Trajectory], warm: Sequence[Trajectory]) -> list[Example]:
    """Return a solved task that needs the operation for each kind, and the warm start's rollout."""
    out: list[Example] = []
    seen: set[str] = set()
    for ours, theirs in zip(curious, warm, strict=True):
        task = ours.task
        if task.needs_operation and ours.metrics["correct"] and ours.n_operations and task.kind not in seen:
            seen.add(task.kind)
            out.append(Example(f"RL with curiosity · {task.kind}", ours))
            if len(out) < EXAMPLES and not theirs.metrics["correct"]:
                out.append(Example(f"warm start · the same task · {task.kind}", theirs))
    return out[:EXAMPLES]
