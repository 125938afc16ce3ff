"""From an outline and a teacher's words to a trajectory, and the check that it is what its template says.

A wrong operation is kept in view and never learned (`Turn.masked`); the words before it, and what is said
after it, the correction, are. For `recrop_once`, what is learned::

    turn 1   "The red card is too small to read. Zoom in on the red card."     not the crop elsewhere
    turn 2   "The red card is not here. Look again. Zoom in on the red card." + the crop on it
    turn 3   "It reads K. \\boxed{K}"
"""

from __future__ import annotations

from typing import Literal

from pixelreasoner.chat.calls import last_boxed
from pixelreasoner.chat.families import CallSyntax
from pixelreasoner.core.inspection import InspectedRegion, inspected_regions
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn
from pixelreasoner.rewards.scorers import Scorer
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.outline import MOVES, Move, Outline, Step
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.teacher import TrajectoryTexts

ErrorMask = Literal["operation", "message"]
"""What is not learned of a message with a deliberately wrong operation: the call (the paper's), or all of it
(an ablation)."""
FAR_LARGER = 2.0
"""A crop counts as too large when its area is at least this many times that of the crop on the cue."""


def compose(
    outline: Outline, texts: TrajectoryTexts, syntax: CallSyntax, coordinates: str, *, mask: ErrorMask
) -> Trajectory:
    """The trajectory of an outline in a teacher's words, without tokens (`chat.encode` writes them).

    Args:
        outline: what is done.
        texts: what is said.
        syntax: how the model writes calls.
        coordinates: what the numbers of a box mean.
        mask: what of a message with a wrong operation is not learned.

    Raises:
        SynthesisError: there are not as many texts as operations.
    """
    if len(texts.before) != len(outline.steps):
        raise SynthesisError(
            f"task {outline.task.id!r}: the teacher wrote {len(texts.before)} texts for "
            f"{len(outline.steps)} operations; it has to write one for each"
        )
    turns = [
        _turn(words, step, syntax, mask) for words, step in zip(texts.before, outline.steps, strict=True)
    ]
    return Trajectory(
        task=outline.task,
        turns=(*turns, Turn(texts.conclusion)),
        stop=StopReason.ANSWER,
        answer=last_boxed(texts.conclusion),
        source=outline.template.value,
        coordinates=coordinates,
    )


def _turn(words: str, step: Step, syntax: CallSyntax, mask: ErrorMask) -> Turn:
    text = f"{words}\n{syntax.format(step.call)}"
    start = 0 if mask == "message" else len(words) + 1
    masked = None if step.move is Move.RIGHT else (start, len(text))
    return Turn(text, step.call, step.observation, masked=masked)


def verify(trajectory: Trajectory, scorer: Scorer, syntax: CallSyntax) -> list[str]:
    """What is wrong with a synthesised trajectory; empty when nothing is.

    The answer is the reference; every message asks for what is on record; every operation is valid; and each
    move of the template did what it is for, in original pixels.
    """
    task, moves = trajectory.task, MOVES[Template(trajectory.source)]
    *operations, last = trajectory.turns
    problems: list[str] = []
    if scorer(trajectory.answer, task.answers, task) < 1:
        problems.append(f"the answer {trajectory.answer!r} is not the reference")
    if last.call is not None or last_boxed(last.text) != trajectory.answer:
        problems.append("the last message is not the answer")
    if len(operations) != len(moves):
        return [*problems, f"{len(operations)} operations instead of {len(moves)}"]
    if not moves:
        return problems
    seen = inspected_regions(trajectory)
    for number, (move, turn, region) in enumerate(zip(moves, operations, seen[:-1], strict=True), start=1):
        if turn.call is None or syntax.parse(turn.text).call != turn.call:
            problems.append(f"operation {number} is not the one the message asks for")
        problems += [f"operation {number} {fault}" for fault in _faults(move, turn, region, seen[-2], task)]
    return problems


def _faults(
    move: Move, turn: Turn, region: InspectedRegion | None, final: InspectedRegion | None, task: Task
) -> list[str]:
    """What is wrong with one operation; `final` is the region of the template's last one."""
    faults: list[str] = []
    if (turn.masked is None) is not (move is Move.RIGHT):
        faults.append("is learned" if turn.masked is None else "is not learned")
    if region is None or final is None or task.cue is None:
        return [*faults, "is not valid"]
    coverage = region.coverage_of(task.cue)
    if move is Move.WRONG and coverage > 0:
        faults.append("shows some of the cue")
    if move is not Move.WRONG and coverage < 1:
        faults.append("does not show the whole cue")
    too_small = region.box and final.box and region.box.area < FAR_LARGER * final.box.area
    if move is Move.TOO_LARGE and too_small:
        faults.append("is hardly larger than the one on the cue")
    return faults
