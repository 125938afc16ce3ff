"""Evaluation while a run goes on: held-out tasks every k steps, by the metrics of training under `eval_`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.core.config import Config, Count, Seed
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.localisation import Localisation, localise
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.env.rollout import RolloutRequest, rollout, turn_seed
from pixelreasoner.learn.processes import ONE_PROCESS, Processes
from pixelreasoner.ops.toolbox import Toolbox
from pixelreasoner.policy.base import Policy, Sampling
from pixelreasoner.rewards.scorers import ReferenceCheck, Scorer
from pixelreasoner.tasks.config import TasksConfig, build_tasks
from pixelreasoner.train.rl_metrics import trajectory_metrics


class InRunEvalConfig(Config):
    """What is evaluated every `eval_every` steps.

    Operations, limits, wording and scoring are those of training.
    """

    tasks: TasksConfig = TasksConfig(split="test")
    """What is asked; it should not be trained on."""
    n: Count = 100
    """Tasks, the first of the source; one rollout each."""
    sampling: Sampling | None = None
    """None: greedy, with messages as long as in training."""
    seed: Seed = 0
    """Of the draws, where sampling is not greedy."""


class InRunEvaluator:
    """Rolls the same tasks out each time it is called; it changes nothing of the run."""

    def __init__(
        self,
        config: InRunEvalConfig,
        *,
        policy: Policy,
        renderer: Renderer,
        toolbox: Toolbox | None,
        interaction: Interaction,
        scorer: Scorer,
        batch_size: int,
        processes: Processes = ONE_PROCESS,
    ) -> None:
        """An evaluation by the parts of a trainer, `batch_size` rollouts together on each process.

        Raises:
            ConfigError: the tasks cannot be used, or messages may be longer than what the model can read.
            RecordError: a task file cannot be read.
        """
        self._config, self._policy, self._scorer = config, policy, scorer
        self._renderer, self._toolbox, self._limits = renderer, toolbox, interaction.limits
        greedy = interaction.sampling.changed(temperature=0.0)
        self._sampling = config.sampling or greedy
        self._sampling.check_length(renderer.max_tokens)
        self._batch_size, self._processes = batch_size, processes
        self._references: ReferenceCheck | None = ReferenceCheck(scorer)
        """Of the first evaluation; the tasks are the same in all."""
        self._messages: list[str] = []
        self._source = build_tasks(config.tasks)
        if self._source.size is not None and self._source.size < config.n:
            raise ConfigError(f"eval.n is {config.n}, and eval.tasks has {self._source.size}")

    def __call__(self) -> dict[str, float]:
        """The metrics of one evaluation; of several processes, each rolls out its share of the tasks."""
        own: list[tuple[Trajectory, float, Localisation]] = []
        with self._processes.agreed():
            for trajectory in self._rollouts():
                place, small = localise(trajectory), _without_pictures(trajectory)
                own.append((small, self._scorer(small.answer, small.task.answers, small.task), place))
        found = self._processes.gather_shares(own)
        if self._references is not None:
            self._messages += self._references.messages([trajectory.task for trajectory, _, _ in found])
        self._references = None
        rollouts, scores, places = (list(column) for column in zip(*found, strict=True))
        metrics = trajectory_metrics(rollouts, scores, places)
        return {f"eval_{name}": value for name, value in metrics.items()}

    def messages(self) -> list[str]:
        """What there is to say of the tasks since the last call."""
        messages, self._messages = self._messages, []
        return [f"eval: {message}" for message in messages]

    def _rollouts(self) -> Iterator[Trajectory]:
        """One rollout per task of this process's share, a batch at a time."""
        size = self._batch_size * self._processes.size
        for start in range(0, self._config.n, size):
            tasks = self._source.take(start, min(size, self._config.n - start))
            own = self._processes.share(list(enumerate(tasks, start=start)))
            yield from rollout(
                [RolloutRequest(task, turn_seed(self._config.seed, i)) for i, task in own],
                policy=self._policy,
                renderer=self._renderer,
                toolbox=self._toolbox,
                sampling=self._sampling,
                limits=self._limits,
            )


def _without_pictures(trajectory: Trajectory) -> Trajectory:
    """What is counted of a trajectory: the pictures of all of them would fill the memory."""
    turns = tuple(
        replace(
            turn,
            observation=None if turn.observation is None else replace(turn.observation, images=()),
            observed=None,
        )
        for turn in trajectory.turns
    )
    return replace(trajectory, task=replace(trajectory.task, media=()), turns=turns, prompt=None)
