"""A synthesised trajectory does what its template says, with real observations and an exact mask."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.encode import encode_trajectory
from pixelreasoner.chat.hermes import HERMES
from pixelreasoner.chat.plain import PlainRenderer
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.inspection import inspected_regions
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import StopReason, Trajectory
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.vlm import renderer_of
from pixelreasoner.objectives.loss_mask import loss_mask
from pixelreasoner.ops.build import PAPER
from pixelreasoner.rewards.scorers import exact
from pixelreasoner.synth.compose import ErrorMask, compose, verify
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.outline import Tools, outline
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.teacher import OracleTeacher, TrajectoryTexts
from pixelreasoner.tasks.pixelworld import PixelWorld

T = Template
WORLD = PixelWorld()
IMAGE_KINDS = ("attribute", "relation", "count", "page")
IMAGE_TEMPLATES = (T.SINGLE_PASS, T.RECROP_ONCE, T.RECROP_TWICE, T.FURTHER_ZOOM)


def write(task: Task, template: Template, tools: Tools, seed: int = 0) -> Trajectory:
    done = outline(task, template, tools, np.random.default_rng([seed, 0]))
    texts = asyncio.run(OracleTeacher().write(done, np.random.default_rng([seed, 1])))
    return compose(done, texts, HERMES, tools.vision.coordinates, mask="operation")


def written(tools: Tools, kind: str, template: Template, index: int = 0, *, needs: bool = True) -> Trajectory:
    return write(WORLD.task("train", kind, index, needs_operation=needs), template, tools, index)


def faults(trajectory: Trajectory) -> list[str]:
    return verify(trajectory, exact, HERMES)


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
    tools: Tools, kind: str, template: Template, shows: list[float], learned: list[bool]
):
    for index in range(4):
        trajectory = written(tools, kind, template, index)
        assert coverages(trajectory) == shows
        assert [turn.masked is None for turn in trajectory.turns] == learned
        assert trajectory.answer == trajectory.task.answers[0]
        assert (trajectory.source, trajectory.stop) == (template.value, StopReason.ANSWER)
        assert faults(trajectory) == []


SAID = ("It is small.\nI look.", "It is not here.\nAgain.", "Nor here.\nAgain.")
"""The words before each operation."""
LEARNED = {
    T.TEXT_ONLY: ["A. \\boxed{A}."],
    T.SINGLE_PASS: ["It is small.\nI look.\nCALL.", "A. \\boxed{A}."],
    T.RECROP_ONCE: ["It is small.\nI look.\n", "It is not here.\nAgain.\nCALL.", "A. \\boxed{A}."],
    T.RECROP_TWICE: [
        "It is small.\nI look.\n", "It is not here.\nAgain.\n", "Nor here.\nAgain.\nCALL.", "A. \\boxed{A}.",
    ],
    T.FURTHER_ZOOM: ["It is small.\nI look.\n", "It is not here.\nAgain.\nCALL.", "A. \\boxed{A}."],
    T.RESELECT: ["It is small.\nI look.\n", "It is not here.\nAgain.\nCALL.", "A. \\boxed{A}."],
}  # fmt: skip
"""By hand: what each message of a template teaches. CALL is its operation, a last dot the stop token."""
RENDERERS = {"bytes": PlainRenderer(), "nano": renderer_of(checkpoint_folder("nano"))}


@pytest.mark.parametrize("template", T)
@pytest.mark.parametrize("mask", ["operation", "message"])
@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_mask_token_by_token(tools: Tools, template: Template, mask: ErrorMask, renderer: str):
    words = RENDERERS[renderer]
    kind = "clip" if template is T.RESELECT else "attribute"
    done = outline(
        WORLD.task("train", kind, 0, needs_operation=True), template, tools, np.random.default_rng(0)
    )
    texts = TrajectoryTexts(SAID[: len(done.steps)], "A. \\boxed{A}")
    encoded = encode_trajectory(compose(done, texts, HERMES, "", mask=mask), words, ())
    assert encoded.prompt is not None
    expected = [False] * len(encoded.prompt.ids)
    for turn, learned in zip(encoded.turns, LEARNED[template], strict=True):
        assert turn.sampled is not None
        call = "" if turn.call is None else HERMES.format(turn.call)
        text = learned.replace("CALL", call)
        is_wrong = not learned.endswith(".")
        assert (text if not is_wrong else text + call + ".") == turn.text + "."
        n_learned = len(words.encode(text)) - 1 if is_wrong else len(turn.sampled.ids)
        if is_wrong:
            assert turn.sampled.ids[:n_learned] == words.encode(text)[:-1]
        if is_wrong and mask == "message":
            n_learned = 0
        expected += [i < n_learned for i in range(len(turn.sampled.ids))]
        expected += [False] * len(turn.observed.ids if turn.observed is not None else ())
    assert loss_mask(encoded).tolist() == expected


@pytest.mark.parametrize(
    ("template", "shows"), [(T.SINGLE_PASS, [1]), (T.RESELECT, [0, 1]), (T.TEXT_ONLY, [])]
)
def test_templates_of_clips(tools: Tools, template: Template, shows: list[float]):
    for index in range(4):
        trajectory = written(tools, "clip", template, index)
        assert coverages(trajectory) == shows
        assert trajectory.task.cue is not None
        if shows:
            last = trajectory.turns[-2].observation
            assert last is not None
            assert last.frames == trajectory.task.cue.frames


def test_tasks_the_overview_answers_can_be_looked_at_too(tools: Tools):
    for kind in (*IMAGE_KINDS, "clip"):
        for index in range(4):
            assert coverages(written(tools, kind, T.SINGLE_PASS, index, needs=False)) == [1]


def test_a_further_zoom_is_cut_from_the_crop(tools: Tools):
    trajectory = written(tools, "attribute", T.FURTHER_ZOOM)
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
def test_every_unit(tools: Tools, unit: Unit, step: float):
    toolbox = Interaction().toolbox(unit, ChatFormat())
    spoken = Tools.of(replace(tools.vision, unit=unit), step, toolbox)
    for template in IMAGE_TEMPLATES:
        trajectory = written(spoken, "attribute", template, index=1)
        for turn in trajectory.turns[:-1]:
            assert turn.call is not None
            assert all(abs(v / step - round(v / step)) < 1e-6 for v in turn.call.arguments["bbox_2d"])


def test_a_message_names_its_subject_right_before_the_call(tools: Tools):
    for kind in (*IMAGE_KINDS, "clip"):
        template = T.RESELECT if kind == "clip" else T.RECROP_TWICE
        trajectory = written(tools, kind, template)
        for turn in trajectory.turns[:-1]:
            words, _, _ = turn.text.partition("<tool_call>")
            assert words.endswith(f"{trajectory.task.subject}.\n")


def test_sentences_are_short(tools: Tools):
    for template in IMAGE_TEMPLATES:
        for index in range(5):
            for turn in written(tools, "page", template, index).turns:
                words, _, _ = turn.text.partition("<tool_call>")
                assert all(len(sentence.split()) <= 10 for sentence in words.split("."))


def test_a_direct_answer_is_the_sentence_of_an_answer_after_an_operation(tools: Tools):
    direct, looked = (written(tools, "attribute", template) for template in (T.TEXT_ONLY, T.SINGLE_PASS))
    (only,) = direct.turns
    name, answer = direct.task.subject.capitalize(), direct.answer
    assert only.text == f"{name} reads {answer}. \\boxed{{{answer}}}"
    assert looked.turns[-1].text.startswith(looked.task.subject.capitalize() + " reads ")


def test_the_generator_fixes_everything(tools: Tools):
    assert written(tools, "count", T.RECROP_ONCE, 3) == written(tools, "count", T.RECROP_ONCE, 3)


def test_verify_finds_faults(tools: Tools):
    good = written(tools, "attribute", T.RECROP_ONCE)
    wrong, right, last = good.turns
    assert right.observation is not None
    found = {
        "not the reference": replace(good, answer="?"),
        "not the answer": replace(good, turns=(wrong, right, replace(last, text="It reads ?."))),
        "1 operations instead of 2": replace(good, turns=(right, last)),
        "operation 1 is learned": replace(good, turns=(replace(wrong, masked=None), right, last)),
        "operation 2 is not learned": replace(good, turns=(wrong, replace(right, masked=wrong.masked), last)),
        "operation 1 shows some of the cue": replace(
            good, turns=(replace(right, masked=wrong.masked), right, last)
        ),
        "operation 2 does not show the whole cue": replace(
            good, turns=(wrong, replace(wrong, masked=None), last)
        ),
        "operation 2 is not the one the message asks for": replace(
            good, turns=(wrong, replace(right, call=ToolCall("crop_image")), last)
        ),
        "operation 2 is not valid": replace(
            good, turns=(wrong, replace(right, observation=replace(right.observation, valid=False)), last)
        ),
        "hardly larger": replace(
            good, source="further_zoom", turns=(replace(right, masked=wrong.masked), right, last)
        ),
    }  # fmt: skip
    for message, faulty in found.items():
        assert any(message in problem for problem in faults(faulty)), message


def test_a_task_that_cannot_be_looked_at_is_refused(tools: Tools):
    task = WORLD.task("train", "attribute", 0, needs_operation=True)
    clip = WORLD.task("train", "clip", 0, needs_operation=True)

    with pytest.raises(SynthesisError, match="has no cue"):
        write(replace(task, cue=None), T.SINGLE_PASS, tools)
    with pytest.raises(SynthesisError, match="no box in a picture"):
        write(replace(task, cue=Cue()), T.SINGLE_PASS, tools)
    with pytest.raises(SynthesisError, match="never too large"):
        write(clip, T.FURTHER_ZOOM, tools)
    with pytest.raises(ValueError, match="no reference answer"):
        write(replace(task, answers=()), T.TEXT_ONLY, tools)
    with pytest.raises(ValueError, match="no subject"):
        write(replace(task, subject=""), T.SINGLE_PASS, tools)


def test_a_teacher_that_writes_too_little_is_told(tools: Tools):
    done = outline(
        WORLD.task("train", "count", 0, needs_operation=True), T.RECROP_ONCE, tools, np.random.default_rng(0)
    )
    with pytest.raises(SynthesisError, match="wrote 1 texts for 2 operations"):
        compose(done, TrajectoryTexts(("one",), "end"), HERMES, "relative", mask="operation")


def test_both_operations_are_needed(tools: Tools):
    only_crop = Interaction(operations=PAPER[:1]).toolbox(tools.vision.unit, ChatFormat())
    with pytest.raises(SynthesisError, match="list both in operations"):
        Tools.of(tools.vision, 20, only_crop)
