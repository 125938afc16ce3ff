"""pr_compat against the released code of PixelReasoner, run on these texts (math-verify 0.8 and 0.9)."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import pytest

from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.rewards.pr_compat import MAX_TAIL, boxed, normalize_answer, pr_compat, rule_reward

pytest.importorskip("math_verify")

# (name, text, references, score); None where the released code raises for want of a box; by version where
# versions of math-verify differ.
VECTORS = [
    ("mcq-000", "Some reasoning. \\boxed{A}", ["\\boxed{A}"], 1.0),
    ("mcq-002", "Some reasoning. \\boxed{A.}", ["\\boxed{A}"], 0.0),
    ("mcq-004", "Some reasoning. \\boxed{(A)}", ["\\boxed{A}"], 1.0),
    ("mcq-006", "Some reasoning. \\boxed{[C]}", ["\\boxed{C}"], 1.0),
    ("mcq-008", "Some reasoning. \\boxed{B. cotton}", ["\\boxed{B}"], 0.0),
    ("mcq-010", "Some reasoning. \\boxed{The answer is B}", ["\\boxed{B}"], 0.0),
    ("mcq-012", "Some reasoning. \\boxed{Answer: D}", ["\\boxed{D}"], 0.0),
    ("mcq-014", "\\boxed{C}", ["\\boxed{C}"], 1.0),
    ("mcq-016", "\\boxed{\\text{C}}", ["\\boxed{C}"], 1.0),
    ("mcq-018", "\\boxed{c}", ["\\boxed{C}"], 1.0),
    ("mcq-020", "Some reasoning. \\boxed{Blue}", ["\\boxed{D}"], 0.0),
    ("mcq-022", "Some reasoning. \\boxed{A red car is visible, so the answer is D}", ["\\boxed{D}"], 0.0),
    ("mcq-024", "Some reasoning. \\boxed{The glove is made of leather.}", ["\\boxed{D}"], 0.0),
    ("mcq-026", "Some reasoning. \\boxed{silk}", ["\\boxed{A}"], 0.0),
    ("mcq-028", "Some reasoning. \\boxed{  \n }", ["\\boxed{A}"], 0.0),
    (
        "mcq-030",
        "Some reasoning. \\boxed{Looking at the image, the material looks soft. B}",
        ["\\boxed{B}"],
        0.0,
    ),
    ("mcq-032", "Some reasoning. \\boxed{['B']}", ["\\boxed{B}"], 1.0),
    ("mcq-034", "Some reasoning. \\boxed{<answer>B</answer>}", ["\\boxed{B}"], 0.0),
    ("mcq-036", "Some reasoning. \\boxed{My choice is (D)}", ["\\boxed{D}"], 0.0),
    ("mcq-038", "Some reasoning. \\boxed{I think it is D}", ["\\boxed{D}"], 0.0),
    ("mcq-040", "Some reasoning. \\boxed{答案是B}", ["\\boxed{B}"], 0.0),
    ("mcq-042", "Some reasoning. \\boxed{• B}", ["\\boxed{B}"], 0.0),
    ("mcq-044", "Some reasoning. \\boxed{2}", ["\\boxed{B}"], 0.0),
    (
        "mcq-046",
        "Some reasoning. \\boxed{Sorry, I can't help with images of people yet.}",
        ["\\boxed{A}"],
        0.0,
    ),
    ("mcq-048", "Some reasoning. \\boxed{.}", ["\\boxed{A}"], 0.0),
    ("count-000", "Let me count. \\boxed{3}", ["\\boxed{3}"], 1.0),
    ("count-002", "Let me count. \\boxed{Three}", ["\\boxed{3}"], 0.0),
    ("count-004", "Let me count. \\boxed{There are three dogs.}", ["\\boxed{3}"], 0.0),
    ("count-006", "Let me count. \\boxed{zero}", ["\\boxed{0}"], 0.0),
    ("count-008", "Let me count. \\boxed{no}", ["\\boxed{0}"], 0.0),
    ("count-010", "Let me count. \\boxed{03}", ["\\boxed{3}"], 1.0),
    ("count-012", "Let me count. \\boxed{-3}", ["\\boxed{3}"], 0.0),
    ("count-014", "Let me count. \\boxed{3.5}", ["\\boxed{3}"], 0.0),
    ("count-016", "Let me count. \\boxed{3/4}", ["\\boxed{3}"], 0.0),
    ("count-018", "Let me count. \\boxed{about 3}", ["\\boxed{3}"], 0.0),
    ("count-020", "Let me count. \\boxed{3%}", ["\\boxed{3}"], {"0.8.0": 0.0, "0.9.0": 1.0}),
    ("count-022", "Let me count. \\boxed{2, 3}", ["\\boxed{3}"], 0.0),
    ("count-024", "Let me count. \\boxed{3rd}", ["\\boxed{3}"], {"0.8.0": 1.0, "0.9.0": 1.0}),
    ("count-026", "Let me count. \\boxed{twenty}", ["\\boxed{20}"], 0.0),
    ("count-028", "Let me count. \\boxed{21}", ["\\boxed{21}"], 1.0),
    ("count-030", "Let me count. \\boxed{15}", ["\\boxed{15}"], 1.0),
    ("count-032", "Let me count. \\boxed{often}", ["\\boxed{10}"], 0.0),
    ("count-034", "Let me count. \\boxed{a couple}", ["\\boxed{2}"], 0.0),
    ("count-036", "Let me count. \\boxed{3 people}", ["\\boxed{3}"], 0.0),
    ("count-038", "Let me count. \\boxed{ 3 }", ["\\boxed{3}"], 1.0),
    ("count-040", "\\boxed{3}", ["\\boxed{3}"], 1.0),
    ("count-042", "\\boxed{There are 3}", ["\\boxed{3}"], 0.0),
    ("count-044", "Let me count. \\boxed{\uff13}", ["\\boxed{3}"], 0.0),
    ("count-046", "Let me count. \\boxed{III}", ["\\boxed{3}"], 0.0),
    ("count-048", "Let me count. \\boxed{103}", ["\\boxed{100}"], 0.0),
    ("count-050", "Let me count. \\boxed{0.0}", ["\\boxed{0}"], 1.0),
    ("count-052", "Let me count. \\boxed{1_0}", ["\\boxed{10}"], 0.0),
    ("str-000", "\\boxed{Paris}", ["\\boxed{Paris}"], 1.0),
    ("str-002", "Paris", ["\\boxed{Paris}"], None),
    ("str-004", "<answer>Paris</answer>", ["\\boxed{Paris}"], None),
    ("str-006", "\\boxed{Share contacts via NHS Test and Trace}", ["\\boxed{share contacts}"], 0.0),
    ("str-008", "\\boxed{\\text{Paris}}", ["\\boxed{Paris}"], 1.0),
    ("str-010", "\\boxed{New York}", ["\\boxed{New York}"], 1.0),
    ("str-012", "\\boxed{York New}", ["\\boxed{New York}"], 1.0),
    ("str-014", "\\boxed{45}", ["\\boxed{45%}"], 1.0),
    ("str-016", "\\boxed{45%}", ["\\boxed{45}"], {"0.8.0": 0.0, "0.9.0": 1.0}),
    ("str-018", "\\boxed{0.45}", ["\\boxed{45%}"], 1.0),
    ("str-020", "\\boxed{$1,234}", ["\\boxed{1234}"], 1.0),
    ("str-022", "\\boxed{10 km}", ["\\boxed{10}"], {"0.8.0": 1.0, "0.9.0": 1.0}),
    ("str-024", "\\boxed{3.50}", ["\\boxed{3.5}"], 1.0),
    ("str-026", "\\boxed{two}", ["\\boxed{2}"], 0.0),
    (
        "str-028",
        "\\boxed{the siege of krishnapur, troubles}",
        ["\\boxed{troubles, the siege of krishnapur}"],
        1.0,
    ),
    ("str-030", "\\boxed{troubles}", ["\\boxed{troubles, the siege of krishnapur}"], 0.0),
    ("str-032", "\\boxed{x} red blue", ["\\boxed{red, blue}"], 1.0),
    ("str-034", "\\boxed{Paris} no, \\boxed{London}", ["\\boxed{Paris}"], 0.0),
    ("str-036", "\\boxed{Paris", ["\\boxed{Paris}"], 0.0),
    ("str-038", "\\boxed{Paris}", ["\\boxed{}"], 0.0),
    ("str-040", "\\boxed{東京}", ["\\boxed{東京}"], 1.0),
    ("str-042", "\\boxed{A}", ["\\boxed{A}"], 1.0),
    ("str-044", "\\boxed{(A)}", ["\\boxed{A}"], 1.0),
    ("str-046", "\\boxed{Yes}", ["\\boxed{yes}"], 1.0),
    ("str-048", "\\boxed{facebook}", ["\\boxed{['facebook', 'fb']}"], 0.0),
    ("str-050", "\\boxed{10:30}", ["\\boxed{10:30}"], 1.0),
    ("str-052", "\\boxed{18-24}", ["\\boxed{18-24}"], 1.0),
    ("str-054", "wait wait wait wait wait wait \\boxed{Paris}", ["\\boxed{Paris}"], 1.0),
]


@pytest.mark.parametrize(("name", "text", "references", "expected"), VECTORS, ids=[v[0] for v in VECTORS])
def test_the_released_code_gives_the_same(name: str, text: str, references: list[str], expected):
    if isinstance(expected, dict):
        expected = expected.get(version("math-verify"))
        if expected is None:
            pytest.skip("another version of math-verify than those that were tried")
    assert rule_reward(f"{text}<|im_end|>", references) == (expected or 0.0)


def trajectory(*turns: Turn, answers: tuple[str, ...] = ("K",)) -> Trajectory:
    return Trajectory(Task("t", "Which?", (), answers), turns, StopReason.ANSWER)


def test_the_last_box_of_the_whole_rollout_counts():
    picture = Picture(np.zeros((2, 2, 3), np.uint8))
    early = Turn("I think \\boxed{K}.", observation=Observation("the crop", (picture,)))
    assert pr_compat(trajectory(early, Turn("It is \\boxed{L}."))) == 0.0
    assert pr_compat(trajectory(early, Turn("Nothing to add."))) == 1.0
    # A reply of an operation is part of the text too.
    reply = Turn("Closer.", observation=Observation("an error about \\boxed{K}", valid=False))
    assert pr_compat(trajectory(reply)) == 1.0


@pytest.mark.parametrize("text", ["", "K", "\\boxed{}", "\\boxed{ }", "\\boxed"])
def test_an_empty_answer_is_never_right(text: str):
    assert pr_compat(trajectory(Turn(text))) == 0.0
    assert pr_compat(trajectory(Turn(text), answers=("1, 3",))) == 0.0
    assert pr_compat(trajectory(Turn(text), answers=())) == 0.0


def test_parts_of_a_list_may_stand_anywhere_after_the_last_box():
    assert rule_reward("\\boxed{12, 345}", [boxed("1, 3")]) == 1.0
    assert rule_reward("\\boxed{12, 45}", [boxed("1, 3")]) == 0.0
    # Empty parts are in every text: they say nothing.
    assert rule_reward("\\boxed{9}", [boxed(",")]) == 0.0


def test_a_reference_with_a_percent_sign_is_tried_without_it():
    assert rule_reward("\\boxed{45}", [boxed("45%")]) == 1.0
    assert rule_reward("\\boxed{46}", [boxed("45%")]) == 0.0


def test_what_is_rewritten_before_it_is_parsed():
    assert normalize_answer(r"\dfrac{1}{2}\text{ cm} 5minutes \varnothing") == r"\frac{1}{2}{ } 5 \emptyset"


def test_a_text_without_end_is_no_formula():
    assert rule_reward("\\boxed{1" + "+1" * MAX_TAIL + "}", [boxed("3")]) == 0.0
