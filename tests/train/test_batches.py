from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.core.trajectory import Segment
from pixelreasoner.objectives.samples import TrainSample
from pixelreasoner.train.batches import behavior_logprobs, micro_batches, repeat_per_token


@dataclass
class Row:
    length: int

    def __len__(self):
        return self.length


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(1, 1000))
def test_every_row_is_in_one_micro_batch_that_fits_padding_included(lengths, budget):
    parts = list(micro_batches([Row(n) for n in lengths], budget))
    assert sorted(i for part in parts for i in part) == list(range(len(lengths)))
    for part in parts:
        longest = max(lengths[i] for i in part)
        assert longest * len(part) <= budget or len(part) == 1  # a row too long for the budget goes alone


def sample(mask, logps):
    return TrainSample(
        (Segment(tuple(range(len(mask)))),), np.array(mask, bool), np.array(logps, np.float32), advantage=1.0
    )


def test_values_and_log_probs_follow_the_loss_tokens_in_order():
    a = sample([0, 1, 1], [0, -0.5, -0.25])
    b = sample([0, 0, 1], [0, 0, -2.0])
    device = torch.device("cpu")
    assert repeat_per_token([a, b], [3.0, 7.0], device).tolist() == [3.0, 3.0, 7.0]
    assert behavior_logprobs([a, b], device).tolist() == [-0.5, -0.25, -2.0]
