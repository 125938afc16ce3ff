"""The recipe of a synthesis run.

Trajectories about several sets of seeds, in given proportions::

    [[seeds]]
    weight = 3
    tasks = { source = "sa-1b", options = { path = "data/sa-1b" } }

    [[seeds]]
    tasks = { source = "star", options = { path = "data/star" } }
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from pixelreasoner.core.config import MAY_CHANGE, MOST, Config, Count, Seed
from pixelreasoner.endpoint.ledger import Budget
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.rewards.scorers import ScoringConfig
from pixelreasoner.synth.chat_teacher import TeacherServerConfig
from pixelreasoner.synth.compose import ErrorMask
from pixelreasoner.synth.difficulty import StudentConfig
from pixelreasoner.synth.judging import CropJudgeConfig
from pixelreasoner.synth.mix import Mix
from pixelreasoner.synth.ocr import OcrConfig
from pixelreasoner.synth.slots import Seeds
from pixelreasoner.synth.teacher import TeacherConfig
from pixelreasoner.tasks.config import TasksConfig, build_tasks


class SeedSet(Config):
    """Tasks that trajectories are about, and their share of the trajectories."""

    weight: float = Field(default=1.0, gt=0, le=MOST)
    """Relative to the other sets' weights."""
    tasks: TasksConfig
    """A section like `tasks` itself. A set may be without questions (`sa-1b`, `media-folder`): the teacher
    writes them."""


class SynthConfig(Config):
    """What to synthesise. The defaults are the paper's."""

    out: Annotated[Path, MAY_CHANGE]
    """The folder of the results: `trajectories.jsonl`, its pictures, what was rejected, and this
    configuration."""
    checkpoint: str = "nano"
    """The model to be taught: a folder, a shipped checkpoint's name, or a hub id. How it sees, points and
    calls is read from it; its weights are not."""
    interaction: Interaction = Interaction()
    """The operations and the wording of what is written; its limits and sampling are not used here."""
    tasks: TasksConfig = TasksConfig(split="train")
    """Where the tasks come from. The mix decides how many need the operation, not the source."""
    seeds: tuple[SeedSet, ...] = ()
    """Several sets of tasks in given proportions, in place of `tasks`."""
    scoring: ScoringConfig = ScoringConfig()
    """Judges the answers of what is written: a trajectory whose answer is not right is rejected."""
    teacher: TeacherConfig = TeacherConfig()
    """What writes the words of a trajectory, where no server does."""
    chat_teacher: TeacherServerConfig | None = None
    """A language model as the teacher, behind an endpoint, in place of `teacher`: it writes the words of
    trajectories, and the questions of seeds that have none."""
    student: StudentConfig | None = None
    """The model to be taught, behind an endpoint: what it answers without operations says how hard a task
    is, and text-only trajectories are its own words. None: how hard it is is not known, and the teacher
    writes those."""
    ocr: OcrConfig | None = None
    """Reads the text of the crops on the cue, and turns down tasks whose answer is not in it; needs the extra
    `ocr`."""
    judge: CropJudgeConfig | None = None
    """A model that judges whether the answer follows from the crop, behind an endpoint."""
    budget: Annotated[Budget, MAY_CHANGE] = Budget()
    """What all servers together may cost, until the run stops; it goes on with more."""
    max_failures: Annotated[Count, MAY_CHANGE] = 20
    """After so many trajectories for which a server gave no reply at all, no other one is begun."""
    n: Count = 7500
    """Trajectories."""
    mix: Mix = Mix()
    """How many there are of each template."""
    tries: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Tasks that are tried for one trajectory; after so many that were rejected its place stays empty."""
    error_mask: ErrorMask = "operation"
    """What is not learned of a message with a deliberately wrong operation: the call (the paper's), or the
    whole message (an ablation)."""
    coordinate_step: float = Field(default=20, gt=0, le=1000)
    """Coordinates are multiples of it, in the unit of the model's family."""
    clearance: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """What wrong crops keep from the cue, as a share of the picture's sides: for training code that enlarges
    every crop afterwards, as much as it adds."""
    seed: Seed = 0
    """Of every random draw."""
    workers: Annotated[int, Field(ge=1, le=1024), MAY_CHANGE] = 1
    """Processes that compose where no server is asked; the result does not depend on it."""

    @model_validator(mode="after")
    def _tasks_are_given_once(self) -> Self:
        if self.seeds and self.tasks != type(self).model_fields["tasks"].default:
            raise ValueError("'tasks' beside 'seeds' says nothing; give it as one of the sets")
        return self

    @property
    def sets(self) -> tuple[SeedSet, ...]:
        """The sets of seeds: those given, or `tasks` alone."""
        return self.seeds or (SeedSet(tasks=self.tasks),)


def build_seeds(config: SynthConfig) -> tuple[Seeds, ...]:
    """The sets of a recipe.

    Raises:
        ConfigError: there is no such source, kind or option, no task is left, or tasks are without a question
            and there is no `chat_teacher` that could write one.
        RecordError: a task file cannot be read.
    """
    asks = config.chat_teacher is not None
    return tuple(Seeds(build_tasks(part.tasks, seeds=asks), part.weight) for part in config.sets)
