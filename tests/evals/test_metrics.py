"""A summary by hand: ten rollouts of tasks of two kinds."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.chat.plain import PlainRenderer
from pixelreasoner.core.errors import ErrorClass, PixelReasonerError
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.intervals import wilson_interval
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn
from pixelreasoner.evals.metrics import SCORE_METRIC, right_without_operations, summarize, summarize_scores
from pixelreasoner.evals.scores import score, visual_tokens


def scored(trajectories: list[Trajectory], scores: list[float]) -> list[Trajectory]:
    return [
        replace(t, metrics={SCORE_METRIC: float(score)})
        for t, score in zip(trajectories, scores, strict=True)
    ]


PICTURE = Picture(np.zeros((100, 100, 3), np.uint8))
CUE = Cue(Box(40, 40, 60, 60))
INVALID = Observation("no", valid=False)


def crop(*corners: float, source: int = 1) -> Observation:
    return Observation("ok", (PICTURE,), box=Box(*corners), source=source)


def recorded(*observations: Observation, kind: str = "count", needs: bool | None = True) -> Trajectory:
    turns = [Turn("words", observation=o) for o in observations]
    task = Task("t", "Q?", (PICTURE,), ("A",), kind=kind, cue=CUE, needs_operation=needs)
    return Trajectory(task, (*turns, Turn("answer")), StopReason.ANSWER)


def interval(share: float, n: int) -> list[float]:
    return list(wilson_interval(share, n))


def test_every_number_of_a_summary():
    hit, half, miss = crop(30, 30, 70, 70), crop(0, 0, 100, 50), crop(0, 0, 49, 50)
    summary = summarize(
        scored(
            [
                recorded(hit),
                recorded(half, miss, kind="page"),
                recorded(INVALID),
                recorded(INVALID, hit),
                recorded(needs=False),
                recorded(hit, needs=False),
                recorded(kind="page", needs=False),
                recorded(kind="page", needs=False),
            ],
            [True, True, False, True, True, False, False, True],
        )
    )
    assert (summary["n"], summary["samples"]) == (8, 1)
    assert summary["accuracy"] == {
        "all": 5 / 8,
        "needs_operation": 3 / 4,
        "by_kind": {
            # count: right, wrong, right of those that need it; right and wrong of the others.
            "count": {"all": 3 / 5, "needs_operation": 2 / 3},
            "page": {"all": 2 / 3, "needs_operation": 1.0},
        },
    }
    # Easy is what is known to need no operation.
    assert summary["rapr"] == {"all": 4 / 8, "needs_operation": 3 / 4, "easy": 1 / 4, "hard": 3 / 4}
    assert summary["easy_by"] == "needs_operation"
    assert summary["op_error_rate"] == 2 / 7  # 2 invalid of 7 asked for
    # hit, half, miss, hit on tasks that need it: half covers exactly half of the cue.
    assert summary["cue_coverage"] == 3 / 4
    # The cue is 20 x 20. hit: 400/1600, twice; half [0, 0, 100, 50]: 200/5200; miss: 9 x 10 of it.
    assert summary["cue_iou"] == (400 / 1600 + 400 / 1600 + 200 / 5200 + 90 / (2450 + 400 - 90)) / 4
    assert summary["whole_image_crops"] == 0.0
    assert summary["tasks"]["accuracy"] == {
        "all": 8,
        "needs_operation": 4,
        "by_kind": {
            "count": {"all": 5, "needs_operation": 3},
            "page": {"all": 3, "needs_operation": 1},
        },
    }
    assert summary["stderr"]["accuracy"] == {
        "all": pytest.approx(math.sqrt(5 / 8 * 3 / 8 / 8)),
        "needs_operation": pytest.approx(math.sqrt(3 / 4 * 1 / 4 / 4)),
        "by_kind": {
            "count": {
                "all": pytest.approx(math.sqrt(3 / 5 * 2 / 5 / 5)),
                "needs_operation": pytest.approx(math.sqrt(2 / 3 * 1 / 3 / 3)),
            },
            "page": {"all": pytest.approx(math.sqrt(2 / 3 * 1 / 3 / 3)), "needs_operation": 0.0},
        },
    }
    assert summary["stderr"]["rapr"]["all"] == pytest.approx(math.sqrt(1 / 4 / 8))
    assert summary["interval95"]["accuracy"] == {
        "all": interval(5 / 8, 8),
        "needs_operation": interval(3 / 4, 4),
        "by_kind": {
            "count": {"all": interval(3 / 5, 5), "needs_operation": interval(2 / 3, 3)},
            "page": {"all": interval(2 / 3, 3), "needs_operation": interval(1.0, 1)},
        },
    }
    assert summary["interval95"]["rapr"]["easy"] == interval(1 / 4, 4)
    # Right answers in a resample are binomial(8, 5/8): P(X <= 1) = 0.006, P(X <= 2) = 0.036 and
    # P(X <= 6) = 0.86, P(X <= 7) = 1 - (5/8)^8 = 0.977.
    assert summary["bootstrap95"]["accuracy"]["all"] == [2 / 8, 7 / 8]
    assert summary["pass_at_k"] == {"1": 5 / 8}
    assert summary["avg_at_k"] == {"1": 5 / 8}
    assert json.loads(json.dumps(summary)) == summary


def test_counts_of_a_summary():
    """Two rollouts of a task that zoom, one that fails three times, one that says nothing."""
    zoom = Turn("a", ToolCall("crop_image"), crop(30, 30, 70, 70), sampled=Segment((1, 2, 3)))
    answer = Turn("It is K. \\boxed{K}", sampled=Segment((4, 5)))
    broken = Turn("<tool_call>{", None, INVALID)
    unnamed = Turn("b", ToolCall("zoom"), INVALID)
    outside = Observation("no", valid=False, error_class=ErrorClass.REGION)
    failed = (broken, unnamed, Turn("c", ToolCall("crop_image"), outside))
    base = recorded()
    rollouts = [
        replace(base, turns=(zoom, zoom, answer), answer="K", metrics={"correct": 1.0, "visual_tokens": 30}),
        replace(base, turns=(zoom, answer), answer="", metrics={"correct": 0.0, "visual_tokens": 20}),
        replace(base, turns=failed, stop=StopReason.TURN_LIMIT, metrics={"correct": 0.0, "visual_tokens": 4}),
        replace(base, turns=(Turn(" "),), metrics={"correct": 0.0, "visual_tokens": 2}),
    ]
    summary = summarize(rollouts)
    assert summary["operations"] == {
        "valid": {"crop_image": 3},
        "unread": 0,
        # An old record says what was unreadable, and of the rest nothing.
        "invalid": {"region": 1, "unclassified": 1, "unreadable": 1},
    }
    # An empty box is a box; nothing in it is empty, as a blank message is.
    assert summary["outputs"] == {"rollouts": 4, "unboxed": 2, "empty": 2}
    assert summary["stop"] == {"answer": 3, "turn_limit": 1}
    each = summary["per_rollout"]
    assert each["turns"]["mean"] == (3 + 2 + 3 + 1) / 4
    assert each["sampled_tokens"]["total"] == 8 + 5
    # 30, 20, 4, 2 around 14: squares 256, 36, 100, 144.
    assert each["visual_tokens"] == {
        "mean": 14.0, "stderr": pytest.approx(math.sqrt(536 / 4 / 4)), "total": 56
    }  # fmt: skip
    # A record of an earlier version does not say it.
    old = replace(rollouts[0], metrics={"correct": 1.0})
    assert summarize([*rollouts, old])["per_rollout"]["visual_tokens"] is None


def test_several_rollouts_of_a_task_are_one_task():
    """Task 1: right in 1 of 3, task 2: in 2 of 3."""
    task_1, task_2 = recorded(), recorded(crop(30, 30, 70, 70))
    task_2 = replace(task_2, task=replace(task_2.task, id="t2"))
    rollouts = scored([task_1] * 3 + [task_2] * 3, [1, 0, 0, 0, 1, 1])
    summary = summarize_scores([score(t) for t in rollouts], samples=3)
    assert (summary["n"], summary["samples"]) == (2, 3)
    assert summary["accuracy"]["all"] == 0.5
    # Over two tasks of 1/3 and 2/3, not over six rollouts.
    assert summary["stderr"]["accuracy"]["all"] == pytest.approx((1 / 6) / math.sqrt(2))
    assert summary["avg_at_k"] == {"3": 0.5}
    # pass@2: 1 - C(2, 2)/C(3, 2) = 2/3 and 1 - 0 = 1.
    assert summary["pass_at_k"] == {"1": 0.5, "2": pytest.approx(5 / 6), "3": 1.0}
    # Both tasks of either value are drawn with probability 1/4.
    assert summary["bootstrap95"]["accuracy"]["all"] == pytest.approx([1 / 3, 2 / 3])
    assert summary["rapr"]["all"] == 0.5
    assert summary["outputs"]["rollouts"] == 6


def test_easy_is_what_the_same_model_answers_without_operations():
    looked, blind = recorded(crop(30, 30, 70, 70)), recorded()
    ids = ("a", "b", "c", "d")
    with_operations = [
        replace(t, task=replace(t.task, id=name))
        for t, name in zip((looked, blind, looked, looked), ids, strict=True)
    ]
    without = [replace(blind, task=replace(blind.task, id=name)) for name in ids[:3]]
    easy = right_without_operations([score(t) for t in scored(without, [1, 1, 0])])
    assert easy == {"a": True, "b": True, "c": False}
    scores = [score(t) for t in scored(with_operations, [1, 1, 1, 1])]
    summary = summarize_scores(scores, easy=easy)
    # d was not evaluated without operations: it is neither.
    assert summary["rapr"] == {"all": 3 / 4, "needs_operation": 3 / 4, "easy": 1 / 2, "hard": 1.0}
    assert summary["tasks"]["rapr"] == {"all": 4, "needs_operation": 4, "easy": 2, "hard": 1}
    assert summary["easy_by"] == "without_operations"


def test_a_second_score_is_summarised_beside_the_first():
    rollouts = scored([recorded(), recorded(kind="page"), recorded()], [1, 0, 0])
    both = [
        replace(t, metrics={**t.metrics, **more})
        for t, more in zip(rollouts, ({"pr_compat": 1.0}, {"pr_compat": 1.0}, {}), strict=True)
    ]
    summary = summarize(both)
    assert summary["scores"] == {
        "pr_compat": {"all": 1.0, "by_kind": {"count": {"all": 1.0}, "page": {"all": 1.0}}}
    }
    # The rollout without it is left out, and counted so.
    assert summary["tasks"]["scores"]["pr_compat"]["all"] == 2


def test_visual_tokens_are_those_of_the_placeholders():
    """Every picture that was read, in the tokens of its budget; the renderer counts the same."""
    renderer = PlainRenderer()
    prompt = Segment(ids=(1, 2), media=(PICTURE,))
    observed = renderer.observation(crop(0, 0, 50, 50))
    trajectory = replace(
        recorded(), prompt=prompt, turns=(Turn("a", sampled=Segment((7,)), observed=observed), Turn("b"))
    )
    expected = renderer.vision.n_tokens(PICTURE, crop=False) + renderer.vision.n_tokens(PICTURE, crop=True)
    assert visual_tokens(trajectory, renderer.vision) == expected


def test_a_result_that_did_not_fit_is_no_operation_but_was_asked_for():
    hit = recorded(crop(30, 30, 70, 70))
    cut_off = replace(hit, turns=hit.turns[:-1], stop=StopReason.IMAGE_LIMIT)
    summary = summarize(scored([hit, cut_off, recorded(INVALID)], [True, False, False]))
    assert summary["rapr"]["all"] == 1 / 3
    assert summary["op_error_rate"] == 1 / 3
    assert summary["cue_coverage"] == 1.0


def test_nothing_needed_and_nothing_asked():
    summary = summarize(scored([recorded(needs=False), recorded(needs=None)], [True, False]))
    assert summary["accuracy"]["needs_operation"] is None
    assert summary["accuracy"]["by_kind"]["count"] == {"all": 0.5, "needs_operation": None}
    assert summary["rapr"] == {"all": 0.0, "needs_operation": None, "easy": 0.0, "hard": None}
    assert summary["op_error_rate"] == 0.0
    assert summary["cue_coverage"] is None
    assert summary["cue_iou"] is None
    assert summary["whole_image_crops"] is None
    assert summary["stderr"]["rapr"] == {"all": 0.0, "needs_operation": None, "easy": 0.0, "hard": None}
    # Nobody knows of the second task, so that it is neither easy nor hard.
    assert summary["tasks"]["rapr"] == {"all": 2, "needs_operation": 0, "easy": 1, "hard": 0}


def test_a_crop_of_a_crop_is_judged_in_the_picture():
    # In the picture the second crop is [35, 35, 65, 65]; its own numbers would miss the cue.
    chain = recorded(crop(30, 30, 90, 90), crop(5, 5, 35, 35, source=2))
    assert summarize(scored([chain], [True]))["cue_coverage"] == 1.0


@pytest.mark.parametrize(("frames", "coverage"), [((1, 3), 1.0), ((1, 4), 0.0)])
def test_any_frame_of_the_cue_is_a_hit(frames: tuple[int, ...], coverage: float):
    selected = recorded(Observation("ok", (PICTURE, PICTURE), frames=frames))
    task = replace(selected.task, media=(Video((PICTURE,) * 4),), cue=Cue(CUE.box, frames=(2, 3)))
    assert summarize(scored([replace(selected, task=task)], [True]))["cue_coverage"] == coverage


def test_an_empty_set_has_no_summary():
    with pytest.raises(PixelReasonerError, match="nothing to summarise"):
        summarize(scored([], []))


def test_further_scores_are_means_over_the_tasks_that_have_one():
    found = scored([recorded(), recorded(kind="page"), recorded(kind="page")], [True, False, True])
    further = ({"pr_compat": 1.0, "judge": 1.0}, {"pr_compat": 0.0}, {"pr_compat": 1.0, "judge": 0.0})
    summary = summarize([replace(t, metrics={**t.metrics, **m}) for t, m in zip(found, further, strict=True)])
    assert summary["scores"] == {
        "pr_compat": {"all": 2 / 3, "by_kind": {"count": {"all": 1.0}, "page": {"all": 0.5}}},
        "judge": {"all": 0.5, "by_kind": {"count": {"all": 1.0}, "page": {"all": 0.0}}},
    }
    assert summary["tasks"]["scores"]["judge"]["all"] == 2
