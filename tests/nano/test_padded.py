"""Micro-batches of padded rows."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.nano.padded import micro_batches


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
