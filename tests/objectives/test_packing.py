"""What is laid where in a packed row, on layouts made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelreasoner.chat.layout import Layout, VisualBlock, expand
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment, StopReason, Trajectory, Turn
from pixelreasoner.models.attention.shared_prefix import GroupSpan
from pixelreasoner.objectives.packing import (
    CompletionSegment,
    PackedRow,
    cut_group,
    pack,
    pack_rows,
    padding_row,
)
from pixelreasoner.objectives.scored_group import ScoredGroup

IMAGE = 9


def block(key: str, height: int = 1, width: int = 2, time_step: float = 1.0) -> VisualBlock:
    frames = np.zeros((1, 2 * height, 2 * width, 3), np.uint8)
    return VisualBlock(key, "image", frames, (1, 2 * height, 2 * width), height * width, time_step)


def trajectory(prompt, own, loss, logprobs: bool = True) -> Trajectory:
    """Recorded tokens of a prompt and of what follows, each a turn of its own; `loss` marks the learned."""
    turns = tuple(
        Turn(
            "",
            sampled=Segment((token,), logprobs=(-token / 10,) * logprobs, masked=None if learned else (0, 1)),
        )
        for token, learned in zip(own, loss, strict=True)
    )
    return Trajectory(Task("t", "", (), ()), turns, StopReason.ANSWER, prompt=Segment(tuple(prompt)))


def laid_out(rollout: Trajectory, blocks: Sequence[VisualBlock] = ()) -> Layout:
    ids = tuple(token for segment in rollout.segments for token in segment.ids)
    return expand(ids, tuple(blocks), frozenset({IMAGE}), merge=2)


def completion(prompt, own, loss, blocks=(), advantage=1.0, weight=1.0) -> CompletionSegment:
    rollout = trajectory(prompt, own, loss)
    return CompletionSegment.of(
        rollout, laid_out(rollout, blocks), behavior=True, advantage=advantage, weight=weight
    )


def words(prompt, own) -> CompletionSegment:
    return completion(prompt, own, [1] * len(own))


def group(prompt, *completions, advantages=None) -> ScoredGroup:
    """Trajectories of words alone, all of which are learned."""
    members = tuple(trajectory(prompt, own, [1] * len(own)) for own in completions)
    advantages = advantages or (1.0,) * len(members)
    return ScoredGroup(members, {}, advantages, advantages)


def rows_of(groups, max_tokens: int, **options) -> list[PackedRow]:
    settings = {"token_weights": lambda counts: [1.0] * len(counts), "behavior": True} | options
    return list(pack_rows(groups, laid_out, max_tokens=max_tokens, **settings))


def test_three_trajectories_share_their_prompt():
    """The example of the module's docstring."""
    prompt = (1, 2, 3)
    row = pack([[
        completion(prompt, (10, 11, 12, 13), (1, 1, 0, 1)),
        completion(prompt, (20, 21, 22, 23), (1, 0, 1, 1)),
        completion(prompt, (30,), (1,)),
    ]])  # fmt: skip
    assert row.layout.ids_T.tolist() == [1, 2, 3, 10, 11, 12, 20, 21, 22]
    assert row.plan.groups == (GroupSpan(3, (3, 3)),)
    assert row.target_N.tolist() == [10, 11, 13, 20, 22, 23, 30]
    assert row.at_N.tolist() == [2, 3, 5, 2, 7, 8, 2]
    assert row.layout.position_3T.tolist() == [[0, 1, 2, 3, 4, 5, 3, 4, 5]] * 3


