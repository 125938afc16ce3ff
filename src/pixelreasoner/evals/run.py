"""Evaluation, start to end: a checkpoint answers held-out tasks, one attempt each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.chat.tools import toolbox_for
from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.recipe import RESOLVED_FILE, load_recipe, save_resolved
from pixelreasoner.core.records import read_trajectories, write_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, rollout
from pixelreasoner.evals.metrics import Score, Summary, score, summarize, summarize_scores
from pixelreasoner.ops.toolbox import Toolbox
from pixelreasoner.policy.base import Policy, Sampling
from pixelreasoner.rewards.answers import is_correct
from pixelreasoner.tasks.pixelworld import PixelWorld, WorldConfig
from pixelreasoner.tasks.pixelworld.world import Split

TRAJECTORIES_FILE = "trajectories.jsonl"
SUMMARY_FILE = "summary.json"
CORRECT_METRIC = "correct"
"""The metric of a trajectory that says whether its answer is right: 1 or 0."""


class EvalConfig(Config):
    """What to evaluate, and on what."""

    out: Path
    """The folder of the results: `trajectories.jsonl` and its pictures, `summary.json`, this recipe."""
    checkpoint: str = "nano"
    """The model: a folder, or a shipped checkpoint's name."""
    world: WorldConfig = WorldConfig()
    """Where the tasks come from."""
    split: Split = "test"
    n: int = Field(default=500, ge=1)
    """Tasks."""
    operations: bool = True
    """Whether visual operations are offered."""
    sampling: Sampling = Sampling(temperature=0.0)
    """Greedy, as in the paper."""
    limits: Limits = Limits()
    batch_size: int = Field(default=32, ge=1)
    """Attempts played together."""
    seed: int = 0
    """Of the draws, where sampling is not greedy."""


@dataclass(frozen=True)
class EvalResult:
    """Attempts in the order of their tasks, whether each is right, and the summary of all."""

    trajectories: tuple[Trajectory, ...]
    correct: tuple[bool, ...]
    summary: Summary


@dataclass(frozen=True)
class Model:
    """Something to evaluate: what samples, and how it is spoken to."""

    policy: Policy
    renderer: Renderer


