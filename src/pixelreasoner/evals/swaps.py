"""Which task's crop a swap audit shows in the place of a task's own.

The donor is chosen so that its crop has the best chance of answering the question with ANOTHER answer: then a
model that reads what it is shown gives that answer, and one that does not look keeps its own. Among the tasks
whose rollout read a result, the first in this order:

1. the same kind of task, and a result of the same kind (a crop, selected frames);
2. a right answer that this question could have, and another one than its own (`answer_of_donor`);
3. the same subject (`Task.subject`; the tasks of most data sets have none, and then all are alike);
4. an answer that the question itself names, as one of its choices;
5. a donor that was right in the plain run: what it was shown held the answer;
6. a question with more of the same words;
7. the next in the order of the tasks.

Nothing is drawn at random.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import SCORE_METRIC, Observation, Trajectory

MAX_CANDIDATES = 512
"""Tasks after this one that are looked at; then from the first task on."""
RIGHT = 0.5
"""The score from which on an answer counts as right."""


def donor_of(at: int, trajectories: Sequence[Trajectory]) -> Trajectory | None:
    """The rollout whose results replace those of rollout `at`; None where no other has any."""
    mine = next(iter(results_read(trajectories[at])), None)
    if mine is None:
        return None
    n = len(trajectories)
    best: tuple[tuple[float, ...], Trajectory] | None = None
    for step in range(1, min(n, MAX_CANDIDATES + 1)):
        other = trajectories[(at + step) % n]
        theirs = donor_results(other, like=mine)
        if not theirs:
            continue
        rank = (*_rank(trajectories[at].task, mine, other, theirs[0]), float(step))
        if best is None or rank < best[0]:
            best = (rank, other)
    return None if best is None else best[1]


def results_read(trajectory: Trajectory) -> list[Observation]:
    """The results of operations that hold a picture and were read."""
    return [seen for seen in trajectory.read_observations if seen is not None and seen.valid and seen.images]


def donor_results(donor: Trajectory, *, like: Observation) -> list[Observation]:
    """The results of a donor that are of the same kind, a crop or a selection; all of them where none is."""
    results = results_read(donor)
    return [r for r in results if bool(r.frames) == bool(like.frames)] or results


def images_before(trajectory: Trajectory, result: Observation) -> int:
    """How many numbered images the model had seen when it got a result: those of the task, and of results."""
    n = sum(isinstance(item, Picture) for item in trajectory.task.media)
    for seen in trajectory.read_observations:
        if seen is result:
            break
        n += 0 if seen is None else len(seen.images)
    return n


def answer_of_donor(donor: Task, task: Task) -> str | None:
    """The right answer of another task, as an answer to this one; None where it can be none.

    A letter of a list of options means something in that list only: it is the option that is looked for among
    the options of this task.
    """
    if not donor.answers:
        return None
    text = _option_text(donor.answers[0], donor)
    if not task.options:
        return text
    options = [_plain(option) for option in task.options]
    return chr(ord("A") + options.index(_plain(text))) if _plain(text) in options else None


def _option_text(answer: str, task: Task) -> str:
    """What a letter stands for, where the task has options."""
    letter = answer.strip().upper()
    at = ord(letter) - ord("A") if len(letter) == 1 else -1
    return task.options[at] if 0 <= at < len(task.options) else answer


def _rank(task: Task, mine: Observation, donor: Trajectory, theirs: Observation) -> tuple[float, ...]:
    """Less is better."""
    other = donor.task
    answer = answer_of_donor(other, task)
    usable = answer is not None and _plain(answer) not in {_plain(a) for a in task.answers}
    words, others_words = _words(task.question), _words(other.question)
    alike = len(words & others_words) / max(1, len(words | others_words))
    return (
        other.kind != task.kind,
        bool(theirs.frames) != bool(mine.frames),
        not usable,
        other.subject != task.subject,
        answer is None or not _words(answer) <= words,
        donor.metrics.get(SCORE_METRIC, 0.0) < RIGHT,
        round(1 - alike, 6),
    )


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
