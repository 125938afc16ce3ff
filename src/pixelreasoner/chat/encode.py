"""From a teacher's words to a model's tokens: what a rollout records as it goes, written afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pixelreasoner.chat.renderer import Renderer, ToolSchema
from pixelreasoner.core.trajectory import Segment, Trajectory, Turn


def encode_trajectory(trajectory: Trajectory, renderer: Renderer, tools: Sequence[ToolSchema]) -> Trajectory:
    """The trajectory with its tokens: the segments a rollout would record, had its model said these texts.

    A trajectory that has its tokens is returned as it is: tokens are written once. An observation of the last
    turn stays without tokens, since nobody read it. `tools` are the operations the prompt offers.
    """
    if trajectory.prompt is not None:
        return trajectory
    last = len(trajectory.turns) - 1
    turns = tuple(_encode(turn, renderer, read=i < last) for i, turn in enumerate(trajectory.turns))
    return replace(trajectory, prompt=renderer.prompt(trajectory.task, tools), turns=turns)


def _encode(turn: Turn, renderer: Renderer, *, read: bool) -> Turn:
    """One turn with its tokens; those of its observation only when the model went on to read it."""
    observed = renderer.observation(turn.observation) if read and turn.observation is not None else None
    return replace(turn, sampled=Segment(renderer.encode(turn.text)), observed=observed)
