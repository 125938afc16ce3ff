"""The demo on the embedded model: synthesise, warm-start, train twice, evaluate, report.

Every stage uses the same code and the same kind of recipe as a large model. Finished stages are skipped:
after Ctrl-C or a crash the same command continues where it stopped.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.metrics_file import read_curves
from pixelreasoner.core.recipe import find_recipe, load_recipe
from pixelreasoner.core.run_folder import TRAJECTORIES_FILE
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.evals.metrics import summarize
from pixelreasoner.evals.progress import EvalProgress
from pixelreasoner.evals.run import Evaluated, rollouts
from pixelreasoner.evals.tables import summary_table
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.models.loader import load_model
from pixelreasoner.policy.base import Sampling
from pixelreasoner.policy.group import GroupPolicy
from pixelreasoner.rewards.scorers import exact
from pixelreasoner.synth.run import SynthConfig
from pixelreasoner.synth.run import run as synthesise
from pixelreasoner.tasks.pixelworld import PixelWorld, WorldConfig
from pixelreasoner.train.rl import RLConfig
from pixelreasoner.train.rl import run as train_rl
from pixelreasoner.train.sft import SFTConfig
from pixelreasoner.train.sft import run as train_sft
from pixelreasoner.viewer.report import write_report

C = TypeVar("C", bound=Config)
CURVES = ("rapr", "reward", "accuracy")
N_HELD_OUT = 300
"""Held-out tasks: 60 of each kind, half of which need the operation."""
EXAMPLES = 8
EVAL_BATCH = 100


class Demo:
    """One demo run in one folder."""

    def __init__(self, out: Path, *, seed: int, photos: Path | None, console: Console) -> None:
        self.out, self.seed, self.console = out, seed, console
        self.world = WorldConfig(seed=seed, photos=photos)
        self.base = str(checkpoint_folder("nano"))
        self._held_out: list[Task] | None = None

    def recipe(self, cls: type[C], name: str, **changes: Any) -> C:
        """Return a shipped recipe with this run's seed, world and folders."""
        shipped = load_recipe(cls, find_recipe(Path(f"nano/{name}")))
        update: dict[str, Any] = {"seed": self.seed, **changes}
        if isinstance(shipped, SynthConfig | RLConfig):
            photos = {} if self.world.photos is None else {"photos": str(self.world.photos)}
            options = shipped.tasks.options | {"seed": self.seed} | photos
            update["tasks"] = shipped.tasks.model_copy(update={"options": options})
        return shipped.model_copy(update=update)

    def stage(self, title: str) -> None:
        _release_memory()
        self.console.rule(f"[bold]{title}", align="left")

    def synthesise(self, name: str, *, self_correction: bool = True) -> Path:
        """Write trajectories for the warm start; returns their file."""
        folder = self.out / name
        done = folder / "done"
        if not done.exists():
            config = self.recipe(SynthConfig, "synth", out=folder, checkpoint=self.base)
            mix = config.mix.model_copy(update={"self_correction": self_correction})
            synthesise(config.model_copy(update={"mix": mix}), resume=(folder / TRAJECTORIES_FILE).exists())
            done.touch()
        return folder / TRAJECTORIES_FILE

    def warm_start(self, name: str, data: Path) -> Path:
        """Tune the base on trajectories; returns the checkpoint."""
        folder = self.out / name
        if (folder / "model").exists():
            return folder / "model"
        config = self.recipe(SFTConfig, "sft", out=folder, data=data)
        return train_sft(config, resume=True)

    def rl(self, name: str, start: Path, *, curiosity: bool) -> Path:
        """Train a policy from `start`, with or without the curiosity bonus; returns the checkpoint."""
        folder = self.out / name
        if (folder / "model").exists():
            return folder / "model"
        config = self.recipe(RLConfig, "rl", out=folder)
        model = config.model.model_copy(update={"checkpoint": str(start)})
        rewards = dict(config.rewards)
        if not curiosity:
            rewards["curiosity"] = rewards["curiosity"].model_copy(update={"weight": 0.0})
        config = config.model_copy(update={"model": model, "rewards": rewards})
        return train_rl(config, resume=True)

    def evaluate(self, name: str, checkpoint: Path) -> list[Trajectory]:
        """Return greedy rollouts of the held-out tasks, which are the same for every model."""
        if self._held_out is None:
            self._held_out = list(PixelWorld(self.world).tasks("test", N_HELD_OUT))
        model = load_model(ModelConfig(checkpoint=str(checkpoint), device="cpu"), training=False)
        self.console.print(f"evaluating {name}")
        made = rollouts(
            Evaluated(GroupPolicy(model, batch_size=EVAL_BATCH), model.renderer),
            Interaction(sampling=Sampling(temperature=0.0, max_tokens=128)),
            iter(self._held_out),
            exact,
            batch_size=EVAL_BATCH,
        )
        with EvalProgress(self.console, total=N_HELD_OUT, scores=[]) as progress:
            return list(progress.watch(made))


