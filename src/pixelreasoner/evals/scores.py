"""What one rollout adds to the statistics of an evaluation: a few numbers, no pictures."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.errors import ErrorClass
from pixelreasoner.core.localisation import Localisation, localise
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import SCORE_METRIC, StopReason, Trajectory, Turn

VISUAL_TOKENS_METRIC = "visual_tokens"
"""The metric of a trajectory that `visual_tokens` gave when it was made."""
PROMPT_TOKENS, COMPLETION_TOKENS = "prompt_tokens", "completion_tokens"
"""Metrics of a served model's trajectory: the tokens that the server counted, over all requests."""
NO_SCORES = (SCORE_METRIC, VISUAL_TOKENS_METRIC, PROMPT_TOKENS, COMPLETION_TOKENS)
"""Metrics that are no further score."""
UNCLASSIFIED = "unclassified"
"""The error class of an invalid operation in a record that does not say one."""
FULL_MARKS = 1.0
"""The score from which on an answer is right, where right and wrong are counted."""
Counts = tuple[tuple[str, int], ...]
"""Numbers by name, in the order of the names."""


@dataclass(frozen=True, slots=True)
class Score:
    """The numbers of one rollout."""

    task_id: str
    kind: str
    needs_operation: bool | None
    """None where nobody knows."""
    score: float
    """How right the answer is, 0 to 1."""
    has_reference: bool
    """Whether the task has reference answers to compare with."""
    used_pixel_space: bool
    n_operations: int
    n_unread: int
    """Operations whose result did not fit into the conversation."""
    n_invalid: int
    localisation: Localisation
    """Where its operations looked."""
    other_scores: tuple[tuple[str, float], ...] = ()
    """All other metrics of the rollout, by name: the second score of a benchmark, for example."""
    operations: Counts = ()
    """Operations whose result was read, by name."""
    errors: Counts = ()
    """Calls that could not be carried out, by error class (`core.errors.ErrorClass`)."""
    stop: StopReason = StopReason.ANSWER
    n_turns: int = 0
    n_sampled_tokens: int = 0
    n_visual_tokens: int | None = None
    """Language-model tokens of all pictures and frames in the conversation; None where they were not
    recorded."""
    is_boxed: bool = True
    """Whether the last message holds an answer in a closed box."""
    is_empty: bool = False
    """Whether the last message, or the box in it, holds nothing but blanks."""
    task_digest: str = ""
    """Of the question, its answers, options and media: equal ids with another digest are other tasks."""

    @property
    def is_right(self) -> bool:
        return self.score >= FULL_MARKS

    def of(self, name: str) -> tuple[str, float | None]:
        """Its kind, and its score by this name; None where it has none."""
        return self.kind, self.score if name == SCORE_METRIC else dict(self.other_scores).get(name)


def score(trajectory: Trajectory) -> Score:
    """The numbers of one trajectory, whose answer has been scored."""
    task, metrics = trajectory.task, trajectory.metrics
    n_visual = metrics.get(VISUAL_TOKENS_METRIC)
    last = trajectory.turns[-1].text if trajectory.turns else ""
    answer = trajectory.answer
    return Score(
        task_id=task.id,
        kind=task.kind,
        needs_operation=task.needs_operation,
        score=metrics[SCORE_METRIC],
        has_reference=bool(task.answers),
        used_pixel_space=trajectory.used_pixel_space,
        n_operations=trajectory.n_operations,
        n_unread=trajectory.n_unread_operations,
        n_invalid=trajectory.n_invalid_operations,
        localisation=localise(trajectory),
        other_scores=tuple((name, value) for name, value in sorted(metrics.items()) if name not in NO_SCORES),
        operations=_counts(
            turn.call.name
            for turn, seen in zip(trajectory.turns, trajectory.read_observations, strict=True)
            if seen is not None and seen.valid and turn.call is not None
        ),
        errors=_counts(_error_class(turn) for turn in trajectory.turns if _failed(turn)),
        stop=trajectory.stop,
        n_turns=len(trajectory.turns),
        n_sampled_tokens=int(metrics.get(COMPLETION_TOKENS, trajectory.n_sampled_tokens)),
        n_visual_tokens=None if n_visual is None else int(n_visual),
        is_boxed=answer is not None,
        is_empty=not last.strip() or (answer is not None and not answer.strip()),
        task_digest=task_digest(task),
    )


def visual_tokens(trajectory: Trajectory, vision: VisionSpec) -> int:
    """The language-model tokens of all media in a conversation, each placeholder expanded, each once.

    What the model went on to read: the media of the question, and of each observation that fitted.
    """
    return sum(
        vision.n_tokens(item, crop=place > 0 or at in segment.crops)
        for place, segment in enumerate(trajectory.segments)
        for at, item in enumerate(segment.media)
    )


def task_digest(task: Task) -> str:
    """Differs where tasks of one id ask something else: another question, answer, option, or picture."""
    h = hashlib.blake2b(digest_size=8)
    for part in (task.question, *task.answers, "", *task.options, "", *(item.digest for item in task.media)):
        h.update(part.encode() + b"\0")
    return h.hexdigest()


def _failed(turn: Turn) -> bool:
    return turn.observation is not None and not turn.observation.valid


def _error_class(turn: Turn) -> str:
    """Of a call that failed. Of a record that does not say it: a call that is not there was unreadable."""
    assert turn.observation is not None
    if turn.observation.error_class is not None:
        return turn.observation.error_class
    return ErrorClass.UNREADABLE if turn.call is None else UNCLASSIFIED


def _counts(names: Iterable[str]) -> Counts:
    return tuple(sorted(Counter(names).items()))
