"""What each scorer takes for right, and that none takes another answer."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.task import Task
from pixelreasoner.rewards.answers import MAX_CHARACTERS, normalize
from pixelreasoner.rewards.choices import LETTERS, listed_options, written_options
from pixelreasoner.rewards.scorers import (
    ReferenceCheck,
    ScoringConfig,
    build_scorer,
    check_scorer,
    choice,
    exact,
    gold_problems,
    integer,
    numeric,
)

OPEN = Task("t", "Q?", (), ())
GLOVE = Task("t", "Of what is the glove?", (), ("A",), options=("rubber", "cotton", "kevlar", "leather"))


# ------------------------------------------------------------------------------------------- choice


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [
        ("A", "A"),
        ("a", "A"),
        ("A.", "A"),
        ("(A)", "A"),
        ("[C]", "C"),
        ("C)", "C"),
        ("C:", "C"),
        ("**C**", "C"),
        (r"\text{C}", "C"),
        ("Option D", "D"),
        ("B. cotton", "B"),
        ("(B) Cotton.", "B"),
        ("B: cotton", "B"),
        ("cotton", "B"),
        ('"Cotton"', "B"),
        ("['B']", "B"),
        # Final answers that choose nothing, though some published extractors find a letter in them.
        ("The answer is B", None),
        ("Answer: D", None),
        ("Blue", None),  # its first letter is one
        ("A red car is visible, so the answer is D", None),
        ("The glove is made of leather.", None),
        ("silk", None),
        (" \n", None),
        (".", None),
        ("2", None),
        ("E", None),  # there are four
        ("A or B", None),
        ("A, B", None),
        ("A. cotton", None),  # the letter of one, the text of another
        ("B. rubber or cotton", None),
        ("a glove", None),
        ("not B", None),
        ("AB", None),
    ],
)
def test_choice(answer, chosen):
    for letter in "ABCD":
        assert choice(answer, [letter], GLOVE) == (letter == chosen)


def test_a_reference_may_be_the_options_text():
    assert choice("(B)", ["cotton"], GLOVE) == 1.0
    assert choice("(A)", ["cotton"], GLOVE) == 0.0


def test_options_are_read_from_the_question_where_the_task_has_none():
    listed = Task("t", "Of what?\n(A) rubber\n(B) cotton\nAnswer with the letter.", (), ("B",))
    assert listed_options(listed.question) == ("rubber", "cotton")
    assert choice("cotton", ["B"], listed) == 1.0
    assert choice("rubber", ["B"], listed) == 0.0
    assert listed_options("Where?\nB. left\nC. right") == ()


TEXTS = st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=6)
WORDS = st.lists(st.text("abcd .,", min_size=1, max_size=8), min_size=2, max_size=6)


def another(data, options) -> tuple[Task, int]:
    """A task with one of the options for its answer, and the index of another one."""
    gold = data.draw(st.integers(0, len(options) - 1))
    other = data.draw(st.integers(0, len(options) - 1).filter(lambda i: i != gold))
    return Task("t", "Q?", (), (LETTERS[gold],), options=tuple(options)), other


@given(TEXTS, st.data())
def test_choice_never_accepts_the_letter_of_another_option(options, data):
    task, other = another(data, options)
    letter, text = LETTERS[other], options[other]
    forms = ("{0}", "({0})", "{0}.", "{0}. {1}", "({0}) {1}", "{0}: {1}", "Option {0}", "**{0}**")
    for answer in (form.format(letter, text) for form in forms):
        assert choice(answer, task.answers, task) == 0.0
        assert choice(answer.lower(), task.answers, task) == 0.0


@given(WORDS, st.data())
def test_choice_never_accepts_the_text_of_another_option(options, data):
    task, other = another(data, options)
    # The rule: a letter goes first. A text that begins like the letter of an option is read as that letter.
    assume(not re.match(r"\W*[a-d](\W|$)", normalize(options[other])))
    assert choice(options[other], task.answers, task) == 0.0


@given(TEXTS, st.data())
def test_the_letter_of_the_right_option_is_right(options, data):
    gold = data.draw(st.integers(0, len(options) - 1))
    task = Task("t", "Q?", (), (LETTERS[gold],), options=tuple(options))
    for answer in (LETTERS[gold], f"({LETTERS[gold]})", f"{LETTERS[gold]}."):
        assert choice(answer, task.answers, task) == 1.0


def test_written_options_can_be_listed_again():
    assert listed_options("Q?\n" + written_options(GLOVE.options)) == GLOVE.options


# ------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("3", "3", True),
        ("Three", "3", True),
        ("three.", "3", True),
        ("zero", "0", True),
        ("no", "0", True),
        ("none", "0", True),
        ("twenty", "20", True),
        ("twenty-one", "21", True),
        ("21", "21", True),
        ("03", "3", True),
        ("0.0", "0", True),
        ("\uff13", "3", True),
        ("1,000", "1000", True),
        (r"\text{3}", "three", True),
        ("-3", "3", False),
        ("3.5", "3", False),
        ("3/4", "3", False),
        ("3-4", "3", False),
        ("2, 3", "3", False),
        ("3%", "3", False),
        ("3rd", "3", False),
        ("about 3", "3", False),
        ("3 dozen", "3", False),
        ("3 cm", "3", False),
        ("not 3", "3", False),
        ("often", "10", False),
        ("a couple", "2", False),
        ("III", "3", False),
        ("1_0", "10", False),
        ("103", "100", False),
        ("10²", "102", False),  # A1
        ("", "0", False),
    ],
)
def test_integer(answer, reference, right):
    assert integer(answer, [reference], OPEN) == right


@given(st.integers(), st.integers())
def test_integers_are_right_only_when_equal(a, b):
    assert integer(str(a), [str(b)], OPEN) == (a == b or 0.0)


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("103", "100", True),
        ("105", "100", True),  # exactly 5 %
        ("105.1", "100", False),
        ("95", "100", True),
        ("-100", "100", False),
        ("0.45", "45%", True),
        ("45", "45%", False),
        ("1,000", "1000", True),
        ("3e2", "300", True),
        ("0.0", "0", True),
        ("0.001", "0", False),
        ("left", "Left.", True),
        ("left", "5", False),
        ("nan", "nan", True),  # as words
        ("1_0", "10", False),
        ("10²", "102", False),
        ("9" * 10_000, "9", False),
    ],
)
def test_numeric(answer, reference, right):
    assert numeric(answer, [reference], OPEN) == right


@pytest.mark.parametrize("scorer", [exact, choice, integer, numeric])
def test_an_answer_over_the_limit_of_characters_is_wrong(scorer):
    at_limit = "3" + "." * (MAX_CHARACTERS - 1)
    reference = "3" if scorer is not choice else "C"
    at_limit = reference + at_limit[1:]
    assert scorer(at_limit, [reference], OPEN) == 1.0
    assert scorer(at_limit + ".", [reference, at_limit + "."], OPEN) == 0.0


def test_the_tolerance_is_an_option():
    assert numeric("103", ["100"], OPEN, tolerance=0.02) == 0.0
    assert numeric("102", ["100"], OPEN, tolerance=0.02) == 1.0


# ----------------------------------------------------------------------------------------- dispatch


def test_the_tasks_own_scorer_goes_before_its_kinds_and_that_before_the_default():
    scorer = build_scorer(ScoringConfig(by_kind={"count": "integer"}))
    assert scorer("three", ["3"], OPEN) == 0.0
    assert scorer("three", ["3"], Task("t", "Q?", (), ("3",), kind="count")) == 1.0
    assert scorer("three", ["3"], Task("t", "Q?", (), ("3",), kind="count", scorer="exact")) == 0.0


def test_the_default_is_exact():
    scorer = build_scorer()
    assert scorer("K.", ["k"], OPEN) == 1.0 == exact("K.", ["k"], OPEN)
    assert scorer(None, ["k"], OPEN) == 0.0


def test_options_reach_the_scorer():
    scorer = build_scorer(ScoringConfig(default="numeric", options={"numeric": {"tolerance": 0.5}}))
    assert scorer("140", ["100"], OPEN) == 1.0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ScoringConfig(default="vibes"), "no scorer 'vibes'.*exact"),
        (ScoringConfig(by_kind={"page": "vibes"}), "no scorer 'vibes'"),
        (ScoringConfig(default="numeric", options={"numeric": {"slack": 1}}), "slack"),
        (ScoringConfig(options={"nobody": {}}), "no scorer 'nobody' is in use"),
    ],
)
def test_mistakes_show_when_the_scorer_is_built(config, message):
    with pytest.raises(ConfigError, match=message):
        build_scorer(config)


def bad_scorer(answer, references, task):
    return float("nan")


def forgetful_scorer(answer, references, task):
    """Without a return."""


@pytest.mark.parametrize("name", ["bad_scorer", "forgetful_scorer"])
def test_a_score_outside_0_to_1_is_the_users_mistake(name):
    scorer = build_scorer(ScoringConfig(default=f"{__name__}:{name}"))
    with pytest.raises(ConfigError, match="a score is from 0 to 1"):
        scorer("K", ["K"], OPEN)


def test_references_that_do_not_score_1_are_named():
    good = Task("good", "How many?", (), ("3", "three"), scorer="integer")
    bad = Task("bad", "How many?", (), ("3", "a few"), scorer="integer")
    silent = Task("silent", "How many?", (), (), scorer="integer")
    (problem,) = gold_problems([good, bad, silent], build_scorer())
    assert (problem.task.id, problem.answer, problem.score) == ("bad", "a few", 0.0)
    assert "'a few'" in str(problem)


def test_a_task_without_references_is_named_once():
    check = ReferenceCheck(build_scorer())
    silent = [Task(f"silent-{i}", "How many?", (), ()) for i in range(3)]
    bad = Task("bad", "How many?", (), ("a few",), scorer="integer")
    said = list(check.messages([silent[0], bad])) + list(check.messages(silent[1:]))
    assert len(said) == 2
    assert said[0].startswith("task silent-0 has no reference answers: ")
    assert said[1].startswith("task bad: its own answer 'a few'")


def test_an_unknown_scorer_of_a_task_names_the_task():
    task = Task("seven", "Q?", (), ("K",), scorer="vibes")
    with pytest.raises(ConfigError, match="task seven: there is no scorer 'vibes'"):
        build_scorer()("K", ["K"], task)
    with pytest.raises(ConfigError, match="no scorer 'vibes'"):
        check_scorer("vibes")


# (answer, right letter, our score, how many of eleven published extractors give 1). The extractors ran on
# the same texts, those of lmms-eval, VLMEvalKit, Mini-o3, MVBench's notebook and the authors among them.
LETTERS_OF_GLOVE = [
    ("A", "A", 1, 11),
    ("A.", "A", 1, 9),
    ("(A)", "A", 1, 11),
    ("[C]", "C", 1, 8),
    ("B. cotton", "B", 1, 9),
    ("The answer is B", "B", 0, 6),
    ("Answer: D", "D", 0, 3),
    ("C", "C", 1, 7),
    ("\\text{C}", "C", 1, 7),
    ("c", "C", 1, 3),
    ("Blue", "D", 0, 0),
    ("A red car is visible, so the answer is D", "D", 0, 1),
    ("The glove is made of leather.", "D", 0, 1),
    ("silk", "A", 0, 0),
    ("  \n ", "A", 0, 3),
    ("Looking at the image, the material looks soft. B", "B", 0, 6),
    ("['B']", "B", 1, 7),
    ("<answer>B</answer>", "B", 0, 4),
    ("My choice is (D)", "D", 0, 6),
    ("I think it is D", "D", 0, 6),
    ("答案是B", "B", 0, 4),
    ("• B", "B", 0, 6),
    ("2", "B", 0, 0),
    ("Sorry, I can't help with images of people yet.", "A", 0, 0),
    (".", "A", 0, 2),
]


@pytest.mark.parametrize(("answer", "letter", "ours", "published"), LETTERS_OF_GLOVE)
def test_letters_beside_the_published_extractors(answer: str, letter: str, ours: int, published: int):
    task = replace(GLOVE, answers=(letter,))
    assert choice(answer, task.answers, task) == ours
    # Where all of them agree, so does this one.
    if published in (0, 11):
        assert ours == published / 11
