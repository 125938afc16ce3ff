"""What the evidence needs of one rollout: a few facts, without its tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.core.localisation import Localisation, localise
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import SCORE_METRIC, Trajectory
from pixelreasoner.evals.box_mapping import BoxReading, box_readings
from pixelreasoner.evals.swaps import RIGHT


@dataclass(frozen=True, eq=False)
class Outcome:
    """One rollout of one task, in a plain evaluation or in a control of it."""

    task: Task
    score: float
    """How right the answer is, 0 to 1."""
    answer: str | None
    called: bool
    """Whether it asked for an operation, carried out or not."""
    looked: bool
    """Whether it read the result of one, or what was shown in its place."""
    replaced: bool
    """Whether it was shown something else."""
    donor: str
    """Of a swap: the id of the task whose picture it was shown; empty otherwise."""
    localisation: Localisation
    """Where its operations looked."""
    boxes: tuple[BoxReading, ...]
    """Its boxes beside the cue's."""

    @property
    def right(self) -> bool:
        """Whether the answer counts as right: a score of at least `swaps.RIGHT`, as ANLS has it."""
        return self.score >= RIGHT

    @property
    def needs_operation(self) -> bool:
        return bool(self.task.needs_operation)


def outcome(trajectory: Trajectory) -> Outcome:
    """The facts of a rollout whose answer was scored.

    Raises:
        PixelReasonerError: it was not.
    """
    if SCORE_METRIC not in trajectory.metrics:
        raise PixelReasonerError(
            f"the rollout of task {trajectory.task.id} has no score; take the folder of an evaluation"
        )
    seen = [s for s in trajectory.read_observations if s is not None and s.replaced]
    return Outcome(
        task=trajectory.task,
        score=trajectory.metrics[SCORE_METRIC],
        answer=trajectory.answer,
        called=any(turn.asked_operation for turn in trajectory.turns),
        looked=trajectory.used_pixel_space,
        replaced=bool(seen),
        donor=next((s.donor for s in seen if s.donor), ""),
        localisation=localise(trajectory),
        boxes=tuple(box_readings(trajectory)),
    )


def aligned(runs: Iterable[tuple[str, Sequence[Outcome]]]) -> dict[str, list[Outcome]]:
    """The outcomes of several runs in the order of the first one's tasks.

    Raises:
        PixelReasonerError: one of them is of other tasks.
    """
    out: dict[str, list[Outcome]] = {}
    order: list[str] = []
    for name, outcomes in runs:
        by_id = {o.task.id: o for o in outcomes}
        order = order or [o.task.id for o in outcomes]
        if len(by_id) != len(outcomes) or set(by_id) != set(order):
            raise PixelReasonerError(
                f"'{name}' holds other tasks than the run it is compared with ({len(by_id)} and "
                f"{len(order)}); "
                f"evaluate the same tasks in every run"
            )
        out[name] = [by_id[id] for id in order]
    return out
