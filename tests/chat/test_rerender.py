"""A trajectory for another checkpoint: the same regions in its coordinates, the same words, its tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pixelreasoner.chat.families import QWEN2_5_VL, QWEN3_VL
from pixelreasoner.chat.pixels import Normalization
from pixelreasoner.chat.rerender import rerender, rewrite_texts, written_box
from pixelreasoner.chat.vision_spec import PixelBudget, VisionSpec
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.geometry import Box, Size, Unit
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import Parsed, ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.models.vlm import renderer_of
from pixelreasoner.ops.image_context import DisplayedImage
from toolboxes import standard_toolbox

HERMES = QWEN2_5_VL.syntax


def spec(unit: Unit, *, image: int = 224, crop: int = 224) -> VisionSpec:
    """Tokens of 28 pixels; the budgets are given by the side of a square."""
    budgets = (PixelBudget(min_pixels=784, max_pixels=side * side) for side in (image, crop))
    grey = Normalization((0.5,) * 3, (0.5,) * 3)
    return VisionSpec(unit, 14, 2, 2, grey, *budgets, PixelBudget(min_pixels=784, max_pixels=3136))


RELATIVE, PIXELS, FRACTIONS = spec(Unit.RELATIVE), spec(Unit.PIXEL, crop=56), spec(Unit.FRACTION)


def toolbox(unit: Unit):
    return standard_toolbox(unit=unit, crop_reply="Image {index}:", frames_reply="f", error_reply="{error}")


def message(call: ToolCall) -> str:
    return f"Closer.\n{HERMES.format(call)}"


def crop_call(box: list[float], target: int = 1) -> ToolCall:
    return ToolCall("crop_image", {"bbox_2d": box, "target_image": target})


def carried_out(vision: VisionSpec, task: Task, *calls: ToolCall) -> Trajectory:
    """What a rollout with these calls records."""
    context, turns = vision.image_context(task.media), []
    for call in calls:
        seen = toolbox(vision.unit).execute(call, context)
        context = context.add(*(vision.displayed(image, crop=True) for image in seen.images))
        turns.append(Turn(message(call), call, seen))
    answer = Turn("It reads K. \\boxed{K}")
    return Trajectory(task, (*turns, answer), StopReason.ANSWER, "K", coordinates=vision.coordinates)


def executed(trajectory: Trajectory, vision: VisionSpec) -> list[Observation]:
    """What comes of the calls in the texts, to a model that sees as `vision`."""
    context, seen = vision.image_context(trajectory.task.media), []
    for turn in trajectory.turns:
        call = HERMES.parse(turn.text).call
        assert call == turn.call
        if call is not None:
            seen.append(toolbox(vision.unit).execute(call, context))
            context = context.add(*(vision.displayed(image, crop=True) for image in seen[-1].images))
    return seen


@pytest.fixture
def task(picture: Callable[..., Picture]) -> Task:
    return Task("t", "Which letter?", (picture(600, 400),), ("K",))


@pytest.fixture
def zoomed(task: Task) -> Trajectory:
    """A crop of the right half, 300x400, and one from its middle, 150x200."""
    return carried_out(
        RELATIVE, task, crop_call([500, 0, 1000, 1000]), crop_call([250, 250, 750, 750], target=2)
    )


class TestWrittenBox:
    SHOWN = Size(100, 50)

    @pytest.mark.parametrize(
        ("unit", "expected"),
        # A box of an image of 300x100, shown at 100x50: x by a third, y by half.
        [
            (Unit.PIXEL, [3, 5, 67, 26]),  # 3.33, 5, 66.67, 25.5
            (Unit.RELATIVE, [33, 100, 667, 510]),  # 33.3, 100, 666.7, 510
            (Unit.FRACTION, [0.033, 0.1, 0.667, 0.51]),
        ],
    )
    def test_numbers_by_hand(self, picture, unit, expected):
        shown = DisplayedImage(picture(300, 100), self.SHOWN)
        assert written_box(Box(10, 10, 200, 51), shown, unit) == expected

    @pytest.mark.parametrize("unit", list(Unit))
    def test_the_whole_image_is_written_as_the_whole(self, picture, unit):
        edge = {Unit.PIXEL: [100, 50], Unit.RELATIVE: [1000, 1000], Unit.FRACTION: [1, 1]}[unit]
        shown = DisplayedImage(picture(301, 97), self.SHOWN)
        assert written_box(Box(0, 0, 301, 97), shown, unit) == [0, 0, *edge]


class TestTexts:
    def test_numbers_by_hand(self, zoomed):
        """600x400 is shown at 252x168 and its crop of 300x400 at 28x56: what 224 and 56 squared allow."""
        view = PIXELS.image_context(zoomed.task.media).images[0].view
        crop = PIXELS.displayed(zoomed.turns[0].observation.images[0], crop=True).view
        assert (view, crop) == (Size(252, 168), Size(28, 56))
        new = rewrite_texts(zoomed, PIXELS, HERMES)
        first, second, answer = new.turns
        assert first.call.arguments == {"bbox_2d": [126, 0, 252, 168], "target_image": 1}
        assert second.call.arguments == {"bbox_2d": [7, 14, 21, 42], "target_image": 2}
        assert first.text == message(first.call)
        assert answer == zoomed.turns[-1]
        assert new.coordinates == PIXELS.coordinates

    @pytest.mark.parametrize("old", [RELATIVE, PIXELS, FRACTIONS], ids=lambda v: v.unit)
    @pytest.mark.parametrize("new", [RELATIVE, spec(Unit.PIXEL, image=448), FRACTIONS], ids=lambda v: v.unit)
    def test_calls_mean_the_same_regions(self, task, old, new):
        edge = old.image_context(task.media).images[0].view if old.unit is Unit.PIXEL else (1000, 1000)
        scale = 1000 if old.unit is Unit.FRACTION else 1
        corners = [0.13 * edge[0], 0.21 * edge[1], 0.8 * edge[0], 0.95 * edge[1]]
        recorded = carried_out(old, task, crop_call([round(v) / scale for v in corners]))
        rewritten = rewrite_texts(recorded, new, HERMES)
        for turn, seen in zip(recorded.turns, executed(rewritten, new), strict=False):
            assert seen.valid
            assert seen.box.contains(turn.observation.box)
            assert seen.box.iou(turn.observation.box) > 0.97

    def test_without_other_coordinates_every_word_stays(self, zoomed):
        assert rewrite_texts(zoomed, RELATIVE, HERMES) == zoomed

    def test_a_call_that_showed_nothing_is_kept_and_not_trained_on(self, task):
        old = carried_out(RELATIVE, task, crop_call([0, 0, 2000, 500]), crop_call([500, 0, 1000, 1000]))
        assert [turn.observation.valid for turn in old.turns[:2]] == [False, True]
        failed, right, _ = rewrite_texts(old, PIXELS, HERMES).turns
        assert failed == replace(old.turns[0], masked=(0, len(old.turns[0].text)))
        assert right.masked is None
        same = rewrite_texts(old, RELATIVE, HERMES)
        assert same == old

    def test_a_call_that_was_not_carried_out_likewise(self, task):
        call = crop_call([0, 0, 500, 500])
        old = Trajectory(task, (Turn(message(call), call),), StopReason.TURN_LIMIT, coordinates="relative")
        masked = (0, len(message(call)))
        assert rewrite_texts(old, PIXELS, HERMES).turns == (Turn(message(call), call, masked=masked),)

    @pytest.mark.parametrize("start", [0, None], ids=["message", "operation"])
    def test_what_is_masked_stays_masked(self, task, start):
        """The whole message, or the call, which is longer or shorter in other coordinates."""
        old = carried_out(RELATIVE, task, crop_call([0, 0, 1000, 500]))
        wrong, last = old.turns
        start = wrong.text.index("<tool_call>") if start is None else start
        old = replace(old, turns=(replace(wrong, masked=(start, len(wrong.text))), last))
        new, _ = rewrite_texts(old, PIXELS, HERMES).turns
        assert new.text != wrong.text
        assert new.masked == (start, len(new.text))

    def test_other_operations_keep_their_words(self, task):
        call = ToolCall("mirror", {"target_image": 1})
        turn = Turn(message(call), call, Observation("Image 2:", task.media))
        old = Trajectory(task, (turn, Turn("K")), StopReason.ANSWER, coordinates="relative")
        assert rewrite_texts(old, PIXELS, HERMES).turns == old.turns

    def test_words_around_the_call_stay_and_later_calls_go(self, zoomed):
        first = zoomed.turns[0]
        words = f" Hm.\n\n{HERMES.format(first.call)}\nAnd now?\n"
        old = replace(zoomed, turns=(replace(first, text=words + message(first.call)), *zoomed.turns[1:]))
        new = rewrite_texts(old, PIXELS, HERMES).turns[0]
        assert new.text == f" Hm.\n\n{HERMES.format(new.call)}\nAnd now?\nCloser.\n"

    def test_calls_are_written_in_the_syntax_of_the_new_family(self, zoomed):
        class AtSign:
            open_tag = "@"

            def parse(self, text: str, tools=()) -> Parsed:
                before, opened, rest = text.partition("@")
                return Parsed(before.strip(), ToolCall(*json.loads(rest)) if opened else None)

            def format(self, call: ToolCall) -> str:
                return "@" + json.dumps([call.name, dict(call.arguments)])

        new = rewrite_texts(zoomed, RELATIVE, AtSign()).turns[0]
        expected = '@["crop_image", {"bbox_2d": [500, 0, 1000, 1000], "target_image": 1}]'
        assert new.text == f"Closer.\n{expected}"

    def test_a_text_without_the_call_on_record_is_named(self, zoomed):
        old = replace(zoomed, turns=(replace(zoomed.turns[0], text="Closer."), *zoomed.turns[1:]))
        with pytest.raises(RecordError, match="turn 1 of the trajectory of task 't': its text does not hold"):
            rewrite_texts(old, PIXELS, HERMES)


def test_tokens_are_those_of_the_new_model(zoomed, qwen3_folder: Path, qwen25_folder: Path):
    """There and back: the first model's tokens are refused by the second, and come back equal."""
    first, second = renderer_of(qwen3_folder), renderer_of(qwen25_folder)
    old = rerender(zoomed, first, QWEN3_VL.syntax, toolbox(Unit.RELATIVE).schemas)
    new = rerender(old, second, QWEN2_5_VL.syntax, toolbox(Unit.PIXEL).schemas)
    assert new.fingerprint == second.fingerprint
    assert second.decode(new.turns[0].sampled.ids) == new.turns[0].text
    assert not any(turn.sampled.logprobs for turn in new.turns)
    again = rerender(old, first, QWEN3_VL.syntax, toolbox(Unit.RELATIVE).schemas)
    assert again == old
