"""Instruction tuning's loss by hand."""

from __future__ import annotations

import pytest
import torch

from pixelreasoner.objectives.sft import batch_tokens, sft_loss


def test_mean_over_the_tokens_of_the_batch():
    logp = torch.tensor([-1.0, -2.0, -6.0], requires_grad=True)
    loss = sft_loss(logp, n_batch_tokens=3)
    assert loss.item() == pytest.approx(3.0)
    loss.backward()
    assert logp.grad is not None
    torch.testing.assert_close(logp.grad, torch.full((3,), -1 / 3))


def test_micro_batches_add_up():
    logp = torch.tensor([-1.0, -2.0, -6.0, -3.0])
    n = batch_tokens([1, 3])
    parts = sft_loss(logp[:1], n_batch_tokens=n) + sft_loss(logp[1:], n_batch_tokens=n)
    assert parts.item() == pytest.approx(sft_loss(logp, n_batch_tokens=4).item())


def test_nothing_to_learn_is_no_loss():
    assert sft_loss(torch.zeros(0), n_batch_tokens=batch_tokens([0])).item() == 0.0
