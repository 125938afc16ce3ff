"""Evaluation, start to end: a checkpoint answers held-out tasks, one rollout each or several."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator
from rich.console import Console

from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.core.config import MAY_CHANGE, Config, Count, Options, Seed, differences
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.media_refs import recover
from pixelreasoner.core.progress_line import loading
from pixelreasoner.core.recipe import load_recipe
from pixelreasoner.core.records import read_trajectories, write_trajectories
from pixelreasoner.core.run_folder import CONFIG_FILE, RunFolder, keep_config, open_run, starting
from pixelreasoner.core.run_status import locked, running, state_of
from pixelreasoner.core.task import Task
from pixelreasoner.core.terminal import TerminalConsole, visible
from pixelreasoner.core.trajectory import SCORE_METRIC, Trajectory
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.env.rollout import RolloutRequest, rollout, unasked
from pixelreasoner.evals.benchmark import Benchmark, TrajectoryScore, load_benchmark
from pixelreasoner.evals.controls import ControlConfig, Prepare, requests_of
from pixelreasoner.evals.judge import JudgeConfig, judge_score
from pixelreasoner.evals.metrics import Summary, score, unanswered_note
from pixelreasoner.evals.progress import EvalProgress
from pixelreasoner.evals.protocol import model_protocol
from pixelreasoner.evals.results import keep_protocol, read_without_operations, write_summary
from pixelreasoner.evals.scores import VISUAL_TOKENS_METRIC, Score, visual_tokens
from pixelreasoner.evals.seconds import timed
from pixelreasoner.evals.tables import summary_table
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.policy.base import Policy, Sampling
from pixelreasoner.rewards.scorers import ReferenceCheck, Scorer, ScoringConfig, build_scorer
from pixelreasoner.tasks.config import TasksConfig, build_tasks
from pixelreasoner.tasks.source import TaskSource


class EvalConfig(Config):
    """What to evaluate, and on what."""

    out: Annotated[Path, MAY_CHANGE]
    """The folder of the results: `trajectories.jsonl` and its pictures, `summary.json`, this recipe."""
    model: ModelConfig = ModelConfig()
    """What is evaluated."""
    interaction: Interaction = Interaction(sampling=Sampling(temperature=0.0))
    """Greedy, as in the paper."""
    tasks: TasksConfig = TasksConfig(split="test")
    """What is asked."""
    scoring: ScoringConfig = ScoringConfig()
    """Judges the answers."""
    benchmark: str | None = None
    """Takes the place of `tasks` and `scoring`: a registered name, or package.module:object."""
    benchmark_options: Options = Field(default_factory=dict[str, Any])
    """Arguments of the benchmark."""
    incomplete: bool = False
    """Evaluate a benchmark whose table lacks rows, or has more, all the same; the summary names them."""
    judge: JudgeConfig | None = None
    """A language model that judges open answers, as a score of its own beside the standard one."""
    n: Annotated[Count | None, MAY_CHANGE] = None
    """Tasks; None takes all of them."""
    samples: Count = 1
    """Rollouts per task, each with a seed of its own, for Avg@k and pass@k; needs a temperature above 0."""
    without_operations: Annotated[Path | None, MAY_CHANGE] = None
    """An evaluation of the same checkpoint and tasks with `interaction.operations = []`: the questions that
    it got right are the easy ones of RaPR. None: those that are known to need no operation."""
    batch_size: Count = 32
    """Rollouts under way together."""
    seed: Seed = 0
    """Of the draws, where sampling is not greedy; of random crops."""
    control: ControlConfig | None = None
    """Makes this a control of another evaluation: the model is shown something else than it asked for.
    `pixelreasoner evidence` makes all of them."""

    @model_validator(mode="after")
    def _samples_differ(self) -> EvalConfig:
        if self.samples > 1 and self.interaction.sampling.temperature == 0:
            raise ValueError(
                f"samples = {self.samples} with interaction.sampling.temperature = 0: greedy rollouts of a "
                f"task are all the same; set a temperature above 0, or samples = 1"
            )
        return self


@dataclass(frozen=True)
class Evaluated:
    """Something to evaluate: what samples, and how it is spoken to."""

    policy: Policy
    renderer: Renderer
    forget: Callable[[], object] = lambda: None
    """Drops what the policy keeps from one batch to the next, so that a batch does not depend on others."""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the protocol says of the policy; ready for JSON."""


