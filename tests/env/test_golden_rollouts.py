"""Lockstep rollouts give the trajectories they gave before rollouts became incremental.

`tests/golden/rollouts.json` was recorded at commit e5c9b86 on one CPU thread: nano in fp32, four rollouts of
each of six PixelWorld tasks at temperature 0.8. Nano answers at once; its scores are flattened here so that
messages differ, and a renderer reads most of them as a call of `crop_image`.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from pixelreasoner.core.messages import Parsed, ToolCall
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, rollout
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.policy.base import Sampling
from pixelreasoner.policy.group import GroupPolicy
from pixelreasoner.tasks.pixelworld import PixelWorld, WorldConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "rollouts.json"


class Eager:
    """Reads five of eight messages as a call of `crop_image`, whatever they hold."""

    def __init__(self, renderer):
        self._renderer = renderer

    def __getattr__(self, name):
        return getattr(self._renderer, name)

    def parse(self, text, tools=()):
        fate = zlib.crc32(text.encode()) % 8
        if fate < 3:
            return Parsed(text, answer=text)
        box = [0, 0, 1000, 125 * fate]
        return Parsed(text, call=ToolCall("crop_image", {"bbox_2d": box, "target_image": 1}))


def rollouts_now():
    model = VisionLanguageModel.load(checkpoint_folder("nano"))
    model.hf.lm_head.register_forward_hook(lambda module, args, out: out * 0.35)
    tasks = PixelWorld(WorldConfig()).tasks("test", 6)
    trajectories = rollout(
        [RolloutRequest(task, 100 * i + k) for i, task in enumerate(tasks) for k in range(4)],
        policy=GroupPolicy(model, batch_size=16),
        renderer=Eager(model.renderer),
        toolbox=Interaction().toolbox(model.renderer.vision.unit, model.renderer.chat_format),
        sampling=Sampling(temperature=0.8, max_tokens=48),
        limits=Limits(),
    )
    return [
        {
            "stop": str(t.stop),
            "n_operations": t.n_operations,
            "n_invalid_operations": t.n_invalid_operations,
            "sampled": [{"ids": list(s.ids), "logprobs": list(s.logprobs)} for s in sampled(t)],
            "observed": [list(turn.observed.ids) if turn.observed else None for turn in t.turns],
        }
        for t in trajectories
    ]


def sampled(trajectory):
    return [turn.sampled for turn in trajectory.turns if turn.sampled is not None]


def test_the_trajectories_are_those_recorded():
    expected, found = json.loads(GOLDEN.read_text()), rollouts_now()
    assert len(found) == 24
    assert sum(t["n_operations"] for t in found) > 20
    for a, b in zip(found, expected, strict=True):
        assert [s["ids"] for s in a["sampled"]] == [s["ids"] for s in b["sampled"]]
        # Other processors and other versions of the kernels round differently.
        for s, t in zip(a["sampled"], b["sampled"], strict=True):
            assert s["logprobs"] == pytest.approx(t["logprobs"], abs=1e-5)
        assert {**a, "sampled": 0} == {**b, "sampled": 0}
