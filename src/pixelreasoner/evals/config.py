"""The recipe of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from pixelreasoner.core.config import MAY_CHANGE, Config, Count, Options, Seed
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.evals.controls import ControlConfig
from pixelreasoner.evals.endpoint.config import EndpointConfig
from pixelreasoner.evals.judge import JudgeConfig
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.policy.base import Sampling
from pixelreasoner.rewards.scorers import ScoringConfig
from pixelreasoner.tasks.config import TasksConfig


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
    `evals.rollouts.Evaluated`; for a policy of your own, or a scripted one."""
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
    """Rollouts under way together; of an endpoint, `endpoint.concurrency` says it."""
    seed: Seed = 0
    """Of the draws, where sampling is not greedy; of random crops."""
    control: ControlConfig | None = None
    """Makes this a control of another evaluation: the model is shown something else than it asked for.
    `pixelreasoner evidence` makes all of them."""

    @model_validator(mode="after")
    def _one_is_evaluated(self) -> Self:
        if self.endpoint is not None and self.policy is not None:
            raise ValueError("give endpoint or policy: one is evaluated")
        return self

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.samples > 1 and self.interaction.sampling.temperature == 0:
            raise ValueError(
                f"samples = {self.samples} with interaction.sampling.temperature = 0: greedy rollouts of a "
                f"task are all the same; set a temperature above 0, or samples = 1"
            )
        return self

    @property
    def subject(self) -> str:
        """The name of what is evaluated."""
        return self.endpoint.model if self.endpoint is not None else self.policy or self.model.checkpoint
