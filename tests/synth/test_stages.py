"""All stages about seeds without questions, against a server that gives broken and useless replies."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from benchmarks.teacher_script import TeacherScript
from pixelreasoner.chat.hermes import HERMES
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.endpoint.asker import Asker
from pixelreasoner.rewards.scorers import build_scorer
from pixelreasoner.synth.chat_teacher import ChatTeacher, TeacherServerConfig
from pixelreasoner.synth.compose import compose, verify
from pixelreasoner.synth.judging import CropJudge, CropJudgeConfig
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.outline import Tools, outline
from pixelreasoner.synth.propose import Proposer
from pixelreasoner.synth.rejection import RejectedError
from synth.asking import asked, server_config

SCORER = build_scorer()
TEMPLATES = (Template.SINGLE_PASS, Template.RECROP_ONCE, Template.RECROP_TWICE)


def seed(number: int) -> Task:
    pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    picture = Picture(np.repeat(np.repeat(pixels, 8, axis=0), 8, axis=1))
    regions = (Box(10, 20, 50, 60), Box(100, 100, 140, 150))
    return Task(f"s{number}", "", (picture,), (), cue=Cue(boxes=regions))


def stages(script: TeacherScript, tools: Tools, numbers: list[int], concurrency: int) -> dict[int, object]:
    """What all stages make of some seeds: texts, or why there are none."""

    async def made(asker: Asker, number: int) -> list[str] | str:
        server = server_config("http://x/v1")
        teacher = TeacherServerConfig(server=server)
        draws = [np.random.default_rng([number, stage]) for stage in range(4)]
        try:
            task = await Proposer(asker, teacher).propose(seed(number), draws[0])
            done = outline(task, TEMPLATES[number % 3], tools, draws[1])
            texts = await ChatTeacher(asker, teacher).write(done, draws[2])
            trajectory = compose(done, texts, HERMES, "", mask="operation")
            assert verify(trajectory, SCORER, HERMES) == []
            await CropJudge(asker, CropJudgeConfig(server=server)).check(trajectory, tools, SCORER, draws[3])
        except RejectedError as e:
            return f"{e.stage}: {e.reason}"
        return [turn.text for turn in trajectory.turns]

    async def all_of_them(asker: Asker, _: object) -> dict[int, object]:
        return dict(zip(numbers, await asyncio.gather(*(made(asker, n) for n in numbers)), strict=True))

    return asked(script, all_of_them, concurrency=concurrency, timeout_s=1.0, retries=10, retry_wait_s=0.01)


@pytest.mark.slow
def test_all_stages_give_the_same_in_whatever_order(tools: Tools):
    numbers = list(range(40))
    kinds = {"faults": 0.3, "late_s": 1.5, "invalid": 0.1, "leaks": 0.3, "blind": 0.1, "fooled": 0.1}
    found = stages(TeacherScript(**kinds), tools, numbers, concurrency=8)
    assert found == stages(TeacherScript(**kinds), tools, numbers[::-1], concurrency=3)
    kept = [texts for texts in found.values() if isinstance(texts, list)]
    assert len(kept) >= 20
    assert all(
        reason.split(":")[0] in ("propose", "judge", "write")
        for reason in found.values()
        if isinstance(reason, str)
    )
