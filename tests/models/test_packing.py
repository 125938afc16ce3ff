"""What is laid where in a packed row, on layouts made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelreasoner.chat.layout import VisualBlock, expand
from pixelreasoner.models.attention.shared_prefix import GroupSpan
from pixelreasoner.models.packing import CompletionSegment, pack, packed_batches

IMAGE = 9


def block(key: str, height: int = 1, width: int = 2, time_step: float = 1.0) -> VisualBlock:
    frames = np.zeros((1, 2 * height, 2 * width, 3), np.uint8)
    return VisualBlock(key, "image", frames, (1, 2 * height, 2 * width), height * width, time_step)


def branch(prompt, own, loss, blocks=()) -> CompletionSegment:
    """Recorded tokens of prompt and attempt; `loss` marks the attempt's loss tokens."""
    layout = expand((*prompt, *own), tuple(blocks), frozenset({IMAGE}), merge=2)
    mask = np.array([False] * len(prompt) + [bool(x) for x in loss])
    return CompletionSegment.of(layout, mask, len(prompt))


def words(prompt, own) -> CompletionSegment:
    return branch(prompt, own, [1] * len(own))


def test_three_attempts_share_their_prompt():
    """The example of the module's docstring."""
    prompt = (1, 2, 3)
    row = pack([
        branch(prompt, (10, 11, 12, 13), (1, 1, 0, 1)),
        branch(prompt, (20, 21, 22, 23), (1, 0, 1, 1)),
        branch(prompt, (30,), (1,)),
    ])  # fmt: skip
    assert row.layout.ids_T.tolist() == [1, 2, 3, 10, 11, 12, 20, 21, 22]
    assert row.plan.groups == (GroupSpan(3, (3, 3)),)
    assert row.target_N.tolist() == [10, 11, 13, 20, 22, 23, 30]
    assert row.at_N.tolist() == [2, 3, 5, 2, 7, 8, 2]
    assert row.layout.position_3T.tolist() == [[0, 1, 2, 3, 4, 5, 3, 4, 5]] * 3


def test_positions_and_pictures_are_those_of_each_attempt():
    """A wide crop moves what follows it in its own attempt, and nothing anywhere else."""
    prompt, wide = (1, IMAGE, 2), block("wide", 1, 5)
    row = pack([
        branch(prompt, (10, IMAGE, 11, 12), (1, 0, 1, 1), [block("a"), wide]),
        branch(prompt, (20, 21), (1, 1), [block("a")]),
        branch(prompt, (10, IMAGE, 31, 32), (1, 0, 1, 1), [block("a"), block("small", 1, 1)]),
        branch(prompt, (10, IMAGE, 41, 42), (1, 0, 1, 1), [block("a"), wide]),
    ])  # fmt: skip
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
    row = pack([
        branch((1, 2), (10, 11, IMAGE, 12), (1, 1, 0, 0), [block("a")]),
        branch((1, 2), (10, IMAGE, 12, 13), (1, 0, 1, 1), [block("b")]),
    ])  # fmt: skip
    assert row.layout.ids_T.tolist() == [1, 2, 10, 10, IMAGE, IMAGE, 12]
    assert [b.key for b in row.layout.blocks] == ["b"]


def test_groups_follow_one_another_whatever_the_order_they_came_in():
    a, b = (1, 2), (5, 6, 7)
    row = pack([words(a, (10, 11)), words(b, (20, 21)), words(a, (30, 31, 32)), words(b, (40, 41))])
    assert row.layout.ids_T.tolist() == [1, 2, 10, 30, 31, 5, 6, 7, 20, 40]
    assert row.plan.groups == (GroupSpan(2, (1, 2)), GroupSpan(3, (1, 1)))
    assert row.target_N.tolist() == [10, 11, 20, 21, 30, 31, 32, 40, 41]
    assert row.at_N.tolist() == [1, 2, 7, 8, 1, 3, 4, 7, 9]


def test_a_single_attempt_is_one_causal_segment():
    row = pack([words((1, 2), (10, 11, 12)), words((5,), (20,))])
    assert row.plan.groups == (GroupSpan(4), GroupSpan(1))
    assert row.plan.across == ()
    assert row.at_N.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "other",
    [
        branch((1, IMAGE), (10, 11), (1, 1), [block("b")]),  # other pixels of the same size
        branch((2, IMAGE), (10, 11), (1, 1), [block("a")]),  # other words
        branch((1, IMAGE), (10, 11), (1, 1), [block("a", 2, 1)]),  # as many tokens, placed differently
        branch((1,), (IMAGE, 10, 11), (0, 1, 1), [block("a")]),  # a shorter prompt
    ],
)
def test_what_is_not_the_same_prompt(other):
    first = branch((1, IMAGE), (10, 11), (1, 1), [block("a")])
    assert len(pack([first, other]).plan.groups) == 2
    assert len(pack([first, first]).plan.groups) == 1


def test_a_prompt_is_never_learned():
    with pytest.raises(AssertionError, match="never learned"):
        CompletionSegment.of(words((1, 2), (3,)).layout, np.array([False, True, True]), 2)


own_lengths = st.lists(st.integers(1, 12), min_size=1, max_size=6)
groups = st.lists(st.tuples(st.integers(1, 30), own_lengths), max_size=6)


@settings(max_examples=50, deadline=None)
@given(groups, st.integers(1, 80))
def test_batches_fit_and_keep_groups_together(sizes, max_tokens):
    made = [(g, words((g,) * n_prompt, (100,) * n)) for g, (n_prompt, own) in enumerate(sizes) for n in own]
    branches = [b for _, b in made]
    parts = list(packed_batches(branches, max_tokens))
    assert sorted(i for part in parts for i in part) == list(range(len(branches)))
    for part in parts:
        assert len(pack([branches[i] for i in part])) <= max_tokens or len(part) == 1
    for g, (n_prompt, own) in enumerate(sizes):
        if n_prompt + sum(n - 1 for n in own) <= max_tokens:
            assert sum(any(made[i][0] == g for i in part) for part in parts) == 1
