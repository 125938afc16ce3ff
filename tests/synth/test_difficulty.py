"""The student without operations: how often it is right, and its own words where it is."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.chat_server import Answer, Body, pictures_in, texts_in
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Task
from pixelreasoner.rewards.scorers import build_scorer
from pixelreasoner.synth.difficulty import Difficulty, Student, StudentConfig, is_right
from pixelreasoner.synth.outline import Tools
from pixelreasoner.synth.rejection import RejectedError
from synth.asking import asked, server_config
from synth.conftest import CHAT_FORMAT

PICTURE = Picture(np.full((100, 200, 3), 90, np.uint8))
TASK = Task("t", "Which word?", (PICTURE,), ("cedar",))
SCORER = build_scorer()


def used(script: object, tools: Tools, what: str, *args: object, **changes: object) -> object:
    """What a method of a student gives."""
    config = StudentConfig.model_validate({"server": server_config("http://x/v1"), **changes})

    async def use(asker: object, _: object) -> object:
        student = Student(asker, config, tools.vision, CHAT_FORMAT)  # type: ignore[arg-type]
        return await getattr(student, what)(*args, np.random.default_rng(3))

    return asked(script, use)  # type: ignore[arg-type]


def in_turn(*texts: str) -> tuple[object, list[Body]]:
    """A server whose replies depend on which of the seeds came first, and what it was asked."""
    bodies: list[Body] = []

    def script(body: Body) -> Answer:
        bodies.append(body)
        return Answer(texts[len(bodies) - 1])

    return script, bodies


def test_the_share_of_right_samples(tools: Tools):
    script, bodies = in_turn("\\boxed{cedar}", "It is \\boxed{Cedar}.", "cedar", "\\boxed{amber}")
    found = used(script, tools, "difficulty", TASK, SCORER)
    assert found == Difficulty(2, 4)
    assert found.metrics == {"direct_accuracy": 0.5}
    assert {body["temperature"] for body in bodies} == {1.0}
    assert len({body["seed"] for body in bodies}) == 4
    assert "response_format" not in bodies[0]


def test_the_student_is_asked_as_it_is_without_operations(tools: Tools):
    script, bodies = in_turn("\\boxed{cedar}")
    used(script, tools, "answer_directly", TASK, samples=1)
    (message,) = bodies[0]["messages"]
    assert message["role"] == "user"
    assert texts_in(message) == "Which word?" + CHAT_FORMAT.guideline_without_tools
    (sent,) = pictures_in(message)
    # The budget of the checkpoint's images is 128 * 128 pixels in steps of 16.
    assert sent.shape == (80, 176, 3)


def test_a_video_is_shown_frame_by_frame(tools: Tools):
    script, bodies = in_turn("\\boxed{cedar}")
    clip = Video((PICTURE, PICTURE), (0.5, 1.25))
    used(script, tools, "answer_directly", Task("t", "Q?", (clip,), ("cedar",)), samples=1)
    (message,) = bodies[0]["messages"]
    assert [part["type"] for part in message["content"]] == ["text", "image_url"] * 2 + ["text"]
    assert texts_in(message).startswith("<0.5 seconds><1.2 seconds>Q?")


@pytest.mark.parametrize(("right", "rejected"), [(3, True), (2, False)])
def test_what_is_answered_without_operations_is_turned_down(tools: Tools, right: int, rejected: bool):
    script, _ = in_turn(*["\\boxed{cedar}"] * right, *["\\boxed{amber}"] * (4 - right))
    if not rejected:
        assert used(script, tools, "checked", TASK, SCORER).right == right
        return
    with pytest.raises(RejectedError) as caught:
        used(script, tools, "checked", TASK, SCORER)
    assert (caught.value.stage, caught.value.reason) == ("difficulty", "answered without operations")


def test_it_can_be_recorded_and_kept(tools: Tools):
    script, _ = in_turn(*["\\boxed{cedar}"] * 4)
    assert used(script, tools, "checked", TASK, SCORER, reject=False) == Difficulty(4, 4)


def test_the_first_right_sample_is_the_trajectory(tools: Tools):
    script, bodies = in_turn("\\boxed{amber}", "I read it.\n\\boxed{cedar}\n", "not asked for")
    texts = used(script, tools, "sample_text_only", TASK, SCORER)
    assert (texts.before, texts.conclusion) == ((), "I read it.\n\\boxed{cedar}")
    assert len(bodies) == 2


def test_a_task_that_is_never_right_has_no_text_only_trajectory(tools: Tools):
    script, bodies = in_turn(*["\\boxed{amber}"] * 3)
    with pytest.raises(RejectedError, match="no right sample") as caught:
        used(script, tools, "sample_text_only", TASK, SCORER, samples=3)
    assert (caught.value.stage, len(bodies)) == ("difficulty", 3)


def test_a_sample_that_is_cut_or_refused_is_not_right(tools: Tools):
    replies = [Answer("\\boxed{cedar} and", finish="length"), Answer(None, fields={"refusal": "No."})]

    def script(body: Body) -> Answer:
        return replies.pop() if replies else Answer("\\boxed{cedar}")

    assert used(script, tools, "difficulty", TASK, SCORER) == Difficulty(2, 4)


def test_a_task_that_the_server_does_not_take_is_turned_down(tools: Tools):
    with pytest.raises(RejectedError, match="too long for the model"):
        used(
            lambda body: Answer(status=400, error="the context length is 10"),
            tools,
            "sample_text_only",
            TASK,
            SCORER,
        )


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("\\boxed{cedar}", True),
        ("<tool_call>\n{}\n</tool_call> \\boxed{cedar}", False),
        ("<|im_end|> \\boxed{cedar}", False),
        ("\x1b[2J \\boxed{cedar}", False),
        ("I read it.\r\n\tSo: \\boxed{cedar}", True),
        ("cedar", False),
        ("", False),
    ],
)
def test_what_may_be_learned(text: str, right: bool):
    assert is_right(text, TASK, SCORER) is right
