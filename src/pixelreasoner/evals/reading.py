"""An evaluation that has been made, as its folder holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.run_folder import TRAJECTORIES_FILE
from pixelreasoner.evals.protocol import Protocol, read_protocol
from pixelreasoner.evals.scores import SCORE_METRIC, Score, score


@dataclass(frozen=True)
class Evaluation:
    """The scores of an evaluation by task, and its protocol."""

    path: Path
    by_task: Mapping[str, tuple[Score, ...]]
    """By task id, in the order of the record; as many of each, in the order of the samples."""
    protocol: Protocol | None
    """None where it is not known: of a file alone, or of an earlier version."""

    @property
    def samples(self) -> int:
        """Rollouts per task."""
        return len(next(iter(self.by_task.values())))

    @property
    def scores(self) -> list[Score]:
        """All of them, the rollouts of a task together."""
        return [s for rollouts in self.by_task.values() for s in rollouts]


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation in a folder, or in a file of scored trajectories.

    Raises:
        RecordError: there is none, it was not scored, or it is not complete: some tasks have fewer rollouts.
    """
    file = path / TRAJECTORIES_FILE if path.is_dir() else path
    if not file.is_file():
        what = f"holds no evaluation (no {file.name})" if path.is_dir() else "does not exist"
        raise RecordError(f"{path} {what}; name the folder of an evaluation")
    by_task: dict[str, list[Score]] = {}
    for trajectory in read_trajectories(file, tolerate_truncation=True):
        if SCORE_METRIC not in trajectory.metrics:
            raise RecordError(
                f"{file}: the rollout of task {trajectory.task.id} has no score ('{SCORE_METRIC}'); name an "
                f"evaluation (`pixelreasoner eval`)"
            )
        made = score(trajectory)
        rollouts = by_task.setdefault(made.task_id, [made])
        if rollouts[0].task_digest != made.task_digest:
            raise RecordError(f"{file}: two tasks are called '{made.task_id}'; give each an id of its own")
        if rollouts[0] is not made:
            rollouts.append(made)
    if not by_task:
        raise RecordError(f"{file} holds no trajectories; go on with the evaluation (--resume) first")
    most = max(map(len, by_task.values()))
    if fewer := [task_id for task_id, rollouts in by_task.items() if len(rollouts) < most]:
        raise RecordError(
            f"{file} is not complete: of task {fewer[0]} there are {len(by_task[fewer[0]])} rollouts, of "
            f"others {most}; go on with it (--resume) first, or take out lines that are there twice"
        )
    folder = file.parent if file.name == TRAJECTORIES_FILE else None
    protocol = None if folder is None else read_protocol(folder)
    return Evaluation(path, {key: tuple(found) for key, found in by_task.items()}, protocol)
