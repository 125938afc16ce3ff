"""The pipeline of one slot: what a stage turns down is recorded, and the next task of the chain is tried."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from benchmarks.pages import Page, make_page
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.ocr import NOT_SHOWN
from pixelreasoner.synth.pipeline import Pipeline
from pixelreasoner.synth.slots import Seeds, Slot
from pixelreasoner.tasks.source import IndexedTasks, TaskLabel

OFF = (240.0, 200.0)
"""Pixels by which a page of the released kind names another place than that of its answer."""


@pytest.fixture(scope="module")
def page() -> Page:
    pytest.importorskip("rapidocr")
    return make_page(3)


def about(page: Page, *, off: bool, kind: str = "webpage") -> Task:
    answer, box = page.answers[0], page.answers[0].box
    if off:
        x, y = (-d if start > d else d for d, start in zip(OFF, (box.x1, box.y1), strict=True))
        box = Box(box.x1 + x, box.y1 + y, box.x2 + x, box.y2 + y)
    return Task(
        f"{kind}-{'off' if off else 'on'}", "What does it say?", (page.picture,), (answer.text,),
        kind=kind, cue=Cue(box), subject="the line",
    )  # fmt: skip


def made(tasks: list[Task], ocr: dict | None):
    kinds = [TaskLabel(task.kind, task.needs_operation) for task in tasks]
    source = IndexedTasks(kinds, partial(map, tasks.__getitem__))
    config = SynthConfig.model_validate({"out": Path("nowhere"), "coordinate_step": 2, "ocr": ocr})
    slot = Slot(Template.SINGLE_PASS, 0, tasks[0].kind, None)
    return asyncio.run(Pipeline(config, seeds=[Seeds(source)]).make(0, slot))


def test_a_page_whose_box_is_off_its_answer_is_turned_down_and_the_next_is_tried(page):
    slot = made([about(page, off=True), about(page, off=False)], {})
    assert slot.trajectory is not None
    assert slot.trajectory.task.id == "webpage-on"
    (rejection,) = slot.rejections
    assert (rejection.task, rejection.stage, rejection.reason) == ("webpage-off", "ocr", NOT_SHOWN)
    assert page.answers[0].text in rejection.detail
    assert rejection.trajectory is not None, "the crop that does not show it is kept, to be looked at"


def test_without_it_and_of_other_kinds_nothing_is_read(page):
    for task, ocr in ((about(page, off=True), None), (about(page, off=True, kind="photo"), {})):
        slot = made([task], ocr)
        assert slot.trajectory is not None
        assert slot.rejections == ()
