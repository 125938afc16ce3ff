"""The loss mask covers exactly the sampled tokens that are not masked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment, Span, StopReason, Trajectory, Turn
from pixelreasoner.objectives.loss_mask import behavior_logprobs, loss_mask

PICTURE = Picture(np.zeros((2, 2, 3), np.uint8))
TASK = Task("t", "Q?", (PICTURE,), ("A",))


def turn(*ids: int, observed: tuple[int, ...] | None = None, masked: Span | None = None) -> Turn:
    logprobs = tuple(-i / 10 for i in ids)
    return Turn(
        "words",
        sampled=Segment(ids, logprobs=logprobs, masked=masked),
        observation=None if observed is None else Observation("ok"),
        observed=None if observed is None else Segment(observed, media=(PICTURE,)),
    )


EXAMPLE = Trajectory(
    TASK,
    (turn(1, 2, 3, observed=(90, 91), masked=(1, 3)), turn(4, 5, observed=(92,)), turn(6, 7)),
    StopReason.ANSWER,
    "A",
    prompt=Segment((80, 81, 82), media=(PICTURE,)),
)


def test_mask_of_the_example():
    # prompt 80 81 82 | 1, 2 3 wrong | 90 91 | 4 5 | 92 | 6 7
    assert loss_mask(EXAMPLE).astype(int).tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 1, 1]


def test_mask_is_aligned_with_the_segments():
    ids = [i for segment in EXAMPLE.segments for i in segment.ids]
    assert np.array(ids)[loss_mask(EXAMPLE)].tolist() == [1, 4, 5, 6, 7]


def test_behavior_logprobs_are_those_of_the_loss_tokens_in_order():
    np.testing.assert_allclose(behavior_logprobs(EXAMPLE), [-0.1, -0.4, -0.5, -0.6, -0.7], rtol=1e-6)
    assert behavior_logprobs(EXAMPLE).dtype == np.float32


def test_a_last_observation_without_tokens_is_not_in_the_mask():
    last = replace(turn(6, 7), observation=Observation("too many images"))
    cut = replace(EXAMPLE, turns=(*EXAMPLE.turns[:2], last), stop=StopReason.IMAGE_LIMIT)
    assert loss_mask(cut).tolist() == loss_mask(EXAMPLE).tolist()


def test_logprobs_that_were_not_recorded_are_an_error():
    written = replace(EXAMPLE, turns=(replace(EXAMPLE.turns[1], sampled=Segment((4, 5))),))
    with pytest.raises(RecordError, match="2 sampled tokens and 0 log-probabilities"):
        behavior_logprobs(written)


def test_nobody_asks_for_the_logprobs_of_a_message_that_is_masked():
    untrained = replace(EXAMPLE.turns[0], sampled=Segment((1, 2, 3), masked=(0, 3)))
    found = behavior_logprobs(replace(EXAMPLE, turns=(untrained, *EXAMPLE.turns[1:])))
    assert len(found) == 4


def test_a_trajectory_without_tokens_is_refused():
    with pytest.raises(RecordError, match="no tokens"):
        loss_mask(replace(EXAMPLE, prompt=None))