def test_positions_and_pictures_are_those_of_each_trajectory():
    """A wide crop moves what follows it in its own trajectory, and nothing anywhere else."""
    prompt, wide = (1, IMAGE, 2), block("wide", 1, 5)
    row = pack([[
        completion(prompt, (10, IMAGE, 11, 12), (1, 0, 1, 1), [block("a"), wide]),
        completion(prompt, (20, 21), (1, 1), [block("a")]),
        completion(prompt, (10, IMAGE, 31, 32), (1, 0, 1, 1), [block("a"), block("small", 1, 1)]),
        completion(prompt, (10, IMAGE, 41, 42), (1, 0, 1, 1), [block("a"), wide]),
    ]])  # fmt: skip
    assert [b.key for b in row.layout.blocks] == ["a", "wide", "small", "wide"]
    wide_own = [0, 1, 1, 1, 1, 1, 0]
    assert row.layout.kind_T.tolist() == [0, 1, 1, 0, *wide_own, 0, *[0, 1, 0], *wide_own]
    # The image of the prompt takes 1 and 2 across; its text goes on at 3.
    own = row.layout.position_3T[:, 4:]
    assert row.layout.position_3T[:, :4].tolist() == [[0, 1, 1, 3], [0, 1, 1, 3], [0, 1, 2, 3]]
    assert own[2].tolist() == [4, 5, 6, 7, 8, 9, 10, 4, 4, 5, 6, 4, 5, 6, 7, 8, 9, 10]
    assert own[0].tolist() == [4, 5, 5, 5, 5, 5, 10, 4, 4, 5, 6, 4, 5, 5, 5, 5, 5, 10]
    assert row.plan.groups == (GroupSpan(4, (7, 1, 3, 7)),)


def test_a_picture_after_the_last_prediction_is_left_out():
    row = pack([[
        completion((1, 2), (10, 11, IMAGE, 12), (1, 1, 0, 0), [block("a")]),
        completion((1, 2), (10, IMAGE, 12, 13), (1, 0, 1, 1), [block("b")]),
    ]])  # fmt: skip
    assert row.layout.ids_T.tolist() == [1, 2, 10, 10, IMAGE, IMAGE, 12]
    assert [b.key for b in row.layout.blocks] == ["b"]


def test_groups_follow_one_another():
    a, b = (1, 2), (5, 6, 7)
    row = pack([[words(a, (10, 11)), words(a, (30, 31, 32))], [words(b, (20, 21)), words(b, (40, 41))]])
    assert row.layout.ids_T.tolist() == [1, 2, 10, 30, 31, 5, 6, 7, 20, 40]
    assert row.plan.groups == (GroupSpan(2, (1, 2)), GroupSpan(3, (1, 1)))
    assert row.target_N.tolist() == [10, 11, 30, 31, 32, 20, 21, 40, 41]
    assert row.at_N.tolist() == [1, 2, 1, 3, 4, 7, 8, 7, 9]
    assert row.n_loss_tokens == 9


def test_a_single_completion_is_one_causal_segment():
    row = pack([[words((1, 2), (10, 11, 12))], [words((5,), (20,))]])
    assert row.plan.groups == (GroupSpan(4), GroupSpan(1))
    assert row.plan.across == ()
    assert row.at_N.tolist() == [1, 2, 3, 4]


def test_what_the_loss_reads_stands_beside_each_loss_token():
    row = pack([[
        completion((1,), (10, 11, 12), (1, 0, 1), advantage=0.5, weight=0.25),
        completion((1,), (20,), (1,), advantage=-2.0, weight=0.5),
    ]])  # fmt: skip
    assert row.target_N.tolist() == [10, 12, 20]
    np.testing.assert_allclose(row.behavior_logp_N, [-1.0, -1.2, -2.0], rtol=1e-6)
    assert row.advantage_N.tolist() == [0.5, 0.5, -2.0]
    assert row.weight_N.tolist() == [0.25, 0.25, 0.5]
    assert row.trajectory_N.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "other",
    [
        completion((1, IMAGE), (10, 11), (1, 1), [block("b")]),  # other pixels of the same size
        completion((2, IMAGE), (10, 11), (1, 1), [block("a")]),  # other words
        completion((1, IMAGE), (10, 11), (1, 1), [block("a", 2, 1)]),  # as many tokens, placed differently
        completion((1,), (IMAGE, 10, 11), (0, 1, 1), [block("a")]),  # a shorter prompt
    ],
)
def test_what_is_not_the_same_prompt(other):
    first = completion((1, IMAGE), (10, 11), (1, 1), [block("a")])
    assert len(list(cut_group([first, other], 1000))) == 2
    assert len(list(cut_group([first, first], 1000))) == 1


def test_trajectories_without_a_gradient_are_not_laid_out_and_count_in_the_weights():
    silent = ScoredGroup((trajectory((1,), (10, 11), (0, 0)),), {}, (1.0,), (1.0,))
    groups = [group((1,), (10, 11), (20, 21, 22), advantages=(1.0, 0.0)), silent]
    counted: list[int] = []

    def token_weights(counts):
        counted.extend(counts)
        return [0.5, 0.25, 0.125]

    (row,) = rows_of(groups, 100, token_weights=token_weights)
    assert counted == [2, 3, 0]
    assert row.target_N.tolist() == [10, 11]
    assert row.weight_N.tolist() == [0.5, 0.5]


