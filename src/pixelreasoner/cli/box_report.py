"""What `convert --check` finds: rows in which something does not hold, in a file and counted by reason."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pixelreasoner.core.trajectory import Trajectory
    from pixelreasoner.tasks.datasets.pixelreasoner_sft import SftTrajectories
    from pixelreasoner.tasks.datasets.sft_boxes import BoxCheck, Fault, TextCheck

UNUSABLE = "the row gives no trajectory"


class BoxReport:
    """Checks trajectories as they pass, and lists those with faults."""

    def __init__(self, path: Path, check: BoxCheck) -> None:
        self._path, self._check = path, check
        self.rows = 0
        self.faulty = 0
        """Rows with at least one fault, those that give no trajectory among them."""
        self.reasons: Counter[str] = Counter()
        """Rows by reason; a row may have several."""
        self.forms: Counter[str] = Counter()
        """Trajectories by what their operations show."""

    def passing(self, found: SftTrajectories, *, sound_only: bool) -> Iterator[Trajectory]:
        """The trajectories; with `sound_only`, those without a fault. Each row with one is listed.

        A line of the list is `{"row": place, "id": ..., "faults": [{"reason", "message", "detail"}]}`.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Half a character is written as an escape, which JSON reads as the same.
        with self._path.open("w", encoding="utf-8", errors="backslashreplace") as file:
            for place, made in found.rows():
                self.rows += 1
                faults = self._faults(made)
                if faults:
                    self.faulty += 1
                    self.reasons.update({fault.reason for fault in faults})
                    row = {"row": place, "id": getattr(getattr(made, "task", None), "id", None)}
                    row["faults"] = [fault._asdict() for fault in faults]
                    file.write(f"{json.dumps(row, ensure_ascii=False)}\n")
                if not isinstance(made, Exception) and not (sound_only and faults):
                    yield made

    def _faults(self, made: Trajectory | Exception) -> Sequence[Fault]:
        from pixelreasoner.core.errors import MediaError
        from pixelreasoner.tasks.datasets.sft_boxes import Fault

        if isinstance(made, Exception):
            return [Fault(UNUSABLE, 0, str(made))]
        try:
            faults, form = self._check.faults(made)
        except MediaError as e:
            return [Fault("a picture cannot be decoded", 0, str(e))]
        self.forms[form] += 1
        return faults

    def lines(self) -> Iterator[str]:
        """The counts, for people."""
        from pixelreasoner.core.display import counted

        yield f"{self._path}: {self.faulty} of {counted(self.rows, 'row')} with something that does not hold"
        yield from (f"  {form}: {n}" for form, n in self.forms.most_common())
        yield from (f"{counted(n, 'row')}: {reason}" for reason, n in self.reasons.most_common())


def known_answers(source: str | None) -> Mapping[str, Sequence[str]]:
    """The answers of a task source by id; none without one.

    Raises:
        PixelReasonerError: there is no such source.
    """
    from pixelreasoner.tasks.preview import open_parts

    if source is None:
        return {}
    parts = [part.source for part in open_parts(source, split=None, path=None)]
    return {task.id: task.answers for tasks in parts for task in tasks.take(0, tasks.size or 0)}


def text_check() -> TextCheck:
    """Reads the last crop of a trajectory, and says what stands there in place of its answer."""
    from dataclasses import replace

    from pixelreasoner.core.media import Picture
    from pixelreasoner.rewards.choices import listed_options
    from pixelreasoner.synth.ocr import OcrCheck, OcrConfig

    def reads(picture: Picture, trajectory: Trajectory) -> str | None:
        task = trajectory.task
        asked = replace(task, answers=(trajectory.answer or "",), options=listed_options(task.question))
        return OcrCheck(OcrConfig(kinds=(task.kind,))).fault(picture, asked)

    return reads
