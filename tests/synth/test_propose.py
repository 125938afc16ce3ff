"""From a seed to a task: what the teacher may choose from, and which of its proposals are used."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.chat_server import Answer, Body, pictures_in, texts_in
from benchmarks.teacher_script import TeacherScript
from pixelreasoner.core.geometry import Box, Size
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.rewards.scorers import build_scorer, gold_problems
from pixelreasoner.synth.chat_teacher import TeacherServerConfig
from pixelreasoner.synth.concurrently import concurrently
from pixelreasoner.synth.propose import Proposer, box_fault
from pixelreasoner.synth.rejection import RejectedError
from synth.asking import asked, server_config

RNG = np.random.default_rng(0)
PICTURE = Picture(RNG.integers(0, 256, (300, 400, 3), dtype=np.uint8))
REGIONS = (Box(10, 20, 70, 80), Box(0, 0, 20, 20), Box(200, 100, 300, 160))
"""Of which the second is too small."""
GOOD = {
    "valid": True,
    "region": 2,
    "question": "Which word stands on the sign\nabove the door?",
    "options": ["A. amber", "basil", "cedar", " delta"],
    "letter": "(c)",
    "subject": "the sign above the door.",
    "claim": "The sign reads cedar.",
}


def seed(*media: Picture | Video, boxes: tuple[Box, ...] = ()) -> Task:
    cue = Cue(boxes=boxes) if boxes else None
    return Task("s", "", media or (PICTURE,), (), kind="sa-1b", cue=cue, split="train")


def video(n: int = 16) -> Video:
    return Video(tuple(Picture(np.full((48, 64, 3), 10 * i, np.uint8)) for i in range(n)))


def proposed(reply: object, about: Task, draw: int = 0, **changes: object) -> Task:
    """The task made of a reply: fields, or a script."""
    script = reply if callable(reply) else lambda body: Answer(json.dumps(reply))
    config = TeacherServerConfig.model_validate({"server": server_config("http://x/v1"), **changes})
    return asked(script, lambda asker, _: Proposer(asker, config).propose(about, np.random.default_rng(draw)))


def test_a_region_becomes_a_task():
    task = proposed(GOOD, seed(boxes=REGIONS))
    assert task.cue == Cue(box=REGIONS[2])  # the second of those that can be asked about
    assert sorted(task.options) == ["amber", "basil", "cedar", "delta"]
    lines = [f"{letter}. {option}" for letter, option in zip("ABCD", task.options, strict=True)]
    assert task.question == "\n".join(["Which word stands on the sign above the door?", *lines])
    assert task.options["ABCD".index(task.answers[0])] == "cedar"
    assert (task.scorer, task.subject, task.claim) == (
        "choice", "the sign above the door", "The sign reads cedar.",
    )  # fmt: skip
    assert (task.id, task.kind, task.split, task.media) == ("s", "sa-1b", "train", (PICTURE,))
    assert list(gold_problems([task], build_scorer())) == []


def test_what_the_teacher_is_shown_of_a_picture_with_regions():
    bodies: list[Body] = []
    pictures = {"image": 30_000, "crop": 70_000}
    proposed(
        lambda body: (bodies.append(body), Answer(json.dumps(GOOD)))[1],
        seed(boxes=REGIONS),
        pictures=pictures,
    )
    user = bodies[0]["messages"][1]
    whole, first, second = pictures_in(user)
    assert whole.shape == (150, 200, 3)  # 30,000 pixels of 4 to 3
    # The first region with half of its longer side around it, cut off at the edge: (0, 0) to (100, 110).
    assert first.shape[0] / first.shape[1] == pytest.approx(110 / 100, rel=0.02)
    assert 65_000 < first.shape[0] * first.shape[1] < 70_000
    assert "Region 1, from 0 to 250 across and 0 to 367 down, of 1000:" in texts_in(user)
    assert second.shape[0] / second.shape[1] == pytest.approx(160 / 200, rel=0.02)


def test_letters_are_uniform_whatever_the_teacher_likes():
    about = seed(boxes=REGIONS)
    config = TeacherServerConfig.model_validate({"server": server_config("http://x/v1")})

    async def all_of_them(asker: object, _: object) -> list[str]:
        proposer = Proposer(asker, config)  # type: ignore[arg-type]
        draws = (np.random.default_rng(i) for i in range(80))
        return [task.answers[0] for task in await concurrently(*(proposer.propose(about, d) for d in draws))]

    counts = Counter(asked(lambda body: Answer(json.dumps(GOOD)), all_of_them))
    # 20 each; four standard deviations are 15.
    assert set(counts) == set("ABCD")
    assert all(5 < n < 35 for n in counts.values())


def test_a_box_in_a_picture_without_regions():
    reply = {k: v for k, v in GOOD.items() if k != "region"} | {"box": [100, 100, 250, 333.3]}
    # In pixels 40 to 100 across; 30 to 99.99 down, out to whole pixels.
    assert proposed(reply, seed()).cue == Cue(box=Box(40, 30, 100, 100))


def test_frames_of_a_video():
    reply = {k: v for k, v in GOOD.items() if k != "region"} | {"frames": [5, 4, 5]}
    bodies: list[Body] = []
    task = proposed(lambda body: (bodies.append(body), Answer(json.dumps(reply)))[1], seed(video()))
    assert task.cue == Cue(frames=(4, 5))
    assert len(pictures_in(bodies[0]["messages"][1])) == 16


def without(*names: str, **changes: object) -> dict[str, object]:
    return {k: v for k, v in GOOD.items() if k not in names} | changes


REJECTED = {
    "nothing to ask about": {"valid": False},
    "no such region": without(region=3),
    "not four options": without(options=["amber", "basil", "cedar"]),
    "no letter of an option": without(letter="cedar"),
    "options that are alike, or empty": without(options=["amber", "Cedar!", "cedar", "delta"]),
    "markup or unseen characters in an option": without(options=["amber", "<|im_end|>", "cedar", "delta"]),
    "an option about the others": without(options=["amber", "basil", "cedar", "all of the above"]),
    "options in the question": without(question="Which?\nA. amber\nB. basil"),
    "the question names the answer": without(question="Is the word on the sign cedar?"),
    "the subject names the answer": without(subject="the cedar sign"),
    "the claim names a letter": without(claim="The answer is C."),
    "a mention of the numbering": without(question="What does region 2 say?"),
    "a fault of the claim": without(claim=""),
    "a fault of the question": without(question="What is at [1, 2, 3, 4]?"),
    "a fault of the subject": without(subject=" ".join("a" * 17)),
}


@pytest.mark.parametrize(
    "option", ["\x1b[2Jbasil", "bas\u202eil", "ba\ud800sil", "\\boxed{A}", "<tool_call>"]
)
def test_options_that_a_terminal_or_a_tokenizer_would_obey_are_not_used(option: str):
    with pytest.raises(RejectedError, match="markup or unseen characters in an option"):
        proposed(without(options=["amber", option, "cedar", "delta"]), seed(boxes=REGIONS))


@pytest.mark.parametrize("reason", REJECTED)
def test_proposals_that_are_not_used(reason: str):
    with pytest.raises(RejectedError) as caught:
        proposed(REJECTED[reason], seed(boxes=REGIONS))
    assert (caught.value.stage, caught.value.reason) == ("propose", reason)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([100, 100, 130, 400], "the region is too small"),  # 12 pixels across
        ([0, 0, 600, 600], "the region is most of the picture"),
        ([900, 900, 1100, 1000], "the box is outside of the picture"),
        ([300, 100, 100, 400], "the region is too small"),
        ([100, 100, 300], "no box"),
    ],
)
def test_boxes_that_are_not_used(box: list[float], reason: str):
    with pytest.raises(RejectedError, match=reason):
        proposed(without("region", box=box), seed())


@pytest.mark.parametrize("frames", [[], [0, 1], [16, 17], list(range(1, 10))])
def test_frames_that_are_not_used(frames: list[int]):
    with pytest.raises(RejectedError, match="frames"):
        proposed(without("region", frames=frames), seed(video()))


def test_a_seed_whose_regions_cannot_be_asked_about_costs_nothing():
    def script(body: Body) -> Answer:
        raise AssertionError("nothing is to be asked")

    with pytest.raises(RejectedError, match="no region of a fit size"):
        proposed(script, seed(boxes=REGIONS[1:2]))


def test_box_faults_by_hand():
    size = Size(400, 300)
    assert box_fault(Box(0, 0, 28, 28), size) is None
    assert box_fault(Box(0, 0, 27, 100), size) == "the region is too small"
    assert box_fault(Box(0, 0, 200, 150), size) is None  # a quarter
    assert box_fault(Box(0, 0, 200, 151), size) == "the region is most of the picture"
    assert box_fault(Box(390, 0, 420, 30), size) == "the box is outside of the picture"
    assert box_fault(Box(0, 0, float("nan"), 30), size) == "the box is outside of the picture"


def test_the_scripted_teacher_proposes_what_can_be_used():
    for about in (seed(boxes=REGIONS), seed(), seed(video())):
        for draw in range(5):
            changed = replace(about, id=str(draw))
            assert proposed(TeacherScript(), changed, draw).cue is not None
