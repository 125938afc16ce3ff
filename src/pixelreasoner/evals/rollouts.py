"""What makes the rollouts of an evaluation: a model in this process, or a served one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

from rich.console import Console

from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.progress_line import loading
from pixelreasoner.core.registry import Registry, check_call
from pixelreasoner.core.run_folder import RunFolder
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import SCORE_METRIC, Trajectory
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.env.rollout import RolloutRequest, rollout, unasked
from pixelreasoner.evals.benchmark import Benchmark, TrajectoryScore
from pixelreasoner.evals.config import EvalConfig
from pixelreasoner.evals.controls import Prepare
from pixelreasoner.evals.endpoint.config import EndpointConfig
from pixelreasoner.evals.endpoint.run import endpoint_rollouts, serve
from pixelreasoner.evals.protocol import Protocol as EvaluationProtocol
from pixelreasoner.evals.protocol import endpoint_protocol, model_protocol
from pixelreasoner.evals.scores import VISUAL_TOKENS_METRIC, visual_tokens
from pixelreasoner.evals.seconds import timed
from pixelreasoner.policy.base import Policy
from pixelreasoner.rewards.scorers import Scorer


@dataclass(frozen=True)
class Evaluated:
    """Something to evaluate: what samples, and how it is spoken to."""

    policy: Policy
    renderer: Renderer
    forget: Callable[[], object] = lambda: None
    """Drops what the policy keeps from one batch to the next, so that a batch does not depend on others."""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the protocol says of the policy; ready for JSON."""


@dataclass(frozen=True)
class Subject:
    """What is evaluated, ready to be asked."""

    protocol: EvaluationProtocol
    """What is known of it (`evals.protocol`)."""
    make: MakesRollouts


class MakesRollouts(Protocol):
    """Makes the rollouts of an evaluation that are missing."""

    def __call__(self, tasks: Callable[[int], Iterator[Task]], done: int) -> Iterator[Trajectory]:
        """The scored rollouts from number `done` on, in order; `tasks(k)` are the tasks from number k on."""
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
            raise ConfigError(f"policy '{config.policy}' returns no pixelreasoner.evals.rollouts.Evaluated")
        return made
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


def in_process(
    config: EvalConfig,
    benchmark: Benchmark,
    prepare: Prepare,
    console: Console,
    load: Callable[[EvalConfig], Evaluated],
) -> Subject:
    """A model in this process, a batch of rollouts at a time.

    Raises:
        CheckpointError: it cannot be loaded.
        ConfigError: the limits of the recipe are above the model's.
    """
    with loading(config.subject, console):
        evaluated = load(config)
    config.interaction.check_lengths(evaluated.renderer.max_tokens)

    def make(tasks: Callable[[int], Iterator[Task]], done: int) -> Iterator[Trajectory]:
        # What else is in a batch changes log-probabilities by rounding: one that was cut is made again whole.
        start = done // config.batch_size * config.batch_size
        first, skip = divmod(start, config.samples)
        made = rollouts(
            evaluated,
            config.interaction,
            tasks(first),
            benchmark.scorer,
            scores=benchmark.scores,
            batch_size=config.batch_size,
            seed=config.seed,
            samples=config.samples,
            skip=skip,
            prepare=prepare,
        )
        made = timed(made, config.out, first=start, batch_size=config.batch_size)
        return asked(islice(made, done - start, None), evaluated.renderer, config.interaction, console)

    return Subject(model_protocol(evaluated.renderer, config.interaction, evaluated.facts), make)


def served(
    endpoint: EndpointConfig,
    config: EvalConfig,
    benchmark: Benchmark,
    prepare: Prepare,
    folder: RunFolder,
    console: Console,
) -> Subject:
    """A served model; as many conversations at a time as `endpoint` says.

    Raises:
        MissingExtraError: the package openai is not installed.
        ConfigError: the key is missing, or an operation of the recipe cannot be used.
        CheckpointError: `endpoint.checkpoint` cannot be read.
    """
    model = serve(endpoint, config.interaction)

    def make(tasks: Callable[[int], Iterator[Task]], done: int) -> Iterator[Trajectory]:
        first, skip = divmod(done, config.samples)
        entries = islice(_prepared(tasks(first), prepare, config.seed, config.samples), skip, None)
        made = endpoint_rollouts(model, endpoint, entries, first=done, folder=folder.waiting, console=console)
        made = timed(made, config.out, first=done, batch_size=config.batch_size)
        return (scored(trajectory, benchmark.scorer, benchmark.scores) for trajectory in made)

    return Subject(endpoint_protocol(endpoint.model, model.spoken, model.toolbox), make)


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
    entries = islice(_prepared(tasks, prepare, seed, samples), skip, None)
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
            n_visual = float(visual_tokens(trajectory, renderer.vision))
            yield scored(replace(trajectory, metrics={VISUAL_TOKENS_METRIC: n_visual}), scorer, scores)
        evaluated.forget()


def scored(
    trajectory: Trajectory, scorer: Scorer, scores: Mapping[str, TrajectoryScore] | None = None
) -> Trajectory:
    """The rollout with its scores beside the metrics it has."""
    value = scorer(trajectory.answer, trajectory.task.answers, trajectory.task)
    found = {name: judge(trajectory) for name, judge in (scores or {}).items()}
    further = {name: value for name, value in found.items() if value is not None}
    return replace(trajectory, metrics={**trajectory.metrics, SCORE_METRIC: value, **further})


def rollout_seed(seed: int, task: Task, sample: int = 0) -> int:
    """63 bits from the evaluation's seed, the task's id, and which of its samples it is, from 0."""
    salt = sample.to_bytes(hashlib.blake2b.SALT_SIZE, "little")
    digest = hashlib.blake2b(f"{seed}/{task.id}".encode(), digest_size=8, salt=salt).digest()
    return int.from_bytes(digest, "big") >> 1


def _prepared(
    tasks: Iterator[Task], prepare: Prepare, seed: int, samples: int
) -> Iterator[RolloutRequest | Trajectory]:
    """What is rolled out, `samples` times for each task."""
    return (prepare(task, rollout_seed(seed, task, sample)) for task in tasks for sample in range(samples))
