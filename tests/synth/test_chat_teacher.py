"""A language model as the teacher: what it is shown, what is taken of its reply, and what is not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.chat_server import Answer, Body, texts_in
from benchmarks.teacher_script import TeacherScript
from pixelreasoner.chat.hermes import HERMES
from pixelreasoner.core.task import Task
from pixelreasoner.rewards.scorers import build_scorer
from pixelreasoner.synth.chat_teacher import ChatTeacher, TeacherServerConfig, faults_of, texts_for
from pixelreasoner.synth.compose import compose, verify
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.outline import MOVES, Outline, Tools, outline
from pixelreasoner.synth.prompts import TeacherPrompts
from pixelreasoner.synth.rejection import RejectedError
from pixelreasoner.synth.teacher import TrajectoryTexts
from pixelreasoner.tasks.pixelworld import PixelWorld
from synth.asking import asked, server_config

T = Template
WORLD = PixelWorld()
OPTIONS = ("rubber", "cotton", "steel", "glass")
QUESTION = "What is the handle made of?\nA. rubber\nB. cotton\nC. steel\nD. glass"


def task(kind: str = "attribute", index: int = 0) -> Task:
    return WORLD.task("train", kind, index, needs_operation=True)


def choice(about: Task) -> Task:
    return replace(
        about,
        question=QUESTION,
        answers=("B",),
        options=OPTIONS,
        scorer="choice",
        subject="",
        claim="",
    )


def outlined(about: Task, template: Template, tools: Tools) -> Outline:
    return outline(about, template, tools, np.random.default_rng(0))


def written(script: object, done: Outline, **changes: object) -> TrajectoryTexts:
    config = TeacherServerConfig.model_validate({"server": server_config("http://x/v1"), **changes})
    return asked(script, lambda asker, _: ChatTeacher(asker, config).write(done, np.random.default_rng(1)))


def replying(*replies: dict[str, str]) -> tuple[object, list[Body]]:
    """A server that gives these replies in turn, and what it was asked."""
    bodies: list[Body] = []

    def script(body: Body) -> Answer:
        bodies.append(body)
        return Answer(json.dumps(replies[min(len(bodies), len(replies)) - 1]))

    return script, bodies


GOOD = {
    "overview": "There is a workshop with a bench",
    "subject": "the handle of the saw.",
    "seen_1": "This is a window.\nNo handle is in it.",
    "seen_2": "The threads of the cloth are clear",
    "conclusion": "So the handle is made of cotton",
}


def test_one_call_words_a_trajectory_and_the_answer_is_the_reference(tools: Tools):
    script, bodies = replying(GOOD)
    done = outlined(choice(task()), T.RECROP_ONCE, tools)
    texts = written(script, done)
    assert len(bodies) == 1
    ways = [way.format(subject="the handle of the saw") for way in TeacherPrompts().zoom]
    first, second = texts.before
    assert first.removeprefix("There is a workshop with a bench. ") in ways
    assert second.removeprefix("This is a window. No handle is in it. ") in ways
    assert first.split(". ")[-1] != second.split(". ")[-1]  # no announcement twice
    assert texts.conclusion == (
        "The threads of the cloth are clear. So the handle is made of cotton. \\boxed{B}"
    )
    trajectory = compose(done, texts, HERMES, "", mask="operation")
    assert verify(trajectory, build_scorer(), HERMES) == []


def test_the_teacher_sees_the_picture_each_crop_and_what_it_is_worth(tools: Tools):
    script, bodies = replying(GOOD)
    about = choice(task())
    done = outlined(about, T.RECROP_ONCE, tools)
    written(script, done)
    (body,) = bodies
    system, user = body["messages"]
    assert system["content"] == TeacherPrompts().write
    kinds = [
        "picture" if part["type"] == "image_url" else part["text"].split(":")[0] for part in user["content"]
    ]
    assert kinds[0] == "picture"
    assert kinds[1:6] == [
        "Question",
        "Look 1 is a mistake",
        "picture",
        "Look 2 shows what the question is about.",
        "picture",
    ]
    assert "Right answer: B. cotton" in texts_in(user)
    schema = body["response_format"]["json_schema"]["schema"]
    assert set(schema["required"]) == {"overview", "subject", "seen_1", "seen_2", "conclusion"}


@pytest.mark.parametrize("template", [t for t in T if t is not T.RESELECT])
def test_every_template_has_exactly_one_text_for_each_operation(tools: Tools, template: Template):
    kind = texts_for(len(MOVES[template]), subject=False)
    wanted = {"overview", "conclusion", *(f"seen_{n}" for n in range(1, len(MOVES[template]) + 1))}
    assert set(kind.model_fields) == wanted
    done = outlined(task("page"), template, tools)
    trajectory = compose(done, written(TeacherScript(), done), HERMES, "", mask="operation")
    assert verify(trajectory, build_scorer(), HERMES) == []


@pytest.mark.parametrize("template", [T.SINGLE_PASS, T.RESELECT])
def test_videos(tools: Tools, template: Template):
    done = outlined(task("clip"), template, tools)
    bodies: list[Body] = []
    script = TeacherScript()
    texts = written(lambda body: (bodies.append(body), script(body))[1], done)
    ways = [way.format(subject=done.task.subject) for way in TeacherPrompts().select]
    assert all(any(text.endswith(way) for way in ways) for text in texts.before)
    words = texts_in(bodies[0]["messages"][1])
    assert all(f"Frame {number} (" in words for number in range(1, len(done.task.media[0].frames) + 1))


FAULTS = {
    "overview": {
        "It is cotton, I think.": "tells the answer before it is seen",
        "Option B must be right.": "tells the answer before it is seen",
        "<tool_call>": "markup or the name of a tool",
        "I call crop_image.": "markup or the name of a tool",
        "It is at [12, 30, 220.5, 90].": "coordinates",
        "It is at x1=30.": "coordinates",
        "The reference answer helps.": "something was given",
        "I was told what it is.": "something was given",
        "This is deliberately wrong.": "something was given",
        "As in look 2, nothing.": "the number of a look",
        "I see <image> it.": "markup",
        "I see \x1b[2J it.": "characters that are not to be seen",
        "I see \u202eit\u202c.": "characters that are not to be seen",
        "I see \ud800 it.": "characters that are not to be seen",
        "  ": "is empty",
        "a" * 1501: "longer than 1500",
    },
    "seen_1": {
        "It reads cotton.": "tells the answer before it is seen",
        "It reads cot\u200bton.": "tells the answer before it is seen",  # a blank of no width
        "It reads cot\u00adton.": "tells the answer before it is seen",  # a soft hyphen
    },
    "subject": {"the cotton handle": "tells the answer", " ".join("a" * 17): "more than 16 words"},
    "conclusion": {
        "So it is steel.": "does not state the right answer",
        "So it is cotton, option C.": "does not state the right answer",
        "So I know.": "does not state the right answer",
    },
}


@pytest.mark.parametrize(
    ("field", "text", "fault"), [(f, t, fault) for f, texts in FAULTS.items() for t, fault in texts.items()]
)
def test_faults_of_texts(tools: Tools, field: str, text: str, fault: str):
    done = outlined(choice(task()), T.RECROP_ONCE, tools)
    kind = texts_for(2, subject=True)
    assert faults_of(kind(**GOOD), done) == []
    (found, *_) = faults_of(kind(**{**GOOD, field: text}), done)
    assert found.startswith(field)
    assert fault in found


@pytest.mark.parametrize(
    "text",
    [
        "The options are rubber, cotton, steel and glass.",
        "The table lists 1,200 and 3,400.",
        "A reference number is printed below it.",
        "The coordinates of the ship are not written here.",
    ],
)
def test_harmless_texts(tools: Tools, text: str):
    done = outlined(choice(task()), T.RECROP_ONCE, tools)
    assert faults_of(texts_for(2, subject=True)(**{**GOOD, "overview": text}), done) == []


@pytest.mark.parametrize(
    ("answer", "early", "conclusion", "faults"),
    [
        ("1,889", "It was built in 1889.", "It was built in 1889.", 1),
        ("1889", "It was built long ago.", "It was built in 1889.", 0),
        ("東京", "地図です。", "駅は東京です。", 0),
        ("東京", "東京の地図です。", "駅は東京です。", 1),
        ("K", "A card is there.", "It reads K.", 0),
        ("K", "The K is small.", "It reads K.", 1),
        ("no", "It is open or not, yes or no.", "So the answer is yes.", 2),
    ],
)
def test_open_answers(tools: Tools, answer: str, early: str, conclusion: str, faults: int):
    about = replace(task(), question="What is written there?", answers=(answer,), subject="the stone")
    done = outlined(about, T.SINGLE_PASS, tools)
    texts = texts_for(1, subject=False)(overview=early, seen_1="I see it.", conclusion=conclusion)
    assert len(faults_of(texts, done)) == faults


def test_texts_with_faults_are_asked_for_again_with_what_is_wrong(tools: Tools):
    script, bodies = replying({**GOOD, "overview": "It is cotton, I think."}, GOOD)
    texts = written(script, outlined(choice(task()), T.RECROP_ONCE, tools))
    assert "cotton, I think" not in " ".join(texts.before)
    first, second = (body["messages"] for body in bodies)
    assert second[: len(first)] == first
    assert json.loads(second[-2]["content"])["overview"] == "It is cotton, I think."
    assert "overview tells the answer before it is seen" in second[-1]["content"]
    assert bodies[0]["seed"] != bodies[1]["seed"]


def test_a_teacher_that_goes_on_with_faults_is_turned_down(tools: Tools):
    script, bodies = replying({**GOOD, "conclusion": "So I know."})
    with pytest.raises(RejectedError, match="does not state the right answer") as caught:
        written(script, outlined(choice(task()), T.RECROP_ONCE, tools), tries=2)
    assert (caught.value.stage, caught.value.reason) == ("write", "the texts have faults")
    assert len(bodies) == 2


def test_a_teacher_that_refuses_is_turned_down(tools: Tools):
    with pytest.raises(RejectedError) as caught:
        written(lambda body: Answer(None, fields={"refusal": "No."}), outlined(task(), T.SINGLE_PASS, tools))
    assert (caught.value.stage, caught.value.reason) == ("write", "the model refused")


def test_a_task_without_an_answer_is_turned_down_unasked(tools: Tools):
    script, bodies = replying(GOOD)
    done = outlined(replace(task(), answers=()), T.SINGLE_PASS, tools)
    with pytest.raises(RejectedError, match="no reference answer"):
        written(script, done)
    assert bodies == []
