"""Instruction tuning: mean negative log-likelihood of the loss tokens.

    L = - sum_t w_t * log pi_theta(t),      w_t = 1 / (loss tokens of the whole batch)

The mean is over the tokens of the batch, not of each micro-batch: the losses of micro-batches add up to it,
and a short trajectory's tokens weigh as much as a long one's.

Shapes: T loss tokens of the (micro-)batch, as in `objectives.grpo`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def sft_loss(logp_T: Tensor, *, n_batch_tokens: int) -> Tensor:
    """Scalar, to be minimised.

    Args:
        logp_T: [T] log pi_theta of the loss tokens of this micro-batch, with gradient.
        n_batch_tokens: loss tokens of the whole batch (`batch_tokens`); T when there is one micro-batch.
    """
    return -logp_T.sum() / n_batch_tokens


def batch_tokens(n_loss_tokens: Sequence[int]) -> int:
    """The loss tokens of a batch; at least 1, so that a batch with nothing to learn has loss 0."""
    return max(sum(n_loss_tokens), 1)
