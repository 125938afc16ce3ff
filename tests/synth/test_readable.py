"""A damaged seed is turned down and the run goes on; a place that is gone ends the run."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pixelreasoner.core.errors import MediaError, RecordError
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import load_image
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.fit import fits_kinds
from pixelreasoner.synth.mix import Mix, Template
from pixelreasoner.synth.outline import Tools
from pixelreasoner.synth.pipeline import Pipeline
from pixelreasoner.synth.readable import MOST_DAMAGED, UNREADABLE, damaged_tasks, readable
from pixelreasoner.synth.rejection import RejectedError
from pixelreasoner.synth.slots import Seeds, Slot, plan
from pixelreasoner.tasks.source import IndexedTasks, TaskLabel

PICTURE = Picture(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
DAMAGED = RecordError("sa_3: the annotations have another form than SA-1B's; fetch the file again")


def source(n: int, damaged: set[int], error: Exception = DAMAGED) -> IndexedTasks:
    def read(positions: Iterable[int]) -> Iterator[Task]:
        for at in positions:
            if at in damaged:
                raise error
            yield Task(
                f"t{at}", "What is it?", (PICTURE,), ("red",), cue=Cue(Box(50, 60, 90, 95)), subject="it"
            )

    return IndexedTasks([TaskLabel("open", None)] * n, read)


def of_the_system(number: int) -> MediaError:
    error = MediaError("the file cannot be read")
    error.__cause__ = OSError(number, "no")
    return error


def made(tasks: IndexedTasks):
    config = SynthConfig.model_validate({"out": Path("nowhere"), "coordinate_step": 2})
    slot = Slot(Template.SINGLE_PASS, 0, "open", None)
    return asyncio.run(Pipeline(config, seeds=[Seeds(tasks)]).make(0, slot))


def test_a_damaged_task_is_recorded_and_the_next_one_is_tried():
    slot = made(source(4, {0, 1}))
    assert slot.trajectory is not None
    assert slot.trajectory.task.id == "t2"
    assert [(r.index, r.task, r.stage, r.reason) for r in slot.rejections] == [
        (0, "", "read", UNREADABLE),
        (1, "", "read", UNREADABLE),
    ]
    assert slot.rejections[0].detail == str(DAMAGED)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EIO, errno.EACCES, errno.ENOTCONN])
def test_a_place_that_is_gone_turns_nothing_down(number: int):
    with pytest.raises(MediaError, match="cannot be read"):
        made(source(4, {0, 1, 2, 3}, of_the_system(number)))


def test_an_error_of_a_decoder_is_one_of_the_file():
    error = MediaError("a damaged image")
    error.__cause__ = OSError("truncated")  # as Pillow raises it: without a number
    with pytest.raises(RejectedError, match="damaged image"), damaged_tasks(MediaError):
        raise error


def test_a_plan_passes_damaged_tasks_over(tools: Tools):
    sets = [Seeds(source(9, {0, 1, 2}))]
    assert len(plan(3, Mix(), sets, np.random.default_rng(0), fits_kinds(sets, tools))) == 3


def test_of_a_set_that_is_damaged_throughout_the_error_is_raised():
    assert next(readable(source(MOST_DAMAGED, set(range(MOST_DAMAGED - 1))))).id == f"t{MOST_DAMAGED - 1}"
    with pytest.raises(RecordError, match="fetch the file again"):
        next(readable(source(MOST_DAMAGED + 1, set(range(MOST_DAMAGED)))))


def test_a_missing_file_among_others_is_damaged_and_a_missing_folder_is_not(tmp_path: Path):
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").symlink_to("/nowhere/b.png")
    with pytest.raises(RejectedError, match="does not exist"), damaged_tasks(MediaError):
        load_image(tmp_path / "b.png")
    with pytest.raises(MediaError, match="does not exist"), damaged_tasks(MediaError):
        load_image(tmp_path / "unmounted" / "b.png")
