"""Rules of the words: they say what the figures say, and when it is within chance."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from pixelreasoner.evals.evidence_words import sentences, verdict


def figure(mean: float, low: float, high: float, n: int = 50) -> dict[str, Any]:
    return {"n": n, "mean": mean, "interval95": [low, high]}


def counts(n: int, both: int, gain: int, harm: int, low: float, high: float) -> dict[str, Any]:
    net = {"mean": (gain - harm) / n, "interval95": [low, high]}
    return {"n": n, "both": both, "gain": gain, "harm": harm, "neither": n - both - gain - harm, "net": net}


FOUND: dict[str, Any] = {
    "n": 60,
    "all": {
        "unanswered": {"plain": figure(0.0, 0.0, 0.06), "no_operations": figure(0.5, 0.4, 0.6),
                       "blank": figure(0.05, 0.01, 0.14)},
        "called": figure(0.8, 0.68, 0.88),
        "call": counts(48, 20, 16, 4, 0.07, 0.41),
        "schema": counts(12, 6, 1, 1, -0.26, 0.26),
        "pixels": {"blank": counts(40, 18, 14, 2, 0.12, 0.45)},
        "answers": {"blank": {"n": 40, "replaced": 40, "changed": figure(0.5, 0.35, 0.65)}},
        "swapped": {
            "n": 30, "n_swapped": 40, "follows": figure(0.7, 0.52, 0.83), "keeps": figure(0.2, 0.1, 0.37),
            "chance": figure(0.1, 0.03, 0.26),
        },
    },
    "needs_operation": {"swapped": {"n": 12, "follows": figure(0.75, 0.47, 0.91)}},
    "over_base": {
        "gain": figure(0.4, 0.25, 0.55), "intrinsic": figure(0.1, 0.0, 0.2),
        "tool_induced": figure(0.3, 0.2, 0.4), "pixels": figure(0.2, 0.1, 0.3),
        "tool_share": figure(0.75, 0.5, 1.0), "pixel_share": figure(0.5, 0.3, 0.7),
    },
    "localisation": {
        "cue_coverage": figure(0.9, 0.8, 0.95), "cue_iou": figure(0.31, 0.25, 0.37),
        "whole_image_crops": figure(0.05, 0.01, 0.14),
    },
    "box_mapping": {
        "n": 40, "iou": {"declared": figure(0.31, 0.2, 0.4), "pixels": figure(0.0, 0.0, 0.0)}, "better": None,
    },
}  # fmt: skip


def test_the_verdict_is_about_what_was_seen():
    assert verdict(FOUND) == (
        "What the operations showed was worth +30.0 points (+12.0 to +45.0) of accuracy where it looked "
        "(40 of 60 tasks)."
    )
    found = deepcopy(FOUND)
    found["all"]["pixels"]["blank"] = counts(40, 18, 2, 14, -0.45, -0.12)
    assert verdict(found).startswith("What the operations showed cost -30.0 points")
    found["all"]["pixels"]["blank"] = counts(40, 18, 2, 1, -0.1, 0.15)
    assert "no difference beyond chance" in verdict(found)


def test_each_question_has_its_sentence():
    lines = sentences(FOUND)
    assert lines[0] == "Calls: it called an operation in 80 % (68 to 88) of 60 tasks."
    assert "16 are right only with operations, and 4 only without: +25.0 points (+7.0 to +41.0)." in lines[1]
    assert lines[1].endswith("It then gives no answer in 50 % (40 to 60) of all tasks (as it is: 0 %).")
    assert "no answer" not in lines[3]
    assert "+0.0 points (-26.0 to +26.0, within chance), from the prompt alone" in lines[2]
    assert "it is right in 20 of the 40 tasks where it looked, and with the results in 32" in lines[3]
    assert (
        "the answer of what it was shown in 70 % (52 to 83) and keeps its own in 20 % (10 to 37)" in lines[4]
    )
    assert lines[4].endswith("Where an operation is needed, it follows in 75 % (47 to 91) of 12.")
    assert "The tool's share of the gain is 75 % (50 to 100), that of the pixels 50 % (30 to 70)." in lines[5]
    assert "Its accuracy without operations changed by +10.0 points (+0.0 to +20.0)" in lines[5]
    assert "with a mean IoU of 0.31 (0.25 to 0.37)" in lines[6]
    assert lines[7].startswith("Whole images: 5 % (1 to 14) of 50 crops are of the whole image")
    assert (
        lines[8]
        == "Unit of the boxes: read as it should be; mean IoU of 40 boxes, declared 0.31, pixels 0.00."
    )


def test_without_a_gain_no_share_is_claimed():
    found = deepcopy(FOUND)
    found["over_base"] |= {"gain": figure(0.02, -0.1, 0.14), "tool_share": None, "pixel_share": None}
    (line,) = [line for line in sentences(found) if "Over the base" in line]
    assert "no gain to share out" in line
    assert "share of the gain is" not in line


def test_a_wrong_unit_is_a_warning():
    found = deepcopy(FOUND)
    found["box_mapping"]["better"] = "pixels"
    assert (
        "WARNING: the boxes fit the cues better when their numbers are read as pixels" in sentences(found)[-1]
    )


def test_what_was_not_measured_is_not_spoken_of():
    bare: dict[str, Any] = {
        "n": 5,
        "all": {
            "unanswered": {"plain": figure(0.0, 0.0, 0.06)}, "called": figure(0.2, 0.1, 0.3), "call": None,
            "schema": None, "pixels": {}, "answers": {}, "swapped": None,
        },
        "needs_operation": None,
        "over_base": None,
        "localisation": {"cue_coverage": None, "cue_iou": None, "whole_image_crops": None},
        "box_mapping": None,
    }  # fmt: skip
    assert sentences(bare) == ["Calls: it called an operation in 20 % (10 to 30) of 5 tasks."]
    assert verdict(bare) == "The model called an operation in 20 % (10 to 30) of the tasks."
