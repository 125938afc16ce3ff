"""What the sources of seeds share: finite, indexed, with a report of what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pixelreasoner.core.task import Task
from pixelreasoner.tasks.datasets.report import LoadReport
from pixelreasoner.tasks.source import IndexedTasks, TaskLabel


class SeedTasks(IndexedTasks):
    """Tasks without questions (`Task.is_seed`), and what was found when they were looked for."""

    def __init__(
        self,
        labels: Iterable[TaskLabel],
        read: Callable[[Iterable[int]], Iterator[Task]],
        report: LoadReport,
    ) -> None:
        """Keep an index.

        Args:
            labels: as `IndexedTasks`; so `read`.
            read: the seeds at some positions.
            report: the same for a selection: of the whole set.
        """
        super().__init__(labels, read)
        self.report = report