def test_nothing_to_learn_is_no_row():
    assert rows_of([group((1,), (10,), (20,), advantages=(0.0, 0.0))], 100) == []
    assert rows_of([], 100) == []


def test_groups_that_others_compute_count_in_the_weights_and_are_not_laid_out():
    """The second of three groups, with the weights that it has among all."""
    groups = [group((1, 2), (10,), (11, 12)), group((3, 4), (20, 21), (22,)), group((5, 6), (30,) * 4)]
    counts: list[list[int]] = []

    def weights(n_loss_tokens):
        counts.append(list(n_loss_tokens))
        return [float(i) for i in range(len(n_loss_tokens))]

    (row,) = rows_of(groups, 100, token_weights=weights, chosen=[1])
    assert counts == [[1, 2, 2, 1, 4]]
    assert row.target_N.tolist() == [20, 21, 22]
    assert row.weight_N.tolist() == [2.0, 2.0, 3.0]
    assert rows_of(groups, 100, chosen=[]) == []


def test_a_padding_row_is_one_token_of_weight_zero():
    row = padding_row(laid_out(trajectory((7,), (8,), (1,))))
    assert row.layout.ids_T.tolist() == [7]
    assert (row.at_N.tolist(), row.target_N.tolist(), row.weight_N.tolist()) == ([0], [8], [0.0])
    assert row.plan.groups == (GroupSpan(1),)


def test_groups_with_the_same_prompt_share_it_within_a_row():
    groups = [group((1, 2), (10, 11)), group((5,), (20, 21)), group((1, 2), (30, 31))]
    (row,) = rows_of(groups, 100)
    assert row.layout.ids_T.tolist() == [1, 2, 10, 30, 5, 20]


def test_a_group_that_fits_into_a_row_is_not_split():
    groups = [group((1, 2), (10, 11)), group((5, 6), (20, 21), (30, 31))]  # 3 and 4 tokens
    assert [len(row) for row in rows_of(groups, 6)] == [3, 4]
    assert [len(row) for row in rows_of(groups, 7)] == [7]


def test_a_group_that_is_too_long_is_cut_each_part_with_the_prompt():
    rows = rows_of([group((1, 2), (10, 11), (20, 21), (30, 31))], 4)
    assert [row.layout.ids_T.tolist() for row in rows] == [[1, 2, 10, 20], [1, 2, 30]]


def test_the_samplers_log_probabilities_are_needed_where_the_objective_reads_them():
    written = trajectory((1,), (10, 11), (1, 1), logprobs=False)
    groups = [ScoredGroup((written,), {}, (1.0,), (1.0,))]
    with pytest.raises(RecordError, match="log-probabilities"):
        rows_of(groups, 100)
    (row,) = rows_of(groups, 100, behavior=False)
    assert row.behavior_logp_N.tolist() == [0.0, 0.0]


own_lengths = st.lists(st.integers(1, 12), min_size=1, max_size=6)
sizes_of_groups = st.lists(st.tuples(st.integers(1, 30), own_lengths), max_size=6)


@settings(max_examples=50, deadline=None)
@given(sizes_of_groups, st.integers(1, 80))
def test_rows_fit_and_hold_every_loss_token_once(sizes, max_tokens):
    groups = [
        group((10 + g,) * n_prompt, *((100 * (g + 1) + k,) * n for k, n in enumerate(own)))
        for g, (n_prompt, own) in enumerate(sizes)
    ]
    rows = rows_of(groups, max_tokens)
    found = sorted(token for row in rows for token in row.target_N.tolist())
    assert found == sorted(
        100 * (g + 1) + k for g, (_, own) in enumerate(sizes) for k, n in enumerate(own) for _ in range(n)
    )
    for row in rows:
        alone = len(set(row.target_N.tolist())) == 1
        assert len(row) <= max_tokens or alone
        assert row.plan.n_tokens == len(row)
    for g, (n_prompt, own) in enumerate(sizes):
        if n_prompt + sum(n - 1 for n in own) <= max_tokens:
            holding = [row for row in rows if g in row.target_N // 100 - 1]
            assert len(holding) == 1
