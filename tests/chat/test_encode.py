"""Tokens written afterwards are the tokens a rollout records."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelreasoner.chat.encode import encode_trajectory
from pixelreasoner.chat.plain import STOP, PlainRenderer
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment, Trajectory
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, rollout
from pixelreasoner.objectives.loss_mask import loss_mask
from pixelreasoner.policy.base import Sampling
from pixelreasoner.policy.scripted import ScriptedPolicy
from toolboxes import standard_toolbox

RENDERER = PlainRenderer()
TOOLBOX = standard_toolbox(
    unit=RENDERER.vision.unit, crop_reply="Image {index}:", frames_reply="f", error_reply="{error}"
)
NOISE = np.random.default_rng(0).integers(0, 256, (4, 20, 24, 3), dtype=np.uint8)
TASK = Task("t", "Which letter?", (Picture(NOISE[0]), Video(tuple(map(Picture, NOISE)))), ("K",))
ANSWER = r"It reads K. \boxed{K}"


def crop(box: tuple[int, ...], target: int) -> str:
    arguments = {"bbox_2d": box, "target_image": target}
    return f"Closer.\n<tool_call>\n{json.dumps({'name': 'crop_image', 'arguments': arguments})}\n</tool_call>"


def select(frames: list[int]) -> str:
    call = {"name": "select_frames", "arguments": {"target_frames": frames}}
    return f"<tool_call>\n{json.dumps(call)}\n</tool_call>"


def played(messages: list[str], limits: Limits) -> Trajectory:
    (trajectory,) = rollout(
        [RolloutRequest(TASK, seed=0)],
        policy=ScriptedPolicy([*messages, ANSWER], RENDERER),
        renderer=RENDERER,
        toolbox=TOOLBOX,
        sampling=Sampling(max_tokens=10_000),
        limits=limits,
    )
    return trajectory


def without_tokens(trajectory: Trajectory) -> Trajectory:
    turns = tuple(replace(turn, sampled=None, observed=None) for turn in trajectory.turns)
    return replace(trajectory, prompt=None, turns=turns)


def content(segment: Segment) -> tuple[object, ...]:
    return segment.ids, segment.media


# Good and bad boxes, targets and frames, calls that are no JSON, and words without a call.
MESSAGES = st.one_of(
    st.builds(crop, st.tuples(*[st.integers(-2, 26)] * 4), st.integers(0, 4)),
    st.builds(select, st.lists(st.integers(0, 5), max_size=3)),
    st.just("<tool_call>oops</tool_call>"),
    st.text(max_size=10),
)


@given(st.lists(MESSAGES, max_size=5), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_encoding_the_texts_of_a_rollout_gives_its_segments(
    messages: list[str], images: int, operations: int
):
    limits = Limits(max_images=images, max_operations=operations)
    recorded = played(messages, limits)
    encoded = encode_trajectory(without_tokens(recorded), RENDERER, TOOLBOX.schemas)
    assert list(map(content, encoded.segments)) == list(map(content, recorded.segments))
    assert without_tokens(encoded) == without_tokens(recorded)


def test_the_loss_mask_covers_the_learned_messages():
    trajectory = without_tokens(played([crop((0, 0, 8, 8), 1), crop((4, 4, 16, 16), 1)], Limits()))
    wrong, right, last = trajectory.turns
    masked = wrong.text.index("<tool_call>"), len(wrong.text)
    trajectory = replace(trajectory, turns=(replace(wrong, masked=masked), right, last))
    encoded = encode_trajectory(trajectory, RENDERER, TOOLBOX.schemas)
    ids = np.concatenate([segment.ids for segment in encoded.segments])
    assert ids[loss_mask(encoded)].tolist() == [
        *wrong.text[: masked[0]].encode(),
        *right.text.encode(),
        STOP,
        *ANSWER.encode(),
        STOP,
    ]


def test_tokens_are_written_once():
    recorded = played([], Limits())
    assert encode_trajectory(recorded, RENDERER, ()) is recorded
