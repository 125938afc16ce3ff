"""From a teacher's words to a model's tokens: what a rollout records as it goes, written afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pixelreasoner.chat.prompting import task_messages
from pixelreasoner.chat.renderer import Renderer, ToolSchema
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.trajectory import Segment, Trajectory, Turn


def encode_trajectory(trajectory: Trajectory, renderer: Renderer, tools: Sequence[ToolSchema]) -> Trajectory:
    """The trajectory with its tokens: the segments a rollout would record, had its model said these texts.

    A trajectory that has its tokens is returned as it is: tokens are written once. An observation of the last
    turn stays without tokens, since nobody read it. `tools` are the operations the prompt offers.

    Raises:
        RecordError: as `check_written_for`.
    """
    check_written_for(trajectory, renderer)
    if trajectory.prompt is not None:
        return trajectory
    last = len(trajectory.turns) - 1
    turns = tuple(_encode(turn, renderer, read=i < last) for i, turn in enumerate(trajectory.turns))
    messages = task_messages(trajectory.task, renderer.chat_format, tools=bool(tools))
    return replace(
        trajectory,
        prompt=renderer.prompt(messages, tools),
        turns=turns,
        fingerprint=renderer.fingerprint,
        coordinates=renderer.vision.coordinates,
    )


def check_length(trajectory: Trajectory, renderer: Renderer) -> Trajectory:
    """The trajectory itself, which has tokens.

    Raises:
        RecordError: there are more than the model has positions for.
    """
    n = sum(renderer.n_tokens(segment, prompt=i == 0) for i, segment in enumerate(trajectory.segments))
    if renderer.max_tokens is not None and n > renderer.max_tokens:
        raise RecordError(
            f"the trajectory of task {trajectory.task.id!r} takes {n} tokens, and the model reads "
            f"{renderer.max_tokens} (max_position_embeddings in its config.json); leave it out of the file, "
            f"or set a smaller pixel budget"
        )
    return trajectory


def check_written_for(trajectory: Trajectory, renderer: Renderer) -> None:
    """Refuse a trajectory whose tokens or coordinates are another model's.

    Raises:
        RecordError: they are; the message says how to render the file anew.
    """
    remedy = (
        "render the file for this checkpoint: "
        "pixelreasoner render FILE.jsonl --checkpoint CHECKPOINT --out OUT.jsonl"
    )
    if trajectory.fingerprint and trajectory.fingerprint != renderer.fingerprint:
        raise RecordError(
            f"the trajectory of task {trajectory.task.id!r} has the tokens of another tokenizer or chat "
            f"format; {remedy} (add --texts-only where a recipe has wording of its own)"
        )
    if trajectory.coordinates and trajectory.coordinates != renderer.vision.coordinates:
        raise RecordError(
            f"the boxes in the trajectory of task {trajectory.task.id!r} are in {trajectory.coordinates}; "
            f"this model reads {renderer.vision.coordinates}; {remedy}; where only the pixels differ, give "
            f"[interaction.wording] of the recipe the budgets that the file was written with"
        )


def _encode(turn: Turn, renderer: Renderer, *, read: bool) -> Turn:
    """One turn with its tokens; those of its observation only when the model went on to read it."""
    observed = renderer.observation(turn.observation) if read and turn.observation is not None else None
    masked = None if turn.masked is None else renderer.tokens_of(turn.text, turn.masked)
    return replace(turn, sampled=Segment(renderer.encode(turn.text), masked=masked), observed=observed)
