"""Scorers: from a final answer and the references to a score from 0 to 1.

A scorer is any function with this signature; a recipe names a registered one or `package.module:function`::

    [scoring]
    default = "exact"
    by_kind = { count = "integer", page = "anls" }
    options = { numeric = { tolerance = 0.01 } }

A task may name its own scorer (`Task.scorer`), which goes first. Every scorer reads the final answer, which
is the content of the last \\boxed{}, and never the reasoning before it. None of them accepts an answer that
merely contains the reference, and to each of them an answer of more than `answers.MAX_CHARACTERS` is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from numbers import Real
from typing import Any, NamedTuple, cast

from pydantic import Field

from pixelreasoner.core.config import Config, Options, Share
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.registry import Registry, check_call
from pixelreasoner.core.task import Task
from pixelreasoner.rewards.answers import is_correct, scorable
from pixelreasoner.rewards.choices import chosen_letter, listed_options
from pixelreasoner.rewards.numbers import integer_of, number_of

Scorer = Callable[[str | None, Sequence[str], Task], float]
"""(answer, references, task) -> score, 0 to 1; None is no answer."""

SCORERS = Registry(
    "scorer",
    {
        "exact": "pixelreasoner.rewards.scorers:exact",
        "choice": "pixelreasoner.rewards.scorers:choice",
        "integer": "pixelreasoner.rewards.scorers:integer",
        "numeric": "pixelreasoner.rewards.scorers:numeric",
        "anls": "pixelreasoner.rewards.anls:anls",
        "math": "pixelreasoner.rewards.math:math",
    },
)


class ScoringConfig(Config):
    """Which scorer judges which tasks."""

    default: str = "exact"
    """A registered scorer, or package.module:function."""
    by_kind: dict[str, str] = Field(default_factory=dict)
    """Scorers of single kinds of task, in place of the default."""
    options: dict[str, Options] = Field(default_factory=dict)
    """Keyword arguments of a scorer, by its name: `{ numeric = { tolerance = 0.01 } }`."""


def exact(answer: str | None, references: Sequence[str], task: Task) -> float:
    """1 for equality after harmless differences are removed (`rewards.answers`)."""
    return float(is_correct(answer, references))


def choice(answer: str | None, references: Sequence[str], task: Task) -> float:
    """1 when the answer chooses the same option as a reference (`rewards.choices.chosen_letter`).

    The options are those of the task, or those its question lists line by line. Where published extractors
    disagree (they do on four in five difficult answers), this one reads a final answer only: "A red car, so
    the answer is D" chooses nothing, and no answer ever counts as the first option.
    """
    options = task.options or listed_options(task.question)
    chosen = chosen_letter(scorable(answer), options)
    return float(chosen is not None and chosen in {chosen_letter(r, options) for r in references})


def integer(answer: str | None, references: Sequence[str], task: Task) -> float:
    """1 for the same whole number, in digits or in English words up to ninety-nine; no tolerance.

    The answer is the number alone, or a sentence that only gives a count: "There are three dogs." (see
    `numbers.integer_of`). Standards differ. VLMEvalKit takes the first number from 0 to 20 in unboxed text,
    so that "3.5", "3-4", "3/4", "3%", "about 3" and "-3" count as 3 there and not here, while "21", "03" and
    full-width digits are numbers here only. "no" and "none" are 0 here; there they are nothing. lmms-eval
    and the authors' code take the number alone.
    """
    given = integer_of(answer or "")
    return float(given is not None and given in {integer_of(r) for r in references})


def numeric(answer: str | None, references: Sequence[str], task: Task, *, tolerance: Share = 0.05) -> float:
    """1 for a number at most `tolerance` * |reference| away from a reference.

    The default is that of ChartQA's relaxed accuracy; "45%" is 0.45, as there. Unlike there, "1,000" is a
    number, and the reference 0 compares as one. What is no number compares as `exact`. Not for counts: 21 is
    within 5 % of 20.
    """
    given = number_of(answer or "")
    return float(any(_close(answer, given, r, tolerance) for r in references))


def _close(answer: str | None, given: Any, reference: str, tolerance: float) -> bool:
    expected = number_of(reference)
    if given is None or expected is None:
        return is_correct(answer, [reference])
    return bool(abs(given - expected) <= tolerance * abs(expected))


# ------------------------------------------------------------------------------------------- dispatch


def build_scorer(config: ScoringConfig | None = None) -> Scorer:
    """The scorer of a recipe: it judges each answer by the task's own scorer, its kind's, or the default.

    Raises:
        ConfigError: a scorer is not there, does not take the options given, or returns something other than a
            number from 0 to 1.
    """
    return _Dispatch(config or ScoringConfig())


class _Dispatch:
    def __init__(self, config: ScoringConfig) -> None:
        self._config = config
        self._found: dict[str, Scorer] = {}
        named = {config.default, *config.by_kind.values()}
        for name in named:
            self._find(name)
        if unused := sorted(config.options.keys() - named - SCORERS.parts.keys()):
            raise ConfigError(f"scoring.options: no scorer '{unused[0]}' is in use")

    def __call__(self, answer: str | None, references: Sequence[str], task: Task) -> float:
        name = task.scorer or self._config.by_kind.get(task.kind, self._config.default)
        try:
            scorer = self._find(name)
        except ConfigError as e:
            raise ConfigError(f"task {task.id}: {e}") from e
        value = scorer(answer, references, task)
        # NaN compares as false, and is refused too.
        if not isinstance(value, Real) or not 0.0 <= value <= 1.0:
            raise ConfigError(
                f"scorer '{name}' gave {value!r} for the answer {answer!r}; a score is from 0 to 1"
            )
        return float(value)

    def _find(self, name: str) -> Scorer:
        if name not in self._found:
            scorer, options = SCORERS.find(name), self._config.options.get(name, {})
            check_call(f"scorer '{name}'", scorer, None, (), None, **options)
            self._found[name] = cast(Scorer, partial(scorer, **options) if options else scorer)
        return self._found[name]


@cache
def check_scorer(name: str) -> None:
    """Check that a task file may name this scorer.

    Raises:
        ConfigError: there is no such scorer.
    """
    SCORERS.find(name)


class GoldProblem(NamedTuple):
    """A task whose own reference does not score 1: no model can be right."""

    task: Task
    answer: str
    score: float

    def __str__(self) -> str:
        return f"task {self.task.id}: its own answer {self.answer!r} scores {self.score:g}, not 1"


def gold_problems(tasks: Iterable[Task], scorer: Scorer) -> Iterator[GoldProblem]:
    """The references that do not score 1, one at a time; tasks without references have none."""
    for task in tasks:
        for reference in task.answers:
            value = scorer(reference, task.answers, task)
            if value != 1.0:
                yield GoldProblem(task, reference, value)


class ReferenceCheck:
    """What is to be said of the references of tasks as they pass: `gold_problems`, and that there are none.

    A task without references is a legitimate one for a scorer of the user's that needs none, so it is said
    once and stops nothing.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer, self._said = scorer, False

    def messages(self, tasks: Iterable[Task]) -> Iterator[str]:
        """One line for each thing to say."""
        for task in tasks:
            if not task.answers and not self._said:
                self._said = True
                yield (
                    f"task {task.id} has no reference answers: whatever a model answers to it, and to others "
                    f"without, scores 0, unless a scorer of your own needs none"
                )
            yield from map(str, gold_problems([task], self._scorer))
