"""The sampling rule: every row goes by its own temperature and nucleus, whatever the others are."""

from __future__ import annotations

import math

import pytest
import torch

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.policy.base import Sampling
from pixelreasoner.policy.sampling import nucleus, sample_tokens

SAMPLINGS = [
    Sampling(temperature=t, top_p=p) for t in (0.0, 0.5, 1.0, 1.7) for p in (0.3, 0.9, 1.0) for _ in range(5)
]
FORBIDDEN = torch.tensor([3, 17])


def scores(n):
    generator = torch.Generator().manual_seed(0)
    logits_BV = torch.randn(n, 200, generator=generator) * 3
    return logits_BV, torch.rand(n, generator=generator, dtype=torch.float64)


def test_the_nucleus_is_the_smallest_set_of_the_mass():
    p = torch.tensor([[0.1, 0.5, 0.15, 0.25]])
    assert nucleus(p, 0.74)[0].tolist() == pytest.approx([0.0, 0.5, 0.0, 0.25])
    assert nucleus(p, 0.5)[0].tolist() == pytest.approx([0.0, 0.5, 0.0, 0.0])
    assert nucleus(p, 1.0) is p


def test_the_nucleus_may_differ_by_row():
    p = torch.tensor([[0.1, 0.5, 0.15, 0.25]] * 3)
    rows = nucleus(p, torch.tensor([[0.74], [math.inf], [0.5]]))
    for row, top_p in zip(rows, (0.74, 1.0, 0.5), strict=True):
        torch.testing.assert_close(row, nucleus(p[:1], top_p)[0])


def test_rows_of_any_sampling_share_a_batch():
    """Token for token what each row gives alone."""
    logits_BV, uniform_B = scores(len(SAMPLINGS))
    token_B, logp_B = sample_tokens(logits_BV.clone(), uniform_B, SAMPLINGS, FORBIDDEN)
    for b, sampling in enumerate(SAMPLINGS):
        row = slice(b, b + 1)
        token, logp = sample_tokens(logits_BV[row].clone(), uniform_B[row], [sampling], FORBIDDEN)
        assert token_B[b] == token[0]
        assert logp_B[b].item() == pytest.approx(logp[0].item(), abs=1e-6)
    assert len(set(token_B.tolist())) > 10


def test_equal_samplings_need_not_be_the_same_object():
    logits_BV, uniform_B = scores(20)
    shared = [Sampling(temperature=0.7, top_p=0.9)] * 20
    apart = [Sampling(temperature=0.7, top_p=0.9) for _ in range(20)]
    for a, b in zip(
        sample_tokens(logits_BV.clone(), uniform_B, shared, FORBIDDEN),
        sample_tokens(logits_BV.clone(), uniform_B, apart, FORBIDDEN),
        strict=True,
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_forbidden_tokens_have_no_probability(temperature):
    logits_BV, uniform_B = scores(50)
    logits_BV[:, FORBIDDEN] = 100.0
    token_B, logp_B = sample_tokens(logits_BV, uniform_B, [Sampling(temperature=temperature)] * 50, FORBIDDEN)
    assert not set(token_B.tolist()) & set(FORBIDDEN.tolist())
    assert logp_B.isfinite().all()


def test_samplings_that_cannot_be_are_refused():
    """The coldest have no finite scores in float32."""
    wrong = [{"max_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}]
    wrong += [{"temperature": t} for t in (1e-45, 0.009, 101.0, math.inf, math.nan)]
    for each in wrong:
        with pytest.raises(ConfigError):
            Sampling(**each)
    assert Sampling(temperature=0.01).temperature == 0.01


def test_a_message_is_no_longer_than_what_the_model_reads():
    Sampling(max_tokens=8192).check_length(8192)
    Sampling(max_tokens=100_000).check_length(None)
    with pytest.raises(ConfigError, match=r"max_tokens = 100000 .* gives it 8192 positions"):
        Sampling(max_tokens=100_000).check_length(8192)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("samplings", [
    [Sampling(temperature=0.0)] * 2, [Sampling(temperature=0.7)] * 2,
    [Sampling(temperature=0.0), Sampling(top_p=0.5)],
])  # fmt: skip
def test_scores_that_are_not_finite_show_in_the_log_probability(samplings, value):
    """Case C28: in their own row, and in no other; a token is a number of the vocabulary all the same."""
    logits_BV, uniform_B = scores(2)
    logits_BV[1, 40] = value
    token_B, logp_B = sample_tokens(logits_BV, uniform_B, samplings, FORBIDDEN)
    assert logp_B.isfinite().tolist() == [True, False]
    assert ((token_B >= 0) & (token_B < 200)).all()