def run(*, out: Path, seed: int, photos: Path | None, ablations: bool) -> None:
    """Run the whole demo; writes `metrics.json` and `report.html` into `out`.

    Raises:
        ConfigError: `out` holds a demo with another seed or other photographs.
    """
    began = time.time()
    console = Console(stderr=True)
    out.mkdir(parents=True, exist_ok=True)
    spent = _claim(out, {"seed": seed, "photos": str(photos) if photos else None})
    demo = Demo(out, seed=seed, photos=photos, console=console)

    demo.stage("1/5  synthesise trajectories (oracle teacher)")
    data = demo.synthesise("synth")
    demo.stage("2/5  warm-start instruction tuning")
    models = {"base": Path(demo.base), "warm_start": demo.warm_start("warm_start", data)}
    demo.stage("3/5  RL without curiosity")
    models["rl_no_curiosity"] = demo.rl("rl_no_curiosity", models["warm_start"], curiosity=False)
    demo.stage("4/5  RL with curiosity")
    models["rl_curiosity"] = demo.rl("rl_curiosity", models["warm_start"], curiosity=True)
    if ablations:
        models |= _ablations(demo)
    demo.stage("5/5  evaluate on held-out tasks, and report")
    results = {name: demo.evaluate(name, checkpoint) for name, checkpoint in models.items()}
    summaries = {name: summarize(trajectories) for name, trajectories in results.items()}
    console.print(summary_table(summaries))
    curves = {name: read_curves(out / name, CURVES) for name in models if name.startswith("rl_")}
    metrics = {
        "wall_s": round(spent + time.time() - began, 1),
        "seed": seed,
        "models": summaries,
        "training": curves,
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    write_report(
        out / "report.html",
        metrics=metrics,
        curves=curves,
        examples=_examples(results["rl_curiosity"], results["warm_start"]),
        meta={
            "seed": seed,
            "version": version("pixelreasoner"),
            "command": f"pixelreasoner demo --seed {seed}",
        },
    )
    console.print(f"[bold]{out / 'report.html'}[/]   {out / 'metrics.json'}   {metrics['wall_s']:.0f} s")


def _ablations(demo: Demo) -> dict[str, Path]:
    """Run the paper's two ablations: RL from the base, and a warm start without self-correction data."""
    demo.stage("ablation  RL without warm start")
    from_base = demo.rl("rl_no_warm_start", Path(demo.base), curiosity=True)
    demo.stage("ablation  without self-correction data")
    data = demo.synthesise("synth_no_correction", self_correction=False)
    warm = demo.warm_start("warm_start_no_correction", data)
    return {
        "rl_no_warm_start": from_base,
        "rl_no_correction": demo.rl("rl_no_correction", warm, curiosity=True),
    }


def _release_memory() -> None:
    """Return freed memory to the system; glibc would keep gigabytes of it."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _claim(out: Path, settings: Mapping[str, Any]) -> float:
    """Check that the folder belongs to this demo; returns the seconds that earlier runs of it took."""
    path = out / "demo.json"
    if path.exists() and json.loads(path.read_text()) != dict(settings):
        raise ConfigError(
            f"{out} holds a demo with other settings ({path}); choose another --out or delete it"
        )
    path.write_text(json.dumps(settings) + "\n")
    times = [row["time"] for row in _rows(out)]
    return max(times) - min(times) if len(times) > 1 and not (out / "metrics.json").exists() else 0.0


def _rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for p in out.glob("*/metrics.jsonl") for line in p.read_text().splitlines()]


def _examples(curious: Sequence[Trajectory], warm: Sequence[Trajectory]) -> list[tuple[str, Trajectory]]:
    """Return a solved task that needs the operation for each kind, and the warm start's rollout."""
    out: list[tuple[str, Trajectory]] = []
    seen: set[str] = set()
    for ours, theirs in zip(curious, warm, strict=True):
        task = ours.task
        if task.needs_operation and ours.metrics["correct"] and ours.n_operations and task.kind not in seen:
            seen.add(task.kind)
            out.append((f"RL with curiosity · {task.kind}", ours))
            if len(out) < EXAMPLES and not theirs.metrics["correct"]:
                out.append((f"warm start · the same task · {task.kind}", theirs))
    return out[:EXAMPLES]
