"""Reward terms: named, weighted parts of the reward of a rollout, as a recipe lists them.

The default is the paper's reward (`rewards.curiosity`)::

    [rewards]
    correctness = { weight = 1.0 }                              # the score of the answer
    curiosity   = { weight = 0.5, options = { H = 0.3 } }       # alpha
    efficiency  = { weight = 0.05, options = { N = 1 } }        # beta

What a recipe gives is merged over it, name by name. Weight 0 switches a term off; "RL without curiosity", the
paper's ablation, is `curiosity = { weight = 0 }`. A term of the user's is one function of a group::

    brevity = { use = "my_rewards:brevity", weight = 0.1 }

    def brevity(group, scores):                                 # my_rewards.py
        return [-y.n_sampled_tokens / 1000 for y in group]
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Annotated, Any, Protocol, cast

from pydantic import BeforeValidator, Field

from pixelreasoner.core.config import Config, Options
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.registry import Registry, check_call
from pixelreasoner.core.trajectory import Group


class RewardTerm(Protocol):
    def __call__(self, group: Group, scores: Sequence[float]) -> Sequence[float]:
        """One number per rollout, unweighted.

        Args:
            group: the rollouts of one task.
            scores: how right the answer of each is, 0 to 1.
        """
        ...


TERMS = Registry(
    "reward term",
    {
        "correctness": "pixelreasoner.rewards.terms:correctness",
        "curiosity": "pixelreasoner.rewards.curiosity:Curiosity",
        "efficiency": "pixelreasoner.rewards.curiosity:Efficiency",
    },
)


class TermConfig(Config):
    """One term of the reward."""

    use: str | None = None
    """A registered term, or package.module:object; the term's own name when left out."""
    weight: float = Field(default=1.0, ge=-1000, le=1000)
    """What its numbers are multiplied by; 0 switches it off."""
    options: Options = Field(default_factory=dict)
    """Arguments of the term: fields of a class, keyword arguments of a function."""


PAPER: Mapping[str, TermConfig] = {
    "correctness": TermConfig(weight=1.0),
    "curiosity": TermConfig(weight=0.5, options={"H": 0.3}),
    "efficiency": TermConfig(weight=0.05, options={"N": 1}),
}
"""The paper's terms and constants (App. C.3)."""


def _merged(given: Any) -> Any:
    """What a recipe gives over the paper's terms, field by field and option by option."""
    if not isinstance(given, Mapping):
        return given  # pydantic says what is wrong with it
    table = dict(cast(Mapping[str, Any], given))
    for name, default in PAPER.items():
        item = table.pop(name, {})
        if isinstance(item, TermConfig):
            item = item.model_dump(exclude_unset=True)
        if isinstance(item, Mapping):
            fields = dict(cast(Mapping[str, Any], item))
            # Another implementation under the same name takes other options.
            options = {} if fields.get("use") else default.options
            fields["options"] = {**options, **fields.get("options", {})}
            item = {"weight": default.weight, **fields}
        table[name] = item
    # The paper's terms first and in its order: a sum of floats depends on the order.
    return {name: table[name] for name in (*PAPER, *(n for n in table if n not in PAPER))}


Rewards = Annotated[dict[str, TermConfig], BeforeValidator(_merged)]
"""The type of a recipe's `rewards`, with `default_rewards` for its default."""


def default_rewards() -> dict[str, TermConfig]:
    """The paper's terms: `rewards: Rewards = Field(default_factory=default_rewards)`."""
    return dict(PAPER)


def correctness(group: Group, scores: Sequence[float]) -> Sequence[float]:
    """r(x, y): the score of each answer."""
    return scores


def score_terms(
    group: Group, scores: Sequence[float], rewards: Mapping[str, TermConfig]
) -> dict[str, tuple[float, ...]]:
    """The weighted value of every term for every rollout of a group, by the term's name.

    Terms of weight 0 are not computed, and are 0 everywhere.

    Raises:
        ConfigError: a term is not there, does not take its options, or returns anything but one finite number
            per rollout.
    """
    assert len(scores) == len(group), f"{len(scores)} scores for {len(group)} rollouts"
    return {name: _weighted(name, config, group, scores) for name, config in rewards.items()}


def total(terms: Mapping[str, Sequence[float]]) -> tuple[float, ...]:
    """The reward of each rollout: the sum of its terms."""
    return tuple(sum(values) for values in zip(*terms.values(), strict=True))


def check_rewards(rewards: Mapping[str, TermConfig]) -> None:
    """Find every term in use, so that a recipe's mistake shows before anything is sampled.

    Raises:
        ConfigError: as `score_terms`.
    """
    for name, config in rewards.items():
        if config.weight:
            _find(name, config)


def _weighted(name: str, config: TermConfig, group: Group, scores: Sequence[float]) -> tuple[float, ...]:
    if not config.weight:
        return (0.0,) * len(group)
    values = _find(name, config)(group, scores)
    if not _are_numbers(values, len(group)):
        raise ConfigError(
            f"reward term '{name}' gave {values!r} for {len(group)} rollouts; "
            f"one finite number is needed for each"
        )
    return tuple(config.weight * value for value in values)


def _are_numbers(values: Any, n: int) -> bool:
    """Whether a term gave `n` finite numbers."""
    try:
        return len(values) == n and all(math.isfinite(value) for value in values)
    except TypeError:
        return False


def _find(name: str, config: TermConfig) -> RewardTerm:
    return _made(config.use or name, json.dumps(config.options, sort_keys=True, default=str))


@cache
def _made(name: str, options_json: str) -> RewardTerm:
    """The term of a name with its options; made once, so that one with a state keeps it."""
    options: dict[str, Any] = json.loads(options_json)
    found = TERMS.find(name)
    part = f"reward term '{name}'"
    # A class is called once with its options; a function takes them with every group.
    if isinstance(found, type):
        check_call(part, found, **options)
        made = cast(Any, found)(**options)
        check_call(part, made, (), ())
        return cast(RewardTerm, made)
    check_call(part, found, (), (), **options)
    return cast(RewardTerm, partial(found, **options))