def load(config: EvalConfig) -> Evaluated:
    """The model of a recipe, in this process.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    # torch takes seconds to import, and an evaluation of another policy needs none.
    from pixelreasoner.models.facts import model_facts
    from pixelreasoner.models.features import FeatureStore
    from pixelreasoner.models.loader import load_model
    from pixelreasoner.policy.group import GroupPolicy

    model = load_model(config.model, training=False)
    model.use_wording(config.interaction.wording)
    features = FeatureStore(model, max_bytes=config.model.feature_bytes)
    policy = GroupPolicy(model, features=features, kv_cache_bytes=config.model.kv_cache_bytes)
    return Evaluated(policy, model.renderer, forget=features.clear, facts=model_facts(config.model, model))


def run(
    config: EvalConfig, *, resume: bool = False, load: Callable[[EvalConfig], Evaluated] = load
) -> Summary:
    """Evaluate, and write `trajectories.jsonl` and `summary.json` into the folder of `config`.

    Of `summary.json`, only what is under `host` (machine, times) differs from run to run.

    `resume` keeps the rollouts that an interrupted run has written and makes those that are missing: the same
    ones, log-probabilities included, as a run that was never interrupted (on a CPU).

    Raises:
        ConfigError: the folder holds a run and `resume` is off, or one of another recipe, or more rollouts
            than `n`; or the tasks never end and `n` is not set.
        CheckpointError: the checkpoint cannot be loaded.
    """
    config, benchmark = _resolved(config)
    n = _count(config, benchmark.tasks)
    without_operations = read_without_operations(config.without_operations)
    if config.n is not None and n < config.n:
        TerminalConsole(stderr=True).print(
            f"eval: n = {config.n}, and the tasks are {n}: all of them", highlight=False
        )
    with locked(config.out):
        folder = open_run(config.out, config, resume=resume)
        with running(folder.path, "eval", n * config.samples), starting(folder):
            scores = _evaluate(config, folder, benchmark, n * config.samples, load)
            named = None if config.benchmark is None else benchmark
            summary = write_summary(config, folder, named, scores, without_operations)
    console = TerminalConsole(stderr=True)
    console.print(summary_table({config.model.checkpoint: summary}))
    if (note := unanswered_note(scores)) is not None:
        console.print(f"eval: {note}", markup=False, highlight=False, style="yellow")
    return summary


def _evaluate(
    config: EvalConfig,
    folder: RunFolder,
    benchmark: Benchmark,
    n: int,
    load: Callable[[EvalConfig], Evaluated],
) -> list[Score]:
    """Make the rollouts of `n` that are missing; the scores of all."""
    write_trajectories(folder.trajectories, (), append=True)  # makes it end at the end of a line
    recover(folder.trajectories)
    scores = [score(t) for t in read_trajectories(folder.trajectories)]
    if len(scores) > n:
        raise ConfigError(
            f"{folder.path} holds {len(scores)} rollouts: n = {n // config.samples} is fewer; "
            f"choose another --out"
        )
    keep_config(folder, config)
    console = TerminalConsole(stderr=True)
    if len(scores) < n:
        prepared = _prepared(config)
        with loading(config.model.checkpoint, console):
            evaluated = load(config)
        config.interaction.check_lengths(evaluated.renderer.max_tokens)
        protocol = model_protocol(evaluated.renderer, config.interaction, evaluated.facts)
        keep_protocol(folder, protocol, console, begins=not scores)
        # What else is in a batch changes log-probabilities by rounding: one that was cut is made again whole.
        start = len(scores) // config.batch_size * config.batch_size
        first, skip = divmod(start, config.samples)
        made = rollouts(
            evaluated,
            config.interaction,
            reported(benchmark.tasks.take(first, n // config.samples - first), benchmark.scorer, console),
            benchmark.scorer,
            scores=benchmark.scores,
            batch_size=config.batch_size,
            seed=config.seed,
            samples=config.samples,
            skip=skip,
            prepare=prepared,
        )
        made = timed(made, folder.path, first=start, batch_size=config.batch_size)
        missing = islice(made, len(scores) - start, None)
        missing = asked(missing, evaluated.renderer, config.interaction, console)
        with EvalProgress(console, total=n, scores=scores) as progress:
            write_trajectories(folder.trajectories, progress.watch(missing), append=True)
    return scores


def reported(tasks: Iterator[Task], scorer: Scorer, console: Console) -> Iterator[Task]:
    """The tasks; those on which no model can be right are named as they pass (`ReferenceCheck`)."""
    check = ReferenceCheck(scorer)
    for task in tasks:
        for message in check.messages([task]):
            console.print(f"eval: {visible(message)}", markup=False, highlight=False)
        yield task


def asked(
    made: Iterator[Trajectory], renderer: Renderer, interaction: Interaction, console: Console
) -> Iterator[Trajectory]:
    """The rollouts; those whose question the model could not read are named as they pass: they score 0."""
    for trajectory in made:
        if (problem := unasked(trajectory, renderer, interaction.limits)) is not None:
            console.print(
                f"eval: task {trajectory.task.id} scores 0: {problem}", markup=False, highlight=False
            )
        yield trajectory


def rollouts(
    evaluated: Evaluated,
    interaction: Interaction,
    tasks: Iterator[Task],
    scorer: Scorer,
    *,
    scores: Mapping[str, TrajectoryScore] | None = None,
    batch_size: int = 32,
    seed: int = 0,
    samples: int = 1,
    skip: int = 0,
    prepare: Prepare = RolloutRequest,
) -> Iterator[Trajectory]:
    """`samples` scored rollouts per task, in order, a batch at a time.

    A rollout's draws depend on its task and the number of its sample only, its log-probabilities on its batch
    only. The first `skip` samples of the first task are left out. `scores` are given beside that of the
    scorer, by name; None of one means that the rollout has none. `prepare` says what is rolled out for a task
    with a seed; a trajectory that it gives is taken as it is.
    """
    renderer = evaluated.renderer
    toolbox = interaction.toolbox(renderer.vision.unit, renderer.chat_format)
    entries = (prepare(task, rollout_seed(seed, task, sample)) for task in tasks for sample in range(samples))
    entries = islice(entries, skip, None)
    while batch := list(islice(entries, batch_size)):
        made = iter(
            rollout(
                [entry for entry in batch if isinstance(entry, RolloutRequest)],
                policy=evaluated.policy,
                renderer=renderer,
                toolbox=toolbox,
                sampling=interaction.sampling,
                limits=interaction.limits,
            )
        )
        for entry in batch:
            trajectory = next(made) if isinstance(entry, RolloutRequest) else entry
            value = scorer(trajectory.answer, trajectory.task.answers, trajectory.task)
            n_visual = float(visual_tokens(trajectory, renderer.vision))
            found = {name: judge(trajectory) for name, judge in (scores or {}).items()}
            further = {name: value for name, value in found.items() if value is not None}
            metrics = {SCORE_METRIC: value, VISUAL_TOKENS_METRIC: n_visual, **further}
            yield replace(trajectory, metrics=metrics)
        evaluated.forget()


def rollout_seed(seed: int, task: Task, sample: int = 0) -> int:
    """63 bits from the evaluation's seed, the task's id, and which of its samples it is, from 0."""
    salt = sample.to_bytes(hashlib.blake2b.SALT_SIZE, "little")
    digest = hashlib.blake2b(f"{seed}/{task.id}".encode(), digest_size=8, salt=salt).digest()
    return int.from_bytes(digest, "big") >> 1


def _prepared(config: EvalConfig) -> Prepare:
    """What becomes of each task: a plain rollout, or that of a control.

    Raises:
        ConfigError: there is no such control, or the evaluation it is a control of is another one.
        RecordError: that evaluation cannot be read.
    """
    if (control := config.control) is None:
        return RolloutRequest
    if state_of(control.plain) != "finished" or not (control.plain / CONFIG_FILE).is_file():
        raise ConfigError(
            f"control.plain = {control.plain} holds no finished evaluation; evaluate there first"
        )
    saved = load_recipe(EvalConfig, control.plain / CONFIG_FILE)
    same = config.model_copy(update={"control": None})
    if fixed := [str(found) for found in differences(saved, same) if not found.may_change]:
        raise ConfigError(
            f"the evaluation in {control.plain} differs from this control of it in {', '.join(fixed)}; "
            f"evaluate it again with the same recipe"
        )
    return requests_of(control)


def _resolved(config: EvalConfig) -> tuple[EvalConfig, Benchmark]:
    """The configuration with the benchmark's wording under the recipe's own; the tasks and their scores."""
    if config.benchmark is None:
        benchmark = Benchmark(config.tasks.source, build_tasks(config.tasks), build_scorer(config.scoring))
    else:
        benchmark = load_benchmark(config.benchmark, config.benchmark_options, incomplete=config.incomplete)
        wording = benchmark.wording.model_copy(update=config.interaction.wording.given)
        interaction = config.interaction.model_copy(update={"wording": wording})
        config = config.model_copy(update={"interaction": interaction})
    if config.judge is not None:
        judge = judge_score(config.judge, benchmark.scorer)
        benchmark = replace(benchmark, scores={**benchmark.scores, "judge": judge})
    return config, benchmark


def _count(config: EvalConfig, tasks: TaskSource) -> int:
    if tasks.size is None and config.n is None:
        raise ConfigError(f"the tasks of '{config.tasks.source}' never end; say how many to take: n=300")
    size = tasks.size if tasks.size is not None else config.n
    assert size is not None
    return min(size, config.n or size)
