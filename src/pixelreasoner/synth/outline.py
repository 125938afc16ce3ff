"""What a synthesised trajectory does, before anybody words it: its operations, chosen and carried out.

Every operation is carried out, so observations are what a model would see. For `recrop_once`::

    step 1   a crop without the cue    its result
    step 2   a crop on the cue         its result
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

import numpy as np

from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.geometry import Box, Size, Unit
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation
from pixelreasoner.ops.build import undescribed
from pixelreasoner.ops.crop import CropImage
from pixelreasoner.ops.crop_normalized import CropImageNormalized
from pixelreasoner.ops.frames import SelectFrames
from pixelreasoner.ops.image_context import DisplayedImage, ImageContext
from pixelreasoner.ops.operation import Operation
from pixelreasoner.ops.toolbox import Toolbox
from pixelreasoner.synth import regions
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.regions import CoordinateGrid, CutRule, Shape, SynthesisError


class Move(Enum):
    """What one operation of a template is."""

    RIGHT = "on the cue"
    WRONG = "without the cue"
    TOO_LARGE = "far larger than the cue"


MOVES: Mapping[Template, tuple[Move, ...]] = {
    Template.TEXT_ONLY: (),
    Template.SINGLE_PASS: (Move.RIGHT,),
    Template.RECROP_ONCE: (Move.WRONG, Move.RIGHT),
    Template.RECROP_TWICE: (Move.WRONG, Move.WRONG, Move.RIGHT),
    Template.FURTHER_ZOOM: (Move.TOO_LARGE, Move.RIGHT),
    Template.RESELECT: (Move.WRONG, Move.RIGHT),
}


@dataclass(frozen=True)
class Step:
    """One operation, carried out."""

    move: Move
    call: ToolCall
    observation: Observation


@dataclass(frozen=True)
class Outline:
    """A trajectory without its words."""

    task: Task
    template: Template
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Tools:
    """How the model to be taught sees, points and calls."""

    vision: VisionSpec
    coordinate_step: float
    """Coordinates are multiples of it, in `unit`."""
    toolbox: Toolbox
    crop: str
    """What the toolbox calls the operation that crops, and the one that selects frames."""
    select: str
    unit: Unit
    """What the numbers of a box mean to the operation that crops."""
    cut: CutRule
    """What it cuts."""
    clearance: float
    """Between a wrong crop and the cue, as a share of the image's sides (`regions.CoordinateGrid`)."""

    @classmethod
    def of(
        cls, vision: VisionSpec, coordinate_step: float, toolbox: Toolbox | None, *, clearance: float = 0.0
    ) -> Tools:
        """The tools of an interaction.

        Args:
            vision: how the model sees.
            coordinate_step: in the unit of the operation that crops.
            toolbox: holds one that crops, and one that selects frames.
            clearance: what wrong crops keep from the cue, as a share of the image's sides. For training code
                that enlarges every crop after the fact, as much as it adds.

        Raises:
            SynthesisError: it offers no operation that crops, or none that selects frames; or the step leaves
                no boxes to choose from.
        """
        crop = select = None
        for operation in toolbox.operations if toolbox is not None else ():
            match undescribed(operation):
                case CropImage() | CropImageNormalized():
                    crop = operation
                case SelectFrames():
                    select = operation
                case _:
                    pass
        if toolbox is None or crop is None or select is None:
            raise SynthesisError("the templates use crop_image and select_frames; list both in operations")
        unit, cut = _cutting(undescribed(crop))
        if unit is not Unit.PIXEL:
            share = Box(0, 0, coordinate_step, 0, unit).to(Unit.FRACTION, Size(1, 1)).x2
            if share > COARSEST:
                raise SynthesisError(
                    f"coordinate_step is {coordinate_step:g}, and the model's boxes are "
                    f"{_RANGES[unit]}: set it to {coordinate_step * 0.02 / share:g} or less"
                )
        return cls(vision, coordinate_step, toolbox, crop.name, select.name, unit, cut, clearance)

    def grid(self, shown: DisplayedImage) -> CoordinateGrid:
        """The boxes that can be written about an image."""
        return CoordinateGrid(
            shown.picture.size, shown.view, self.unit, self.coordinate_step, self.cut, self.clearance
        )


COARSEST = 0.1
"""The largest step of a coordinate, as a share of the image's side."""
_RANGES = {Unit.FRACTION: "fractions, from 0 to 1", Unit.RELATIVE: "from 0 to 1000"}


def _cutting(crop: Operation) -> tuple[Unit, CutRule]:
    """What the numbers of a box mean to an operation that crops, and what it cuts for them."""
    match crop:
        case CropImageNormalized():
            return Unit.FRACTION, CutRule(crop.padding, crop.min_side_px, below_one=True)
        case CropImage():
            return crop.unit, CutRule(least_px=crop.min_side_px)
        case _:
            raise AssertionError(crop)


