"""Whether an answer follows from the last crop: what the judge is shown, and what its answers come to."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.chat_server import Answer, Body, pictures_in, texts_in
from pixelreasoner.chat.hermes import HERMES
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.rewards.scorers import build_scorer
from pixelreasoner.synth.compose import compose
from pixelreasoner.synth.judging import CropJudge, CropJudgeConfig, Verdict, last_shown
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.outline import Tools, outline
from pixelreasoner.synth.prompts import JudgePrompts
from pixelreasoner.synth.rejection import RejectedError
from pixelreasoner.synth.teacher import TrajectoryTexts
from synth.asking import asked, server_config

T = Template
RED, GREY = (250, 20, 20), (90, 90, 90)
CUE = Box(300, 200, 340, 240)


def picture() -> Picture:
    """A red square, which is the cue, on grey."""
    pixels = np.full((480, 640, 3), GREY, np.uint8)
    pixels[200:240, 300:340] = RED
    return Picture(pixels)


TASK = Task("t", "Which word is on the red square?", (picture(),), ("cedar",), cue=Cue(box=CUE))
CLIP = Task(
    "v",
    "What is on the screen?\nA. a cedar\nB. a basil",
    (Video(tuple(Picture(np.full((64, 64, 3), RED if i in (4, 5) else GREY, np.uint8)) for i in range(16))),),
    ("A",),
    cue=Cue(frames=(5, 6)),
    options=("a cedar", "a basil"),
    scorer="choice",
)


def trajectory(task: Task, template: Template, tools: Tools) -> Trajectory:
    done = outline(task, template, tools, np.random.default_rng(0))
    texts = TrajectoryTexts(("I look.",) * len(done.steps), f"So. \\boxed{{{task.answers[0]}}}")
    return compose(done, texts, HERMES, "", mask="operation")


def is_red(pixels: np.ndarray) -> bool:
    return bool((np.abs(pixels.astype(int) - RED).max(axis=2) < 40).any())


class Judge:
    """A server that answers by what is in the picture: `seen` where it is red, `unseen` elsewhere."""

    def __init__(self, seen: str | None, unseen: str | None = None, whole: str | None = None) -> None:
        self.seen, self.unseen, self.whole = seen, unseen, whole
        self.bodies: list[Body] = []

    def __call__(self, body: Body) -> Answer:
        self.bodies.append(body)
        shown = pictures_in(body["messages"][1])
        answer = self.seen if shown and is_red(shown[-1]) else self.unseen
        if len(shown) == 2 and self.whole is not None:
            answer = self.whole
        told = {"evidence": "I see it.", "answerable": answer is not None, "answer": answer or ""}
        return Answer(json.dumps(told))


def checked(judge: Judge, given: Trajectory, tools: Tools, **changes: object) -> Verdict | None:
    config = CropJudgeConfig.model_validate({"server": server_config("http://x/v1"), **changes})
    return asked(
        judge,
        lambda asker, _: CropJudge(asker, config).check(
            given, tools, build_scorer(), np.random.default_rng(5)
        ),
    )


@pytest.mark.parametrize("template", [T.SINGLE_PASS, T.RECROP_TWICE, T.FURTHER_ZOOM])
def test_an_answer_that_follows_from_the_crop_and_from_nothing_else(tools: Tools, template: Template):
    judge = Judge(seen="Cedar")
    given = trajectory(TASK, template, tools)
    assert checked(judge, given, tools) == Verdict("Cedar", "")
    crop, swap = (pictures_in(body["messages"][1]) for body in judge.bodies)
    assert len(crop) == len(swap) == 1
    assert is_red(crop[0])
    assert not is_red(swap[0])
    assert all(body["messages"][0]["content"] == JudgePrompts().judge for body in judge.bodies)
    assert "Which word is on the red square?" in texts_in(judge.bodies[0]["messages"][1])
    assert "cedar" not in texts_in(judge.bodies[0]["messages"][1])  # it is not told


def test_small_crops_are_enlarged(tools: Tools):
    judge = Judge(seen="cedar")
    given = trajectory(TASK, T.SINGLE_PASS, tools)
    assert last_shown(given)[0].size.width < 200
    checked(judge, given, tools)
    height, width, _ = pictures_in(judge.bodies[0]["messages"][1])[0].shape
    assert 0.97 * 256**2 <= height * width <= 1.03 * 256**2


def test_frames_of_a_video(tools: Tools):
    judge = Judge(seen="A", unseen="B")
    assert checked(judge, trajectory(CLIP, T.SINGLE_PASS, tools), tools) == Verdict("A", "B")
    crop, swap = (pictures_in(body["messages"][1]) for body in judge.bodies)
    assert (len(crop), len(swap)) == (2, 2)
    assert all(map(is_red, crop))
    assert not any(map(is_red, swap))
    assert JudgePrompts().judge_letter in texts_in(judge.bodies[0]["messages"][1])


@pytest.mark.parametrize(
    ("judge", "reason", "requests"),
    [
        (Judge(seen=None, whole="cedar"), "the answer does not follow from the crop", 2),
        (Judge(seen="basil", whole="cedar"), "the answer does not follow from the crop", 2),
        (Judge(seen="basil", whole="basil"), "impossible", 2),
        (Judge(seen=None), "impossible", 2),
        (Judge(seen="cedar", unseen="cedar"), "answerable without the crop", 2),
    ],
)
def test_what_is_turned_down(tools: Tools, judge: Judge, reason: str, requests: int):
    judge.bodies.clear()
    with pytest.raises(RejectedError) as caught:
        checked(judge, trajectory(TASK, T.RECROP_ONCE, tools), tools)
    assert (caught.value.stage, caught.value.reason) == ("judge", reason)
    assert len(judge.bodies) == requests


def test_a_judge_that_changes_its_mind_lets_it_pass(tools: Tools):
    verdict = checked(Judge("cedar", unseen="basil"), trajectory(TASK, T.SINGLE_PASS, tools), tools)
    assert verdict == Verdict("cedar", "basil")


def test_without_an_operation_there_is_nothing_to_judge(tools: Tools):
    judge = Judge("cedar")
    assert checked(judge, trajectory(TASK, T.TEXT_ONLY, tools), tools) is None
    assert judge.bodies == []


def test_without_the_swap(tools: Tools):
    judge = Judge("cedar", unseen="cedar")
    assert checked(judge, trajectory(TASK, T.SINGLE_PASS, tools), tools, swap=False) == Verdict("cedar", None)
    assert len(judge.bodies) == 1


def test_where_there_is_no_room_elsewhere_the_question_is_asked_alone(tools: Tools):
    given = trajectory(replace(TASK, cue=Cue(box=Box(0, 0, 640, 480))), T.SINGLE_PASS, tools)
    judge = Judge("cedar", unseen="basil")
    assert checked(judge, given, tools) == Verdict("cedar", "basil")
    assert pictures_in(judge.bodies[1]["messages"][1]) == []
    with pytest.raises(RejectedError, match="answerable without the crop"):
        checked(Judge("cedar", unseen="cedar"), given, tools)
