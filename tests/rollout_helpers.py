"""What the tests of rollouts share: pictures, calls, and one rollout from a script."""

from __future__ import annotations

import json

import numpy as np

from pixelreasoner.chat.plain import PlainRenderer
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, rollout
from pixelreasoner.policy.base import Sampling
from pixelreasoner.policy.scripted import ScriptedMessage, ScriptedPolicy
from toolboxes import standard_toolbox

RENDERER = PlainRenderer()
TOOLBOX = standard_toolbox(
    unit=RENDERER.vision.unit,
    crop_reply=RENDERER.chat_format.crop_reply,
    frames_reply=RENDERER.chat_format.frames_reply,
    error_reply=RENDERER.chat_format.error_reply,
)
NOISE = np.random.default_rng(0).integers(0, 256, (16, 20, 24, 3), dtype=np.uint8)
PICTURE = Picture(NOISE[0])
VIDEO = Video(tuple(Picture(frame) for frame in NOISE))


def task(*media: Media) -> Task:
    return Task("t", "Which letter?", media or (PICTURE,), ("K",))


def call(name: str, **arguments: object) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def crop(*bbox: float, target: int = 1) -> str:
    return call("crop_image", bbox_2d=bbox, target_image=target)


ZOOM = crop(2, 4, 14, 16)
SELECT = call("select_frames", target_frames=[5, 2])
BROKEN = "<tool_call>oops</tool_call>"
ANSWER = r"It reads K. \boxed{K}"


def roll_out(
    *messages: ScriptedMessage,
    media: tuple[Media, ...] = (),
    tools: bool = True,
    max_tokens: int = 1000,
    limits: Limits | None = None,
) -> Trajectory:
    (trajectory,) = rollout(
        [RolloutRequest(task(*media), seed=0)],
        policy=ScriptedPolicy(messages, RENDERER, weight_version=3),
        renderer=RENDERER,
        toolbox=TOOLBOX if tools else None,
        sampling=Sampling(max_tokens=max_tokens),
        limits=limits or Limits(),
    )
    return trajectory
