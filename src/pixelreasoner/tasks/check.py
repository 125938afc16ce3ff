"""Looking a task source through: every task is read, its media decoded, its own answers scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pixelreasoner.core.errors import MediaError, MissingExtraError, RecordError
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.media import Media, Picture
from pixelreasoner.core.task import Task
from pixelreasoner.rewards.scorers import Scorer, gold_problems
from pixelreasoner.tasks.rows import SEEDS_ARE_FOR
from pixelreasoner.tasks.source import TaskSource


@dataclass
class KindCounts:
    """What was counted of one kind of task."""

    tasks: int = 0
    needing: int = 0
    """Tasks known to need an operation."""
    cues: int = 0
    """Tasks with a cue."""
    images: int = 0
    videos: int = 0
    unanswered: int = 0
    """Questions without a reference: whatever a model answers scores 0."""
    seeds: int = 0
    """Tasks whose question is still to be written (`Task.is_seed`)."""
    answers: Counter[str] = field(default_factory=Counter[str])
    """How often each reference occurs; the first hundred different ones."""
    smallest: Size | None = None
    """Of the images and the frames of videos, by area; None where there are none."""
    largest: Size | None = None
    pixels: int = 0
    """Of all images, and of one frame of each video."""
    most_frames: int = 0
    """Of a video."""


MAX_ANSWERS = 100


class TaskCheck:
    """Counts tasks as they pass, and keeps what is wrong with which."""

    def __init__(self, source: TaskSource, scorer: Scorer) -> None:
        self._source, self._scorer = source, scorer
        self._ids: set[str] = set()
        self.kinds: dict[str, KindCounts] = {}
        self.problems: list[str] = []
        self.unusable = 0
        """Tasks with at least one problem."""

    @property
    def unanswered_note(self) -> str | None:
        """A line on the tasks without references; None when all have some."""
        unanswered = sum(counts.unanswered for counts in self.kinds.values())
        if not unanswered:
            return None
        n = sum(counts.tasks for counts in self.kinds.values())
        return (
            f"{unanswered} of {n} tasks have no reference answers: `eval` and `rl` give 0 to whatever a "
            f"model answers, unless a scorer of your own needs none"
        )

    @property
    def seeds_note(self) -> str | None:
        """A line on the seeds; None when there are none."""
        seeds = sum(counts.seeds for counts in self.kinds.values())
        if not seeds:
            return None
        n = sum(counts.tasks for counts in self.kinds.values())
        return f"{seeds} of {n} tasks have no question; {SEEDS_ARE_FOR}"

    def usable(self, positions: Iterable[int]) -> Iterator[Task]:
        """The tasks at some positions that nothing is wrong with, one at a time."""
        for position in positions:
            before = len(self.problems)
            try:
                found = list(self._source.take(position, 1))
            except (RecordError, MediaError, MissingExtraError) as e:
                self.problems.append(str(e))
                found = []
            for task in found:
                self._count(task)
                self._judge(task)
                if len(self.problems) == before:
                    yield task
            self.unusable += len(self.problems) > before

    def _judge(self, task: Task) -> None:
        if task.id in self._ids:
            self.problems.append(f"task {task.id}: another task has the same id")
        self._ids.add(task.id)
        self.problems += map(str, gold_problems([task], self._scorer))

    def _count(self, task: Task) -> None:
        counts = self.kinds.setdefault(task.kind, KindCounts())
        images = sum(isinstance(item, Picture) for item in task.media)
        counts.tasks += 1
        counts.needing += task.needs_operation is True
        counts.cues += task.cue is not None
        counts.images += images
        counts.videos += len(task.media) - images
        counts.unanswered += not (task.answers or task.is_seed)
        counts.seeds += task.is_seed
        for item in task.media:
            _measure(counts, item)
        for answer in task.answers[:1]:
            if answer in counts.answers or len(counts.answers) < MAX_ANSWERS:
                counts.answers[answer] += 1


def _measure(counts: KindCounts, item: Media) -> None:
    width, height = item.size
    area = width * height
    counts.pixels += area
    if not isinstance(item, Picture):
        counts.most_frames = max(counts.most_frames, len(item.frames))
    if counts.smallest is None or area < counts.smallest.width * counts.smallest.height:
        counts.smallest = item.size
    if counts.largest is None or area > counts.largest.width * counts.largest.height:
        counts.largest = item.size
