"""Group advantages by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.objectives.advantages import group_advantages


def test_one_right_of_four():
    # mean 1/4; population variance (9/16 + 3 * 1/16) / 4 = 3/16
    std = (3 / 16) ** 0.5
    expected = [0.75 / std, -0.25 / std, -0.25 / std, -0.25 / std]
    np.testing.assert_allclose(group_advantages([1, 0, 0, 0], scale="std"), expected, rtol=1e-5)
    np.testing.assert_allclose(group_advantages([1, 0, 0, 0], scale="none"), [0.75, -0.25, -0.25, -0.25])


@pytest.mark.parametrize("scale", ["std", "none"])
@pytest.mark.parametrize("rewards", [[], [1.0], [0.0] * 8, [0.1 + 0.2, 0.3, 0.3], [1.0875] * 8])
def test_no_variance_is_exactly_zero(rewards, scale):
    assert group_advantages(rewards, scale=scale).tolist() == [0.0] * len(rewards)


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=16))
def test_advantages_are_centred_ordered_and_bounded(rewards):
    a = group_advantages(rewards, scale="std")
    assert abs(a.sum()) < 1e-6
    assert np.abs(a).max() <= len(rewards) ** 0.5
    order = np.argsort(rewards, kind="stable")
    assert (np.diff(a[order]) >= 0).all()
