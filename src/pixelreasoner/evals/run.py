"""Evaluation, start to end: a checkpoint answers held-out tasks, one rollout each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Protocol, Self

from pydantic import Field, model_validator
from rich.console import Console

from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.core.config import MAY_CHANGE, Config, Count, Options, Seed
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.files import write_text
from pixelreasoner.core.media_refs import recover
from pixelreasoner.core.progress_line import loading
from pixelreasoner.core.records import read_trajectories, write_trajectories
from pixelreasoner.core.registry import Registry, check_call
from pixelreasoner.core.run_folder import RunFolder, keep_config, open_run, starting
from pixelreasoner.core.run_status import locked, running
from pixelreasoner.core.task import Task
from pixelreasoner.core.terminal import TerminalConsole, visible
from pixelreasoner.core.trajectory import SCORE_METRIC, Trajectory
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.env.rollout import RolloutRequest, rollout, unasked
from pixelreasoner.evals.benchmark import load_benchmark
from pixelreasoner.evals.endpoint.config import EndpointConfig
from pixelreasoner.evals.endpoint.run import endpoint_rollouts, serve
from pixelreasoner.evals.endpoint.waiting import clear
from pixelreasoner.evals.metrics import Summary, score, summarize_scores, unanswered_note
from pixelreasoner.evals.progress import EvalProgress
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
    endpoint: EndpointConfig | None = None
    """Takes the place of `model`: a model behind an OpenAI-compatible chat endpoint."""
    policy: str | None = None
    """Takes the place of `model`: package.module:function, which is given this recipe and returns an
    `evals.run.Evaluated`; for a policy of your own, or a scripted one."""
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
    n: Annotated[Count | None, MAY_CHANGE] = None
    """Tasks; None takes all of them."""
    batch_size: Count = 32
    """Rollouts under way together; of an endpoint, `endpoint.concurrency` says it."""
    seed: Seed = 0
    """Of the draws, where sampling is not greedy."""

    @model_validator(mode="after")
    def _one_is_evaluated(self) -> Self:
        if self.endpoint is not None and self.policy is not None:
            raise ValueError("give endpoint or policy: one is evaluated")
        return self

    @property
    def subject(self) -> str:
        """The name of what is evaluated."""
        return self.endpoint.model if self.endpoint is not None else self.policy or self.model.checkpoint


@dataclass(frozen=True)
class Evaluated:
    """Something to evaluate: what samples, and how it is spoken to."""

    policy: Policy
    renderer: Renderer
    forget: Callable[[], object] = lambda: None
    """Drops what the policy keeps from one batch to the next, so that a batch does not depend on others."""


class MakesRollouts(Protocol):
    """Makes the rollouts of an evaluation that are missing, with a model in this process or a served one."""

    def __call__(self, tasks: Callable[[int], Iterator[Task]], done: int) -> Iterator[Trajectory]:
        """A scored rollout of each task from number `done` on, in order; `tasks(k)` are those from k on."""
        ...


def load(config: EvalConfig) -> Evaluated:
    """The model of a recipe, in this process; or what its `policy` makes.

    Raises:
        CheckpointError: it cannot be loaded.
        ConfigError: `policy` names nothing that can be evaluated.
    """
    if config.policy is not None:
        make: Callable[[EvalConfig], Evaluated] = Registry("policy", {}).find(config.policy)
        check_call(f"policy '{config.policy}'", make, config)
        if not isinstance(made := make(config), Evaluated):
            raise ConfigError(f"policy '{config.policy}' returns no pixelreasoner.evals.run.Evaluated")
        return made
    # torch takes seconds to import, and an evaluation of another policy needs none.
    from pixelreasoner.models.features import FeatureStore
    from pixelreasoner.models.loader import load_model
    from pixelreasoner.policy.group import GroupPolicy

    model = load_model(config.model, training=False)
    model.use_wording(config.interaction.wording)
    features = FeatureStore(model, max_bytes=config.model.feature_bytes)
    policy = GroupPolicy(model, features=features, kv_cache_bytes=config.model.kv_cache_bytes)
    return Evaluated(policy, model.renderer, forget=features.clear)


def run(
    config: EvalConfig, *, resume: bool = False, load: Callable[[EvalConfig], Evaluated] = load
) -> Summary:
    """Evaluate, and write `trajectories.jsonl` and `summary.json` into the folder of `config`.

    `resume` keeps the rollouts that an interrupted run has written and makes those that are missing: the same
    ones, log-probabilities included, as a run that was never interrupted (on a CPU).

    Raises:
        ConfigError: the folder holds a run and `resume` is off, or one of another recipe, or more rollouts
            than `n`; or the tasks never end and `n` is not set.
        CheckpointError: the checkpoint cannot be loaded.
        EndpointError: the server refuses requests, or some got no reply.
    """
    config, tasks, scorer = _resolved(config)
    n = _count(config, tasks)
    if config.n is not None and n < config.n:
        TerminalConsole(stderr=True).print(
            f"eval: n = {config.n}, and the tasks are {n}: all of them", highlight=False
        )
    with locked(config.out):
        folder = open_run(config.out, config, resume=resume)
        with running(folder.path, "eval", n), starting(folder):
            return _evaluate(config, folder, tasks, scorer, n, load)


def _evaluate(
    config: EvalConfig,
    folder: RunFolder,
    tasks: TaskSource,
    scorer: Scorer,
    n: int,
    load: Callable[[EvalConfig], Evaluated],
) -> Summary:
    write_trajectories(folder.trajectories, (), append=True)  # makes it end at the end of a line
    recover(folder.trajectories)
    scores = [score(t) for t in read_trajectories(folder.trajectories)]
    if len(scores) > n:
        raise ConfigError(
            f"{folder.path} holds {len(scores)} rollouts: n = {n} is fewer; choose another --out"
        )
    keep_config(folder, config)
    console = TerminalConsole(stderr=True)
    if len(scores) < n:
        if config.endpoint is not None:
            make = _served(config.endpoint, config, folder, scorer, console)
        else:
            make = _in_process(config, scorer, console, load)
        missing = make(lambda k: reported(tasks.take(k, n - k), scorer, console), len(scores))
        with EvalProgress(console, total=n, scores=scores) as progress:
            write_trajectories(folder.trajectories, progress.watch(missing), append=True)
    clear(folder.waiting)
    summary = summarize_scores(scores)
    write_text(folder.summary, json.dumps(summary, indent=2) + "\n")
    console.print(summary_table({config.subject: summary}))
    if (note := unanswered_note(scores)) is not None:
        console.print(f"eval: {note}", markup=False, highlight=False, style="yellow")
    return summary


def _in_process(
    config: EvalConfig, scorer: Scorer, console: Console, load: Callable[[EvalConfig], Evaluated]
) -> MakesRollouts:
    with loading(config.subject, console):
        evaluated = load(config)
    config.interaction.check_lengths(evaluated.renderer.max_tokens)

    def make(tasks: Callable[[int], Iterator[Task]], done: int) -> Iterator[Trajectory]:
        # What else is in a batch changes log-probabilities by rounding: one that was cut is made again whole.
        start = done // config.batch_size * config.batch_size
        made = rollouts(
            evaluated,
            config.interaction,
            tasks(start),
            scorer,
            batch_size=config.batch_size,
            seed=config.seed,
        )
        return asked(islice(made, done - start, None), evaluated.renderer, config.interaction, console)

    return make


def _served(
    endpoint: EndpointConfig, config: EvalConfig, folder: RunFolder, scorer: Scorer, console: Console
) -> MakesRollouts:
    served = serve(endpoint, config.interaction)

    def make(tasks: Callable[[int], Iterator[Task]], done: int) -> Iterator[Trajectory]:
        requests = (RolloutRequest(task, rollout_seed(config.seed, task)) for task in tasks(done))
        made = endpoint_rollouts(
            served, endpoint, requests, first=done, folder=folder.waiting, console=console
        )
        return (scored(trajectory, scorer) for trajectory in made)

    return make


def scored(trajectory: Trajectory, scorer: Scorer) -> Trajectory:
    """The rollout with its score beside the metrics it has."""
    value = scorer(trajectory.answer, trajectory.task.answers, trajectory.task)
    return replace(trajectory, metrics={**trajectory.metrics, SCORE_METRIC: value})


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
    batch_size: int = 32,
    seed: int = 0,
) -> Iterator[Trajectory]:
    """One scored rollout per task, in order, a batch at a time.

    A rollout's draws depend on its task only, its log-probabilities on its batch only.
    """
    renderer = evaluated.renderer
    toolbox = interaction.toolbox(renderer.vision.unit, renderer.chat_format)
    while batch := [RolloutRequest(task, rollout_seed(seed, task)) for task in islice(tasks, batch_size)]:
        for trajectory in rollout(
            batch,
            policy=evaluated.policy,
            renderer=renderer,
            toolbox=toolbox,
            sampling=interaction.sampling,
            limits=interaction.limits,
        ):
            yield scored(trajectory, scorer)
        evaluated.forget()


def rollout_seed(seed: int, task: Task) -> int:
    """63 bits from the evaluation's seed and the task's id."""
    digest = hashlib.blake2b(f"{seed}/{task.id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _resolved(config: EvalConfig) -> tuple[EvalConfig, TaskSource, Scorer]:
    """The configuration with the benchmark's wording under the recipe's own, the tasks and their scorer."""
    if config.benchmark is None:
        return config, build_tasks(config.tasks), build_scorer(config.scoring)
    benchmark = load_benchmark(config.benchmark, config.benchmark_options)
    wording = benchmark.wording.model_copy(update=config.interaction.wording.given)
    interaction = config.interaction.model_copy(update={"wording": wording})
    return config.model_copy(update={"interaction": interaction}), benchmark.tasks, benchmark.scorer


def _count(config: EvalConfig, tasks: TaskSource) -> int:
    if tasks.size is None and config.n is None:
        raise ConfigError(f"the tasks of '{config.tasks.source}' never end; say how many to take: n=300")
    size = tasks.size if tasks.size is not None else config.n
    assert size is not None
    return min(size, config.n or size)
