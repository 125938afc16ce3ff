"""What the operations of an outline cut, by whatever operation the checkpoint to be taught knows."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.chat.chat_format import ChatFormat, find_format
from pixelreasoner.chat.hermes import HERMES
from pixelreasoner.core.geometry import Box, Unit
from pixelreasoner.core.inspection import inspected_regions
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.rewards.scorers import exact
from pixelreasoner.synth.compose import compose, verify
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.outline import Tools, elsewhere, outline
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.teacher import OracleTeacher, TrajectoryTexts
from pixelreasoner.tasks.pixelworld import PixelWorld

T = Template
WORLD = PixelWorld()
IMAGE_TEMPLATES = (T.SINGLE_PASS, T.RECROP_ONCE, T.RECROP_TWICE, T.FURTHER_ZOOM)


@pytest.fixture
def released(tools: Tools) -> Tools:
    """Those of the released checkpoints, whose crops get a margin of a tenth of the image on every side."""
    chat_format = find_format("pixelreasoner-v1")
    vision = replace(tools.vision, unit=Unit.FRACTION)
    return Tools.of(vision, 0.01, Interaction().toolbox(Unit.FRACTION, chat_format))


def written(tools: Tools, template: Template, seed: int) -> Trajectory:
    task = WORLD.task("train", "attribute", seed, needs_operation=True)
    done = outline(task, template, tools, np.random.default_rng(seed))
    texts = asyncio.run(OracleTeacher().write(done, np.random.default_rng(seed)))
    return compose(done, texts, HERMES, tools.vision.coordinates, mask="operation")


def test_the_released_operation_is_used_as_it_is_described(released: Tools):
    assert released.crop == "crop_image_normalized"
    assert (released.cut.padding, released.cut.least_px, released.cut.below_one) == (0.1, 29, True)


@pytest.mark.parametrize("template", IMAGE_TEMPLATES)
def test_templates_hold_for_what_is_finally_cut(released: Tools, template: Template):
    for seed in range(6):
        trajectory = written(released, template, seed)
        assert verify(trajectory, exact, HERMES) == []
        for turn in trajectory.turns[:-1]:
            assert turn.call is not None
            assert all(0 <= v < 1 for v in turn.call.arguments["bbox_2d"])


def test_a_clearance_is_kept_by_all_wrong_crops(tools: Tools):
    toolbox = Interaction().toolbox(tools.vision.unit, ChatFormat())
    apart = Tools.of(tools.vision, 20, toolbox, clearance=0.1)
    for seed in range(8):
        trajectory = written(apart, T.RECROP_TWICE, seed)
        cue, (picture,) = trajectory.task.cue, trajectory.task.media
        assert cue is not None
        assert cue.box is not None
        for region in inspected_regions(trajectory)[:2]:
            assert region is not None
            assert region.box is not None
            dx, dy = (0.1 * side for side in picture.size)
            b = region.box
            assert not Box(b.x1 - dx, b.y1 - dy, b.x2 + dx, b.y2 + dy).overlaps(cue.box)


def test_elsewhere_has_nothing_of_the_cue_nor_of_what_is_avoided(tools: Tools):
    for seed in range(8):
        task = WORLD.task("train", "attribute", seed, needs_operation=True)
        assert task.cue is not None
        assert task.cue.box is not None
        avoided = task.cue.box.pad(40).clip(task.media[0].size)
        shown = elsewhere(task, tools, np.random.default_rng(seed), avoided)
        assert shown.valid
        assert shown.box is not None
        assert not shown.box.overlaps(avoided)


def test_elsewhere_in_a_video_is_in_other_frames(tools: Tools):
    task = WORLD.task("train", "clip", 0, needs_operation=True)
    assert task.cue is not None
    assert not set(elsewhere(task, tools, np.random.default_rng(0)).frames) & set(task.cue.frames)


@pytest.mark.parametrize(
    ("unit", "step", "remedy"), [(Unit.FRACTION, 20, "0.02"), (Unit.RELATIVE, 500, "20")]
)
def test_a_step_that_leaves_no_boxes_is_refused(tools: Tools, unit: Unit, step: float, remedy: str):
    toolbox = Interaction().toolbox(unit, ChatFormat())
    with pytest.raises(SynthesisError, match=rf"coordinate_step is {step}.*set it to {remedy} or less"):
        Tools.of(replace(tools.vision, unit=unit), step, toolbox)


def test_a_wrong_selection_is_outside_of_a_stretch_longer_than_an_operation_shows(tools: Tools):
    task = WORLD.task("train", "clip", 0, needs_operation=True)
    (video,) = task.media
    assert isinstance(video, Video)
    frames = (video.frames * 16)[:16]
    long = replace(task, media=(Video(frames),), cue=Cue(frames=tuple(range(2, 14))))
    for seed in range(10):
        wrong, right = outline(long, T.RESELECT, tools, np.random.default_rng(seed)).steps
        assert set(wrong.observation.frames) <= {1, 14, 15, 16}
        assert set(right.observation.frames) <= set(range(2, 14))
        assert len(right.observation.frames) == 8


@pytest.mark.parametrize("cue", [Box(300, 200, 450, 296), Box(60, 300, 500, 325), Box(0, 100, 30, 400)])
@pytest.mark.parametrize("template", IMAGE_TEMPLATES)
def test_broad_cues_and_lines_of_text(tools: Tools, released: Tools, template: Template, cue: Box):
    picture = Picture(np.zeros((480, 640, 3), np.uint8))
    task = Task("t", "Q?", (picture,), ("a",), cue=Cue(box=cue), subject="it")
    fine = Tools.of(tools.vision, 2, tools.toolbox)
    for spoken in (fine, released):
        for seed in range(5):
            done = outline(task, template, spoken, np.random.default_rng(seed))
            texts = TrajectoryTexts(("I look.",) * len(done.steps), "\\boxed{a}")
            trajectory = compose(done, texts, HERMES, "", mask="operation")
            assert verify(trajectory, exact, HERMES) == []
