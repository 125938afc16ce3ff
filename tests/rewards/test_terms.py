"""Terms of the reward: the paper's by hand, merging of recipes, terms of the user's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.recipe import load_recipe, save_resolved
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.rewards.terms import (
    PAPER,
    Rewards,
    TermConfig,
    check_rewards,
    default_rewards,
    score_terms,
    total,
)

TASK = Task("t", "Q?", (Picture(np.zeros((2, 2, 3), np.uint8)),), ("A",))


class Recipe(Config):
    rewards: Rewards = Field(default_factory=default_rewards)


def rollout_of(n_valid: int, n_invalid: int = 0) -> Trajectory:
    good = Turn("crop", ToolCall("crop_image"), Observation("ok"))
    bad = Turn("crop", ToolCall("crop_image"), Observation("no such image", valid=False))
    turns = (*[bad] * n_invalid, *[good] * n_valid, Turn("done"))
    return Trajectory(TASK, turns, StopReason.ANSWER, "A")


def test_the_papers_reward_by_hand():
    # RaPR = 1/8. Right without an operation; right after three; wrong after none.
    group = (rollout_of(0), rollout_of(3), *[rollout_of(0)] * 6)
    terms = score_terms(group, [1.0, 1.0, *[0.0] * 6], PAPER)
    assert terms["correctness"] == (1.0, 1.0, *[0.0] * 6)
    assert terms["curiosity"] == pytest.approx((0.0, 0.5 * (0.3 - 1 / 8), *[0.0] * 6))
    assert terms["efficiency"] == pytest.approx((0.0, -0.05 * 2, *[0.0] * 6))
    assert total(terms) == pytest.approx((1.0, 1.0 + 0.0875 - 0.1, *[0.0] * 6))


GROUPS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.floats(0, 1)), min_size=1, max_size=10)


@given(GROUPS, st.floats(0, 2), st.floats(0, 2), st.floats(0, 1), st.integers(0, 4))
def test_the_numbers_are_those_of_equations_3_to_5_to_the_bit(rows, alpha, beta, H, N):
    group = tuple(rollout_of(valid, invalid) for valid, invalid, _ in rows)
    scores = [score for _, _, score in rows]
    rapr = sum(valid > 0 for valid, _, _ in rows) / len(rows)
    curiosity = tuple(alpha * (max(H - rapr, 0.0) * (valid > 0)) for valid, _, _ in rows)
    efficiency = tuple(beta * min(N - valid, 0) for valid, _, _ in rows)
    recipe = Recipe.model_validate({
        "rewards": {
            "efficiency": {"weight": beta, "options": {"N": N}},
            "curiosity": {"weight": alpha, "options": {"H": H}},
        }
    })  # fmt: skip
    terms = score_terms(group, scores, recipe.rewards)
    assert terms["curiosity"] == curiosity
    assert terms["efficiency"] == efficiency
    assert total(terms) == tuple(map(sum, zip(scores, curiosity, efficiency, strict=True)))


def test_a_recipe_is_merged_over_the_papers_terms():
    recipe = Recipe.model_validate(
        {"rewards": {"curiosity": {"weight": 0}, "efficiency": {"options": {"N": 2}}}}
    )
    assert recipe.rewards == {
        "correctness": TermConfig(weight=1.0),
        "curiosity": TermConfig(weight=0.0, options={"H": 0.3}),
        "efficiency": TermConfig(weight=0.05, options={"N": 2}),
    }
    assert Recipe().rewards == dict(PAPER)


def test_weight_0_switches_a_term_off_and_keeps_its_name():
    recipe = Recipe.model_validate(
        {"rewards": {"curiosity": {"weight": 0}, "none": {"use": "no:where", "weight": 0}}}
    )
    terms = score_terms((rollout_of(1), rollout_of(0)), [1.0, 0.0], recipe.rewards)
    assert terms["curiosity"] == (0.0, 0.0) == terms["none"]


def test_a_recipe_with_rewards_survives_being_saved(tmp_path: Path):
    path = tmp_path / "r.toml"
    path.write_text("[rewards]\ncuriosity = { weight = 0.2 }\nmine = { use = 'm:f', weight = 0.1 }\n")
    recipe = load_recipe(Recipe, path, ["rewards.efficiency.weight=0.3"])
    assert list(recipe.rewards) == ["correctness", "curiosity", "efficiency", "mine"]
    assert recipe.rewards["curiosity"] == TermConfig(weight=0.2, options={"H": 0.3})
    assert recipe.rewards["efficiency"].weight == 0.3
    assert load_recipe(Recipe, save_resolved(recipe, tmp_path / "out")) == recipe


def turns_used(group, scores, *, scale=1.0):
    return [scale * len(y.turns) for y in group]


def wrong_length(group, scores):
    return [1.0]


def nothing(group, scores):
    """Without a return."""


def words(group, scores):
    return ["a"] * len(group)


def not_finite(group, scores):
    return [float("inf")] * len(group)


def test_a_term_of_the_users_is_a_function_with_options():
    mine = {"mine": TermConfig(use=f"{__name__}:turns_used", weight=-0.5, options={"scale": 2.0})}
    assert score_terms((rollout_of(1), rollout_of(0)), [0.0, 0.0], mine) == {"mine": (-2.0, -1.0)}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TermConfig(use=f"{__name__}:wrong_length"), r"gave \[1.0\] for 2 rollouts"),
        (TermConfig(use=f"{__name__}:nothing"), "gave None for 2 rollouts; one finite number"),
        (TermConfig(use=f"{__name__}:words"), "one finite number is needed for each"),
        (TermConfig(use=f"{__name__}:not_finite"), "one finite number is needed for each"),
        (TermConfig(use=f"{__name__}:TASK"), "neither a function nor a class"),
        (TermConfig(use="joy"), "no reward term 'joy'; the registered ones are correctness"),
        (TermConfig(use="curiosity", options={"K": 1}), "cannot be called with the options"),
        (TermConfig(use=f"{__name__}:turns_used", options={"K": 1}), "cannot be called with the options"),
        (TermConfig(use="curiosity", options={"H": 2}), "option 'H' cannot be 2: .* less than or equal to 1"),
        (
            TermConfig(use="efficiency", options={"N": -1}),
            "option 'N' cannot be -1: .* or equal to 0",
        ),
    ],
)
def test_mistakes_name_the_term(config, message):
    with pytest.raises(ConfigError, match=message):
        score_terms((rollout_of(1), rollout_of(0)), [0.0, 0.0], {"mine": config})


def test_mistakes_show_before_anything_is_sampled():
    with pytest.raises(ConfigError, match="no reward term 'joy'"):
        check_rewards({"joy": TermConfig()})
    check_rewards({"joy": TermConfig(weight=0)})
