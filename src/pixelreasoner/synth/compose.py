"""Writing one trajectory: the template decides what is done, the teacher words it, the toolbox does it.

Every operation is carried out, so observations are what a model would see. A wrong operation is kept in view
and never learned (`Turn.trainable`); what is said after it, the correction, is. For `recrop_once`::

    turn 1   "The red card is too small to read. Zoom in on the red card." + a crop elsewhere   not learned
    turn 2   "The red card is not here. Look again. Zoom in on the red card." + a crop on it    learned
    turn 3   "It reads K. \\boxed{K}"                                                           learned
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from pixelreasoner.chat.parsing import format_call, last_boxed, parse_message
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.inspection import InspectedRegion, inspected_regions
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.ops.image_context import ImageContext
from pixelreasoner.ops.toolbox import Toolbox
from pixelreasoner.rewards.answers import is_correct
from pixelreasoner.synth import regions
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.sight import Sight
from pixelreasoner.synth.teacher import Teacher


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
FAR_LARGER = 2.0
"""A crop counts as too large when its area is at least this many times that of the crop on the cue."""


def compose(
    task: Task,
    template: Template,
    teacher: Teacher,
    *,
    sight: Sight,
    toolbox: Toolbox,
    rng: np.random.Generator,
) -> Trajectory:
    """A trajectory about `task` after `template`, without tokens: `chat.encode` writes those of a model.

    Raises:
        SynthesisError: the task has no cue the template could use, or the result does not hold what `verify`
            demands.
    """
    story = _Story(task, teacher, sight, toolbox, rng, sight.context(task))
    for move in MOVES[template]:
        story.operate(move)
    text = teacher.conclusion(task, rng)
    trajectory = Trajectory(
        task=task,
        turns=(*story.turns, Turn(text)),
        stop=StopReason.ANSWER,
        answer=last_boxed(text),
        source=template.value,
    )
    if problems := verify(trajectory):
        raise SynthesisError(
            f"a {template} trajectory about task {task.id!r} is wrong: {'; '.join(problems)}"
        )
    return trajectory


@dataclass
class _Story:
    """A trajectory as it is written."""

    task: Task
    teacher: Teacher
    sight: Sight
    toolbox: Toolbox
    rng: np.random.Generator
    context: ImageContext
    turns: list[Turn] = field(default_factory=list)
    wrong: list[Box] = field(default_factory=list)
    """The wrong crops so far, in pixels of the picture."""
    last: Move | None = None
    zoomed: Observation | None = None
    """The crop that is too large, if one was made: the next crop is cut from it."""

    def operate(self, move: Move) -> None:
        """Add the turn of one operation, carried out."""
        call = self._select(move) if self._cue.frames else self._crop(move)
        words = f"{self._opening()} {self.teacher.before_operation(self.task, self.rng)}"
        observation = self.toolbox.execute(call, self.context)
        text = f"{words}\n{format_call(call)}"
        self.turns.append(Turn(text, call, observation, trainable=move is Move.RIGHT))
        self.context = self.context.add(
            *(self.sight.displayed(image, crop=True) for image in observation.images)
        )
        self.last = move
        if move is Move.WRONG and observation.box is not None:
            self.wrong.append(observation.box)
        if move is Move.TOO_LARGE:
            self.zoomed = observation

    @property
    def _cue(self) -> Cue:
        if self.task.cue is None:
            raise SynthesisError(
                f"task {self.task.id!r} has no cue to look at; give it one, or use text_only"
            )
        return self.task.cue

    def _opening(self) -> str:
        """What the message says about what was last seen."""
        match self.last:
            case Move.WRONG:
                return self.teacher.after_wrong(self.task, self.rng)
            case Move.TOO_LARGE:
                return self.teacher.after_too_large(self.task, self.rng)
            case _:
                return self.teacher.analysis(self.task, self.rng)

    def _crop(self, move: Move) -> ToolCall:
        cue, target = self._box_in_view()
        lattice = self.sight.lattice(self.context.images[target - 1])
        match move:
            case Move.WRONG:
                said = regions.disjoint_box(cue, lattice, self.rng, *self.wrong)
            case Move.TOO_LARGE:
                said = regions.too_large_box(cue, lattice, self.rng)
            case Move.RIGHT:
                said = regions.fitting_box(cue, lattice, self.rng)
        corners = [int(v) if v == int(v) else v for v in (said.x1, said.y1, said.x2, said.y2)]
        return ToolCall("crop_image", {"bbox_2d": corners, "target_image": target})

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
        return ToolCall("select_frames", {"target_frames": list(frames)})


def verify(trajectory: Trajectory) -> list[str]:
    """What is wrong with a synthesised trajectory; empty when nothing is.

    The answer is the reference; every message asks for what is on record; every operation is valid; and each
    move of the template did what it is for, in original pixels.
    """
    moves = MOVES[Template(trajectory.source)]
    *operations, last = trajectory.turns
    problems: list[str] = []
    if not is_correct(trajectory.answer, trajectory.task.answers):
        problems.append(f"the answer {trajectory.answer!r} is not the reference")
    if last.call is not None or last_boxed(last.text) != trajectory.answer:
        problems.append("the last message is not the answer")
    if len(operations) != len(moves):
        return [*problems, f"{len(operations)} operations instead of {len(moves)}"]
    if not moves:
        return problems
    seen = inspected_regions(trajectory)
    for number, (move, turn, look) in enumerate(zip(moves, operations, seen[:-1], strict=True), start=1):
        problems += [f"operation {number} {p}" for p in _faults(move, turn, look, seen[-2], trajectory.task)]
    return problems


def _faults(
    move: Move, turn: Turn, look: InspectedRegion | None, final: InspectedRegion | None, task: Task
) -> list[str]:
    """What is wrong with one operation; `final` is where the template's last one looked."""
    faults: list[str] = []
    if turn.call is None or parse_message(turn.text).call != turn.call:
        faults.append("is not the one the message asks for")
    if turn.trainable is not (move is Move.RIGHT):
        faults.append("is learned" if turn.trainable else "is not learned")
    if look is None or final is None or task.cue is None:
        return [*faults, "is not valid"]
    coverage = look.coverage_of(task.cue)
    if move is Move.WRONG and coverage > 0:
        faults.append("shows some of the cue")
    if move is not Move.WRONG and coverage < 1:
        faults.append("does not show the whole cue")
    if move is Move.TOO_LARGE and look.box and final.box and look.box.area < FAR_LARGER * final.box.area:
        faults.append("is hardly larger than the one on the cue")
    return faults