def load_model(checkpoint: str) -> Model:
    """The model of a checkpoint, in this process.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    # torch takes seconds to import, and an evaluation of another policy needs none.
    from pixelreasoner.models.checkpoints import checkpoint_folder
    from pixelreasoner.models.vlm import VisionLanguageModel
    from pixelreasoner.policy.group import GroupPolicy

    model = VisionLanguageModel.load(checkpoint_folder(checkpoint))
    return Model(GroupPolicy(model), model.renderer)


def evaluate(
    policy: Policy,
    renderer: Renderer,
    toolbox: Toolbox | None,
    tasks: Sequence[Task],
    *,
    sampling: Sampling | None = None,
    limits: Limits | None = None,
    batch_size: int = 32,
    seed: int = 0,
    console: Console | None = None,
) -> EvalResult:
    """One attempt at each task.

    Everything stays in memory, pictures included; `run` writes as it goes.

    Args:
        policy: samples the messages.
        renderer: the policy's.
        toolbox: the operations to offer, or None.
        tasks: at least one.
        sampling: greedy by default.
        limits: how long each attempt may go on.
        batch_size: attempts played together.
        seed: of the draws; an attempt's depend on it and on its task, not on the other tasks.
        console: where to show progress; nowhere when None.

    Raises:
        PixelReasonerError: there are no tasks.
    """
    attempts = _attempts(
        Model(policy, renderer),
        toolbox,
        iter(tasks),
        sampling=sampling or Sampling(temperature=0.0),
        limits=limits or Limits(),
        batch_size=batch_size,
        seed=seed,
    )
    with _Progress(console or Console(quiet=True), total=len(tasks), scores=[]) as progress:
        trajectories = tuple(progress.watch(attempts))
    correct = tuple(_is_right(t) for t in trajectories)
    return EvalResult(trajectories, correct, summarize(trajectories, correct))


def run(config: EvalConfig, *, resume: bool = False, load: Callable[[str], Model] = load_model) -> Summary:
    """Evaluate, and write `trajectories.jsonl` and `summary.json` into the folder of `config`.

    `resume` keeps the attempts an interrupted run has written and makes those that are missing. Without it a
    run that is there is replaced.

    Raises:
        ConfigError: `resume` with another configuration than the folder's.
        CheckpointError: the checkpoint cannot be loaded.
    """
    _open_folder(config, resume=resume)
    path = config.out / TRAJECTORIES_FILE
    # Writing nothing drops a line that a killed writer left unfinished.
    write_trajectories(path, (), append=resume)
    scores = [score(t, correct=_is_right(t)) for t in read_trajectories(path)]
    console = Console(stderr=True)
    if len(scores) < config.n:
        model = load(config.checkpoint)
        attempts = _attempts(
            model,
            toolbox_for(model.renderer) if config.operations else None,
            PixelWorld(config.world).tasks(config.split, config.n - len(scores), start=len(scores)),
            sampling=config.sampling,
            limits=config.limits,
            batch_size=config.batch_size,
            seed=config.seed,
        )
        with _Progress(console, total=config.n, scores=scores) as progress:
            write_trajectories(path, progress.watch(attempts), append=True)
    summary = summarize_scores(scores)
    (config.out / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    console.print(summary_table({config.checkpoint: summary}))
    return summary


def summary_table(summaries: Mapping[str, Summary]) -> Table:
    """One column per model, by name; shares in percent, in brackets over tasks that need the operation."""
    table = Table(title="held-out tasks, % (of those that need the operation)")
    table.add_column("")
    for name in summaries:
        table.add_column(name, justify="right")
    columns = list(summaries.values())
    table.add_row("tasks", *(str(s["n"]) for s in columns))
    table.add_row("accuracy", *(_both(s["accuracy"]) for s in columns))
    for kind in sorted({kind for s in columns for kind in s["accuracy"]["by_kind"]}):
        by_kind = (s["accuracy"]["by_kind"].get(kind) for s in columns)
        table.add_row(f"  {kind}", *("–" if shares is None else _both(shares) for shares in by_kind))
    table.add_row("RaPR", *(_both(s["rapr"]) for s in columns))
    table.add_row("failed operations", *(_percent(s["op_error_rate"]) for s in columns))
    table.add_row("operations on the cue", *(f"({_percent(s['cue_coverage'])})" for s in columns))
    return table


def rollout_seed(seed: int, task: Task) -> int:
    """63 bits from the evaluation's seed and the task's id."""
    digest = hashlib.blake2b(f"{seed}/{task.id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _attempts(
    model: Model,
    toolbox: Toolbox | None,
    tasks: Iterator[Task],
    *,
    sampling: Sampling,
    limits: Limits,
    batch_size: int,
    seed: int,
) -> Iterator[Trajectory]:
    """One scored attempt per task, a batch at a time."""
    while batch := [RolloutRequest(task, rollout_seed(seed, task)) for task in islice(tasks, batch_size)]:
        for trajectory in rollout(
            batch,
            policy=model.policy,
            renderer=model.renderer,
            toolbox=toolbox,
            sampling=sampling,
            limits=limits,
        ):
            right = is_correct(trajectory.answer, trajectory.task.answers)
            yield replace(trajectory, metrics={CORRECT_METRIC: float(right)})


def _is_right(trajectory: Trajectory) -> bool:
    return trajectory.metrics[CORRECT_METRIC] > 0.5


def _open_folder(config: EvalConfig, *, resume: bool) -> None:
    """Keep the configuration with the results, and refuse to mix those of two."""
    saved = config.out / RESOLVED_FILE
    if resume and saved.exists():
        if load_recipe(EvalConfig, saved) != config:
            raise ConfigError(
                f"{saved} differs from the recipe given; resume with the same recipe, or choose another --out"
            )
        return
    save_resolved(config, config.out)


class _Progress:
    """A bar with the accuracy and RaPR so far; collects the scores of what passes."""

    def __init__(self, console: Console, *, total: int, scores: list[Score]) -> None:
        self._scores = scores
        self._bar = Progress(
            TextColumn("eval"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}"), console=console,
        )  # fmt: skip
        self._task = self._bar.add_task("eval", total=total, completed=len(scores), shown="")

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def watch(self, trajectories: Iterator[Trajectory]) -> Iterator[Trajectory]:
        """The same trajectories; each is scored once its consumer has come back for the next."""
        for trajectory in trajectories:
            yield trajectory
            self._scores.append(score(trajectory, correct=_is_right(trajectory)))
            n = len(self._scores)
            right = sum(s.correct for s in self._scores) / n
            looking = sum(s.used_pixel_space for s in self._scores) / n
            shown = f"accuracy {right:.3f}  rapr {looking:.3f}"
            self._bar.update(self._task, completed=n, shown=shown)


def _both(shares: dict[str, float | None]) -> str:
    return f"{_percent(shares['all'])} ({_percent(shares['needs_operation'])})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
