"""Recorded trajectories for another checkpoint: the same regions and words, in its coordinates and tokens.

A file written for one model cannot be read by another as it is: tokens are those of one tokenizer, and the
numbers of a box mean what one family says, for pixels even at one pixel budget. What a crop showed is on
record in original pixels (`Observation.box`); the numbers of its call are written anew from there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from pixelreasoner.chat.encode import encode_trajectory
from pixelreasoner.chat.families import FAMILIES, CallSyntax
from pixelreasoner.chat.renderer import Renderer, ToolSchema
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.geometry import Box, Unit
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.trajectory import Span, Trajectory, Turn
from pixelreasoner.ops.image_context import DisplayedImage, ImageContext

BOX_ARGUMENT = "bbox_2d"
"""The argument of a call that holds a box, whatever the operation is called."""
_STEPS = {Unit.PIXEL: 1, Unit.RELATIVE: 1, Unit.FRACTION: 1000}
"""A written coordinate is a multiple of one part in so many of its unit: fractions have three decimals."""
_NOISE = 1e-6
"""In steps: what the conversion of a unit may be off without claiming one more step."""


def rerender(
    trajectory: Trajectory, renderer: Renderer, syntax: CallSyntax, tools: Sequence[ToolSchema]
) -> Trajectory:
    """The trajectory with the tokens of `renderer`'s model; log-probabilities are dropped.

    Args:
        trajectory: written for any model.
        renderer: of the new model.
        syntax: how the new model writes calls.
        tools: the operations that the prompt offers.

    Raises:
        RecordError: as `rewrite_texts`.
    """
    return encode_trajectory(rewrite_texts(trajectory, renderer.vision, syntax, tools), renderer, tools)


def rewrite_texts(
    trajectory: Trajectory, vision: VisionSpec, syntax: CallSyntax, tools: Sequence[ToolSchema] = ()
) -> Trajectory:
    """The trajectory without tokens, its calls as the model of `vision` and `syntax` writes them.

    Boxes are rounded outward. A message without a call stays as it is, and so does one whose call already
    reads the same. A box that showed nothing (its call failed, or was not carried out) has no region on
    record: where the coordinates change, its message stays as it is and is masked. Boxes in
    other words of a message are not found. `tools` are the operations that the prompt offered.

    Raises:
        RecordError: a message does not hold the call on record, or a crop is from an image there is not.
    """
    context = vision.image_context(trajectory.task.media)
    same = trajectory.coordinates == vision.coordinates
    turns: list[Turn] = []
    for number, turn in enumerate(trajectory.turns, start=1):
        try:
            rewritten = _rewrite(turn, None if same else vision.unit, context, syntax, tools)
        except RecordError as e:
            raise RecordError(f"turn {number} of the trajectory of task {trajectory.task.id!r}: {e}") from e
        turns.append(replace(rewritten, sampled=None, observed=None))
        if turn.observation is not None:
            shown = (vision.displayed(picture, crop=True) for picture in turn.observation.images)
            context = context.add(*shown)
    return replace(
        trajectory, prompt=None, turns=tuple(turns), fingerprint="", coordinates=vision.coordinates
    )


def written_box(box: Box, shown: DisplayedImage, unit: Unit) -> list[float]:
    """A box in original pixels, as the numbers a model writes for it: rounded outward to whole steps.

    Whole numbers of pixels (of the image as shown) and of thousandths, three decimals of fractions.
    """
    fractions = box.to(Unit.FRACTION, shown.picture.size)
    x1, y1, x2, y2 = _corners(fractions.to(unit, shown.view))
    step = _STEPS[unit]
    low = [math.floor(v * step + _NOISE) for v in (x1, y1)]
    high = [math.ceil(v * step - _NOISE) for v in (x2, y2)]
    return [v if step == 1 else v / step for v in (*low, *high)]


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.x1, box.y1, box.x2, box.y2


def _rewrite(
    turn: Turn, unit: Unit | None, context: ImageContext, syntax: CallSyntax, tools: Sequence[ToolSchema]
) -> Turn:
    """One message for the new model; `unit` is None where the numbers of a box keep their meaning."""
    call, seen = turn.call, turn.observation
    if call is None:
        # What cannot be read as a call was meant for one, in numbers of the old model.
        return turn if unit is None or seen is None else replace(turn, masked=_whole(turn.text))
    if unit is not None and BOX_ARGUMENT in call.arguments:
        if seen is None or not seen.valid or seen.box is None:
            return replace(turn, masked=_whole(turn.text))
        if not 1 <= seen.source <= len(context.images):
            raise RecordError(f"it crops image {seen.source}, and there are {len(context.images)}")
        numbers = written_box(seen.box, context.images[seen.source - 1], unit)
        call = replace(call, arguments={**call.arguments, BOX_ARGUMENT: numbers})
    if syntax.parse(turn.text, tools).call == call:
        return turn
    text = _with_call(turn, call, syntax, tools)
    if turn.masked is None:
        return replace(turn, text=text, call=call)
    masked = _whole(text) if turn.masked == _whole(turn.text) else call_span(text, call, syntax)
    return replace(turn, text=text, call=call, masked=masked)


def call_span(text: str, call: ToolCall, syntax: CallSyntax) -> Span:
    """Where the operation stands in a message that was written with it, in characters."""
    written = syntax.format(call)
    start = text.index(written)
    return start, start + len(written)


def _whole(text: str) -> Span:
    return 0, len(text)


def _with_call(turn: Turn, call: ToolCall, syntax: CallSyntax, tools: Sequence[ToolSchema]) -> str:
    """The message with `call` in place of its own; calls after the first, which nobody reads, are dropped."""
    known = (syntax, *(family.syntax for family in FAMILIES.values()))
    # Its values may have had the types of the tools, or those of plain text.
    for old, types in itertools.product(known, (tools, ())):
        parsed = old.parse(turn.text, types)
        if parsed.call == turn.call:
            before = turn.text.partition(old.open_tag)[0]
            after = "" if parsed.text == before.strip() else parsed.text.removeprefix(before.lstrip())
            return before + syntax.format(call) + after.partition(old.open_tag)[0]
    raise RecordError("its text does not hold the call on record")