def outline(task: Task, template: Template, tools: Tools, rng: np.random.Generator) -> Outline:
    """The operations of `template` on `task`, carried out.

    Raises:
        SynthesisError: the task has no cue that the template could use.
        MediaError: the task holds more than one video.
    """
    builder = _Builder(task, tools, rng, tools.vision.image_context(task.media))
    return Outline(task, template, tuple(builder.operate(move) for move in MOVES[template]))


def elsewhere(task: Task, tools: Tools, rng: np.random.Generator, *avoided: Box) -> Observation:
    """What an operation shows that has nothing of the task's cue.

    Args:
        task: has a cue.
        tools: as for `outline`.
        rng: chooses the region, or the frames.
        avoided: boxes in pixels of the cue's picture, kept out of the region too where there is room.

    Raises:
        SynthesisError: the cue leaves no room.
    """
    context = tools.vision.image_context(task.media)
    return _Builder(task, tools, rng, context, wrong=list(avoided)).operate(Move.WRONG).observation


@dataclass
class _Builder:
    """An outline in the making."""

    task: Task
    tools: Tools
    rng: np.random.Generator
    context: ImageContext
    wrong: list[Box] = field(default_factory=list[Box])
    """The wrong crops so far, in pixels of the picture."""
    zoomed: Observation | None = None
    """The crop that is too large, if one was made: the next crop is cut from it."""

    def operate(self, move: Move) -> Step:
        """Choose one operation and carry it out."""
        call = self._select(move) if self._cue.frames else self._crop(move)
        observation = self.tools.toolbox.execute(call, self.context)
        shown = (self.tools.vision.displayed(image, crop=True) for image in observation.images)
        self.context = self.context.add(*shown)
        if move is Move.WRONG and observation.box is not None:
            self.wrong.append(observation.box)
        if move is Move.TOO_LARGE:
            self.zoomed = observation
        return Step(move, call, observation)

    @property
    def _cue(self) -> Cue:
        if self.task.cue is None:
            raise SynthesisError(
                f"task {self.task.id!r} has no cue to look at; give it one, or use text_only"
            )
        return self.task.cue

    def _crop(self, move: Move) -> ToolCall:
        cue, target = self._box_in_view()
        grid = self.tools.grid(self.context.images[target - 1])
        match move:
            case Move.WRONG:
                box = regions.disjoint_box(cue, grid, self.rng, *self.wrong, shape=self._shape)
            case Move.TOO_LARGE:
                box = regions.too_large_box(cue, grid, self.rng, self._shape)
            case Move.RIGHT:
                box = regions.fitting_box(cue, grid, self.rng, self._shape)
        corners = [int(v) if v == int(v) else v for v in (box.x1, box.y1, box.x2, box.y2)]
        return ToolCall(self.tools.crop, {"bbox_2d": corners, "target_image": target})

    @cached_property
    def _shape(self) -> Shape:
        """Of the crops; the same for a crop of a crop. What the whole picture answers needs no close crop."""
        box, item = self._cue.box, self.task.media[self._cue.target - 1]
        assert box is not None, "a cue without a box is refused before"
        shape = regions.shape_of(box, item.size)
        return Shape.SQUARE if shape is Shape.CLOSE and self.task.needs_operation is False else shape

    def _box_in_view(self) -> tuple[Box, int]:
        """The cue's box in the image to crop next, in its original pixels, and that image's number."""
        cue, media = self._cue, self.task.media
        if cue.box is None or not isinstance(media[cue.target - 1], Picture):
            raise SynthesisError(f"the cue of task {self.task.id!r} is no box in a picture; use text_only")
        if self.zoomed is not None and self.zoomed.box is not None:
            corner, box = self.zoomed.box, cue.box
            moved = Box(box.x1 - corner.x1, box.y1 - corner.y1, box.x2 - corner.x1, box.y2 - corner.y1)
            return moved, len(self.context.images)
        return cue.box, sum(isinstance(item, Picture) for item in media[: cue.target])

    def _select(self, move: Move) -> ToolCall:
        video, cue = self.context.video, self._cue
        if video is None or move is Move.TOO_LARGE:
            raise SynthesisError(
                f"task {self.task.id!r}: frames are selected in a video, and never too large"
            )
        if move is Move.WRONG:
            frames = regions.disjoint_frames(cue.frames, len(video.frames), self.rng)
        else:
            frames = regions.fitting_frames(cue.frames, self.rng)
        return ToolCall(self.tools.select, {"target_frames": list(frames)})
