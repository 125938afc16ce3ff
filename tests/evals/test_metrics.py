"""A summary by hand: ten rollouts of tasks of two kinds."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.intervals import wilson_interval
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.evals.metrics import SCORE_METRIC, summarize


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
    assert summary == {
        "n": 8,
        "accuracy": {
            "all": 5 / 8,
            "needs_operation": 3 / 4,
            "by_kind": {
                # count: right, wrong, right of those that need it; right and wrong of the others.
                "count": {"all": 3 / 5, "needs_operation": 2 / 3},
                "page": {"all": 2 / 3, "needs_operation": 1.0},
            },
        },
        "scores": {},
        "rapr": {"all": 4 / 8, "needs_operation": 3 / 4},
        # 2 invalid of 7 asked for.
        "op_error_rate": 2 / 7,
        # hit, half, miss, hit on tasks that need it: half covers exactly half of the cue.
        "cue_coverage": 3 / 4,
        # The cue is 20 x 20. hit: 400/1600, twice; half [0, 0, 100, 50]: 200/5200; miss: 9 x 10 of it.
        "cue_iou": (400 / 1600 + 400 / 1600 + 200 / 5200 + 90 / (2450 + 400 - 90)) / 4,
        "whole_image_crops": 0.0,
        "stderr": {
            "accuracy": {
                "all": math.sqrt(5 / 8 * 3 / 8 / 8),
                "needs_operation": math.sqrt(3 / 4 * 1 / 4 / 4),
            },
            "rapr": {"all": math.sqrt(1 / 4 / 8), "needs_operation": math.sqrt(3 / 4 * 1 / 4 / 4)},
        },
        "interval95": {
            "accuracy": {
                "all": interval(5 / 8, 8),
                "needs_operation": interval(3 / 4, 4),
                "by_kind": {
                    "count": {"all": interval(3 / 5, 5), "needs_operation": interval(2 / 3, 3)},
                    "page": {"all": interval(2 / 3, 3), "needs_operation": interval(1.0, 1)},
                },
            },
            "rapr": {"all": interval(4 / 8, 8), "needs_operation": interval(3 / 4, 4)},
        },
    }
    assert json.loads(json.dumps(summary)) == summary


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
    assert summary["rapr"] == {"all": 0.0, "needs_operation": None}
    assert summary["op_error_rate"] == 0.0
    assert summary["cue_coverage"] is None
    assert summary["cue_iou"] is None
    assert summary["whole_image_crops"] is None
    assert summary["stderr"]["rapr"] == {"all": 0.0, "needs_operation": None}


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
        "pr_compat": {"n": 3, "missing": 0, "all": 2 / 3, "by_kind": {"count": 1.0, "page": 0.5}},
        "judge": {"n": 2, "missing": 1, "all": 0.5, "by_kind": {"count": 1.0, "page": 0.0}},
    }
