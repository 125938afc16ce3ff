"""Groups shared out by their floating-point operations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment, StopReason, Trajectory, Turn
from pixelreasoner.learn.shares import TrainingFlops, balanced_shares
from pixelreasoner.objectives.scored_group import ScoredGroup


def test_the_costliest_goes_first_to_the_share_that_costs_least():
    """5 | 4, then 3 to the 4, 2 to the 5 and 1 to either (7 | 7: the first)."""
    assert balanced_shares([1, 2, 3, 4, 5], 2) == [[0, 1, 4], [2, 3]]
    assert balanced_shares([2.0, 2.0, 2.0], 2) == [[0, 2], [1]]
    assert balanced_shares([7.0], 3) == [[0], [], []]
    assert balanced_shares([0.0] * 4, 2) == [[0, 2], [1, 3]]


@pytest.mark.parametrize(("n", "seed"), [*itertools.product((1, 2, 8), range(5))])
def test_every_item_is_in_one_share_and_none_costs_much_more_than_the_mean(n, seed):
    costs = np.random.default_rng(seed).exponential(size=40).tolist()
    shares = balanced_shares(costs, n)
    assert sorted(itertools.chain.from_iterable(shares)) == list(range(40))
    assert all(share == sorted(share) for share in shares)
    assert max(sum(costs[i] for i in share) for share in shares) <= sum(costs) / n + max(costs)


def group(*rewarded: tuple[int, float], n_prompt: int = 10, masked: bool = False) -> ScoredGroup:
    """Rollouts of so many sampled tokens, each with its advantage."""

    def trajectory(n: int) -> Trajectory:
        sampled = Segment(tuple(range(n)), masked=(0, n) if masked else None)
        prompt = Segment(tuple(range(n_prompt)))
        return Trajectory(
            Task("t", "", (), ()), (Turn("", sampled=sampled),), StopReason.ANSWER, prompt=prompt
        )

    rollouts = tuple(trajectory(n) for n, _ in rewarded)
    return ScoredGroup(rollouts, {}, (0.0,) * len(rewarded), tuple(a for _, a in rewarded))


def test_operations_of_a_group_by_hand():
    """A prompt of 10 tokens once, completions of 4 and 2, one without an advantage that costs nothing."""
    flops = TrainingFlops(
        decoder_weights=1000, attention_width=8, tower_weights=50, tower_passes=3, patches_per_token=4
    )
    found = flops.of_group(group((4, 1.0), (2, -1.0), (9, 0.0)), lambda segment, prompt: len(segment.ids))
    pairs = 10 * 10 / 2 + (4 * 10 + 4 * 4 / 2) + (2 * 10 + 2 * 2 / 2)
    assert found == 6 * 1000 * 16 + 12 * 8 * pairs


def test_a_picture_costs_its_tokens_and_its_passes_of_the_tower():
    """The prompt's placeholder stands for 25 tokens."""
    flops = TrainingFlops(
        decoder_weights=1000, attention_width=8, tower_weights=50, tower_passes=1, patches_per_token=4
    )
    seen, unseen = (
        flops.of_group(group((4, 1.0)), lambda s, prompt, extra=extra: len(s.ids) + extra * prompt)
        for extra in (24, 0)
    )
    attention = 12 * 8 * ((34**2 / 2 + 4 * 34) - (10**2 / 2 + 4 * 10))
    assert seen - unseen == 6 * 1000 * 24 + attention + 2 * 1 * 50 * 4 * 24


def test_what_is_not_learned_from_costs_nothing():
    flops = TrainingFlops(1000, 8, 50, 1, 4)
    length = lambda segment, prompt: len(segment.ids)  # noqa: E731
    assert flops.of_group(group((4, 0.0), (2, 0.0)), length) == 0
    assert flops.of_group(group((4, 1.0), masked=True), length) == 0


def test_the_numbers_of_a_model_are_those_of_its_matrices(model):
    flops = TrainingFlops.of(model)
    decoder, config = model.decoder, model.decoder.config
    matrices = [p.numel() for name, p in decoder.named_parameters() if p.ndim >= 2 and "layers" in name]
    assert flops.decoder_weights == sum(matrices)
    attending = [layer.self_attn for layer in decoder.layers if hasattr(layer, "self_attn")]
    width = config.num_attention_heads * attending[0].head_dim
    assert flops.attention_width == width * len(attending)
    assert flops.patches_per_token == 4
