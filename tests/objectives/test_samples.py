"""The loss mask covers exactly the sampled tokens of turns to learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn
from pixelreasoner.objectives.samples import loss_mask, score_group, sft_sample, to_samples

PICTURE = Picture(np.zeros((2, 2, 3), np.uint8))
TASK = Task("t", "Q?", (PICTURE,), ("A",))


def turn(*ids: int, observed: tuple[int, ...] | None = None, trainable: bool = True) -> Turn:
    logprobs = tuple(-i / 10 for i in ids)
    return Turn(
        "words",
        sampled=Segment(ids, logprobs=logprobs),
        observation=None if observed is None else Observation("ok"),
        observed=None if observed is None else Segment(observed, media=(PICTURE,)),
        trainable=trainable,
    )


EXAMPLE = Trajectory(
    TASK,
    (turn(1, 2, 3, observed=(90, 91), trainable=False), turn(4, 5, observed=(92,)), turn(6, 7)),
    StopReason.ANSWER,
    "A",
    prompt=Segment((80, 81, 82), media=(PICTURE,)),
)


def test_mask_of_the_example():
    # prompt 80 81 82 | 1 2 3 wrong | 90 91 | 4 5 | 92 | 6 7
    assert loss_mask(EXAMPLE).astype(int).tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 1]


def test_mask_is_aligned_with_the_segments():
    ids = [i for segment in EXAMPLE.segments for i in segment.ids]
    assert np.array(ids)[loss_mask(EXAMPLE)].tolist() == [4, 5, 6, 7]


def test_samples_carry_advantage_and_behaviour_logprobs():
    scored = score_group((EXAMPLE, EXAMPLE), [1.0, 0.0], scale="none")
    first, second = to_samples(scored)
    assert (first.advantage, second.advantage) == (0.5, -0.5)
    assert first.n_loss_tokens == 4
    np.testing.assert_allclose(first.behavior_logp[first.mask], [-0.4, -0.5, -0.6, -0.7], rtol=1e-6)
    assert not first.behavior_logp[~first.mask].any()
    assert first.segments == EXAMPLE.segments


def test_a_last_observation_without_tokens_is_not_in_the_mask():
    last = replace(turn(6, 7), observation=Observation("too many images"))
    cut = replace(EXAMPLE, turns=(*EXAMPLE.turns[:2], last), stop=StopReason.IMAGE_LIMIT)
    assert loss_mask(cut).tolist() == loss_mask(EXAMPLE).tolist()


def test_rl_needs_the_logprobs_of_what_it_learns():
    written = replace(EXAMPLE, turns=(replace(EXAMPLE.turns[1], sampled=Segment((4, 5))),))
    with pytest.raises(RecordError, match="log-probabilities"):
        to_samples(score_group((written,), [1.0], scale="none"))
    assert sft_sample(written).n_loss_tokens == 2


def test_a_trajectory_without_tokens_is_refused():
    with pytest.raises(RecordError, match="no tokens"):
        loss_mask(replace(EXAMPLE, prompt=None))


def test_a_group_is_informative_when_an_attempt_differs():
    assert score_group((EXAMPLE, EXAMPLE), [1.0, 0.0], scale="std").informative
    assert not score_group((EXAMPLE, EXAMPLE), [1.0, 1.0], scale="std").informative
