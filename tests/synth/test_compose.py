"""A synthesised trajectory does what its template says, with real observations and an exact mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.chat.encode import encode_trajectory
from pixelreasoner.chat.plain import STOP, PlainRenderer
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.inspection import inspected_regions
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import StopReason, Trajectory
from pixelreasoner.objectives.loss_mask import loss_mask
from pixelreasoner.synth.compose import compose, verify
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.sight import Sight
from pixelreasoner.synth.teacher import OracleTeacher
from pixelreasoner.tasks.pixelworld import PixelWorld

T = Template
WORLD = PixelWorld()
IMAGE_KINDS = ("attribute", "relation", "count", "page")
IMAGE_TEMPLATES = (T.SINGLE_PASS, T.RECROP_ONCE, T.RECROP_TWICE, T.FURTHER_ZOOM)


def written(sight: Sight, kind: str, template: Template, index: int = 0, *, needs: bool = True) -> Trajectory:
    return compose(
        WORLD.task("train", kind, index, needs_operation=needs),
        template,
        OracleTeacher(),
        sight=sight,
        toolbox=sight.toolbox(),
        rng=np.random.default_rng(index),
    )


def coverages(trajectory: Trajectory) -> list[float]:
    """How much of the cue each operation shows."""
    cue = trajectory.task.cue
    assert cue is not None
    return [look.coverage_of(cue) for look in inspected_regions(trajectory) if look is not None]


@pytest.mark.parametrize("kind", IMAGE_KINDS)
@pytest.mark.parametrize(
    ("template", "shows", "learned"),
    [
        (T.TEXT_ONLY, [], [True]),
        (T.SINGLE_PASS, [1], [True, True]),
        (T.RECROP_ONCE, [0, 1], [False, True, True]),
        (T.RECROP_TWICE, [0, 0, 1], [False, False, True, True]),
        (T.FURTHER_ZOOM, [1, 1], [False, True, True]),
    ],
)
def test_templates_of_pictures(
    sight: Sight, kind: str, template: Template, shows: list[float], learned: list[bool]
):
    for index in range(4):
        trajectory = written(sight, kind, template, index)
        assert coverages(trajectory) == shows
        assert [turn.trainable for turn in trajectory.turns] == learned
        assert trajectory.answer == trajectory.task.answers[0]
        assert (trajectory.source, trajectory.stop) == (template.value, StopReason.ANSWER)
        assert verify(trajectory) == []


@pytest.mark.parametrize(
    ("template", "shows"), [(T.SINGLE_PASS, [1]), (T.RESELECT, [0, 1]), (T.TEXT_ONLY, [])]
)
def test_templates_of_clips(sight: Sight, template: Template, shows: list[float]):
    for index in range(4):
        trajectory = written(sight, "clip", template, index)
        assert coverages(trajectory) == shows
        assert trajectory.task.cue is not None
        if shows:
            last = trajectory.turns[-2].observation
            assert last is not None
            assert last.frames == trajectory.task.cue.frames


def test_tasks_the_overview_answers_can_be_looked_at_too(sight: Sight):
    for kind in (*IMAGE_KINDS, "clip"):
        for index in range(4):
            assert coverages(written(sight, kind, T.SINGLE_PASS, index, needs=False)) == [1]


def test_a_further_zoom_is_cut_from_the_crop(sight: Sight):
    trajectory = written(sight, "attribute", T.FURTHER_ZOOM)
    large, right = (turn.observation for turn in trajectory.turns[:2])
    assert large is not None
    assert right is not None
    assert right.source == 2
    assert large.box is not None
    assert large.box.area > 4 * right.images[0].pixels.shape[0] * right.images[0].pixels.shape[1]
    # The crop of the crop holds original pixels.
    look = inspected_regions(trajectory)[1]
    assert look is not None
    assert look.box is not None
    left, top, r, b = map(int, (look.box.x1, look.box.y1, look.box.x2, look.box.y2))
    (picture,) = trajectory.task.media
    assert isinstance(picture, Picture)
    np.testing.assert_array_equal(right.images[0].pixels, picture.pixels[top:b, left:r])


@pytest.mark.parametrize(("unit", "step"), [(Unit.PIXEL, 1), (Unit.PIXEL, 4), (Unit.FRACTION, 0.02)])
def test_every_unit(sight: Sight, unit: Unit, step: float):
    spoken = replace(sight, unit=unit, step=step)
    for template in IMAGE_TEMPLATES:
        trajectory = written(spoken, "attribute", template, index=1)
        for turn in trajectory.turns[:-1]:
            assert turn.call is not None
            assert all(abs(v / step - round(v / step)) < 1e-6 for v in turn.call.arguments["bbox_2d"])


def test_a_message_names_its_subject_right_before_the_call(sight: Sight):
    for kind in (*IMAGE_KINDS, "clip"):
        template = T.RESELECT if kind == "clip" else T.RECROP_TWICE
        trajectory = written(sight, kind, template)
        for turn in trajectory.turns[:-1]:
            words, _, _ = turn.text.partition("<tool_call>")
            assert words.endswith(f"{trajectory.task.subject}.\n")


def test_sentences_are_short(sight: Sight):
    for template in IMAGE_TEMPLATES:
        for index in range(5):
            for turn in written(sight, "page", template, index).turns:
                words, _, _ = turn.text.partition("<tool_call>")
                assert all(len(sentence.split()) <= 10 for sentence in words.split("."))


def test_a_direct_answer_is_the_sentence_of_an_answer_after_an_operation(sight: Sight):
    direct, looked = (written(sight, "attribute", template) for template in (T.TEXT_ONLY, T.SINGLE_PASS))
    (only,) = direct.turns
    name, answer = direct.task.subject.capitalize(), direct.answer
    assert only.text == f"{name} reads {answer}. \\boxed{{{answer}}}"
    assert looked.turns[-1].text.startswith(looked.task.subject.capitalize() + " reads ")


def test_only_right_operations_and_text_are_learned(sight: Sight):
    renderer = PlainRenderer()
    trajectory = written(sight, "count", T.RECROP_TWICE)
    encoded = encode_trajectory(trajectory, renderer, sight.toolbox().schemas)
    ids = np.concatenate([segment.ids for segment in encoded.segments])
    right, last = trajectory.turns[2:]
    assert ids[loss_mask(encoded)].tolist() == [*right.text.encode(), STOP, *last.text.encode(), STOP]


def test_the_generator_fixes_everything(sight: Sight):
    assert written(sight, "count", T.RECROP_ONCE, 3) == written(sight, "count", T.RECROP_ONCE, 3)


def test_verify_finds_faults(sight: Sight):
    good = written(sight, "attribute", T.RECROP_ONCE)
    wrong, right, last = good.turns
    assert right.observation is not None
    found = {
        "not the reference": replace(good, answer="?"),
        "not the answer": replace(good, turns=(wrong, right, replace(last, text="It reads ?."))),
        "1 operations instead of 2": replace(good, turns=(right, last)),
        "operation 1 is learned": replace(good, turns=(replace(wrong, trainable=True), right, last)),
        "operation 2 is not learned": replace(good, turns=(wrong, replace(right, trainable=False), last)),
        "operation 1 shows some of the cue": replace(
            good, turns=(replace(right, trainable=False), right, last)
        ),
        "operation 2 does not show the whole cue": replace(
            good, turns=(wrong, replace(wrong, trainable=True), last)
        ),
        "operation 2 is not the one the message asks for": replace(
            good, turns=(wrong, replace(right, call=ToolCall("crop_image")), last)
        ),
        "operation 2 is not valid": replace(
            good, turns=(wrong, replace(right, observation=replace(right.observation, valid=False)), last)
        ),
        "hardly larger": replace(
            good, source="further_zoom", turns=(replace(right, trainable=False), right, last)
        ),
    }  # fmt: skip
    for message, faulty in found.items():
        assert any(message in problem for problem in verify(faulty)), message


def test_a_task_that_cannot_be_looked_at_is_refused(sight: Sight):
    task = WORLD.task("train", "attribute", 0, needs_operation=True)
    clip = WORLD.task("train", "clip", 0, needs_operation=True)

    def write(task: Task, template: Template) -> None:
        rng = np.random.default_rng(0)
        compose(task, template, OracleTeacher(), sight=sight, toolbox=sight.toolbox(), rng=rng)

    with pytest.raises(SynthesisError, match="has no cue"):
        write(replace(task, cue=None), T.SINGLE_PASS)
    with pytest.raises(SynthesisError, match="no box in a picture"):
        write(replace(task, cue=Cue()), T.SINGLE_PASS)
    with pytest.raises(SynthesisError, match="never too large"):
        write(clip, T.FURTHER_ZOOM)
    with pytest.raises(ValueError, match="no reference answer"):
        write(replace(task, answers=()), T.TEXT_ONLY)
    with pytest.raises(ValueError, match="no subject"):
        write(replace(task, subject=""), T.SINGLE_PASS)
