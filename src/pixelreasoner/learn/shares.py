"""Which process learns from which groups: by their floating-point operations, so that none waits long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from pixelreasoner.core.trajectory import Segment
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.loss_mask import loss_mask, prompt_of
from pixelreasoner.objectives.scored_group import ScoredGroup

LengthOf = Callable[[Segment, bool], int]
"""Tokens of a segment with its placeholders expanded, given whether it is the prompt."""


@dataclass(frozen=True)
class TrainingFlops:
    """Floating-point operations of a group's forward and backward pass, about.

    A matrix of n weights takes 2 n per token forwards, and twice as many backwards. Attention takes 4 per
    pair of tokens that attend, and per dimension of all heads of all layers, forwards.
    """

    decoder_weights: int
    """Of the decoder's matrices, the embeddings left out."""
    attention_width: int
    """Layers with attention, times heads, times the width of a head."""
    tower_weights: int
    """Of the vision tower's matrices."""
    tower_passes: int
    """3 where the tower is trained; 1 where it only runs forwards."""
    patches_per_token: int

    @classmethod
    def of(cls, model: VisionLanguageModel) -> TrainingFlops:
        decoder, tower = model.decoder, model.vision
        layers, config = decoder.layers, decoder.config
        heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        trained = any(p.requires_grad for p in tower.parameters())
        return cls(
            decoder_weights=_n_matrix(layers),
            attention_width=sum(hasattr(layer, "self_attn") for layer in layers) * heads * width,
            tower_weights=_n_matrix(tower),
            tower_passes=3 if trained else 1,
            patches_per_token=model.renderer.vision.merge**2,
        )

    def of_group(self, group: ScoredGroup, length_of: LengthOf) -> float:
        """Of the trajectories that are learned from; the prompt is computed once for all of them."""
        learned = [
            y
            for y, advantage in zip(group.trajectories, group.advantages, strict=True)
            if advantage != 0.0 and loss_mask(y).any()
        ]
        if not learned:
            return 0.0
        n_prompt = length_of(prompt_of(learned[0]), True)
        visual = n_prompt - len(prompt_of(learned[0]).ids)
        n_tokens, pairs = n_prompt, n_prompt**2 / 2
        for trajectory in learned:
            n_own = 0
            for segment in trajectory.segments[1:]:
                n = length_of(segment, False)
                n_own, visual = n_own + n, visual + n - len(segment.ids)
            n_tokens += n_own
            pairs += n_own * n_prompt + n_own**2 / 2
        return (
            6.0 * self.decoder_weights * n_tokens
            + 12.0 * self.attention_width * pairs
            + 2.0 * self.tower_passes * self.tower_weights * self.patches_per_token * visual
        )


def balanced_shares(costs: Sequence[float], n: int) -> list[list[int]]:
    """The numbers of the items in `n` shares of about the same cost, each share in the order of the items.

    The costliest item goes first, to the share that costs least so far; of equal ones, the first. No share
    then costs more than the mean plus the costliest item.
    """
    shares: list[list[int]] = [[] for _ in range(n)]
    totals = [0.0] * n
    for index in sorted(range(len(costs)), key=lambda i: -costs[i]):
        # By their number of items where all cost nothing.
        least = min(range(n), key=lambda r: (totals[r], len(shares[r])))
        shares[least].append(index)
        totals[least] += costs[index]
    return [sorted(share) for share in shares]


def _n_matrix(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.ndim >= 2)
