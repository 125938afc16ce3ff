"""Sampling from a model in this process: one batch, one message each, plain and exact.

The prompt is run through the model once per distinct conversation (the attempts of a group share their
first prompt), then tokens are drawn for all rows together; rows that are done leave the batch. This is
the simple engine, and the reference for `policy.group`: each turn of a conversation starts afresh.

Shape legend: B rows still speaking, K tokens in the cache, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pixelreasoner.chat.layout import Layout
from pixelreasoner.models.cache import SlabCache
from pixelreasoner.models.config import Precision
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.precision import autocast
from pixelreasoner.models.vlm import Batch, VisionLanguageModel
from pixelreasoner.policy.base import Completion, OnToken, Request, Sampling
from pixelreasoner.policy.sampling import sample_tokens


class LocalPolicy:
    """A `Policy` over a model held in memory. It always samples the model's current weights."""

    def __init__(
        self,
        model: VisionLanguageModel,
        *,
        features: FeatureStore | None = None,
        batch_size: int = 128,
        precision: Precision = "fp32",
    ) -> None:
        """A policy.

        Args:
            model: shared with the trainer, if there is one.
            features: shared with the trainer; a store of its own when None.
            batch_size: conversations sampled together.
            precision: of the matrix products.
        """
        self.model = model
        self.features = features or FeatureStore(model)
        self.batch_size = batch_size
        self.precision: Precision = precision
        self.weight_version = 0

    @torch.no_grad()
    def sample(
        self, requests: Sequence[Request], sampling: Sampling, on_token: OnToken | None = None
    ) -> list[Completion]:
        was_training = self.model.training
        self.model.eval()
        out: list[Completion] = []
        with autocast(self.precision, self.model.device):
            for start in range(0, len(requests), self.batch_size):
                part = requests[start : start + self.batch_size]
                out += self._sample_batch(part, sampling, on_token, start)
        self.model.train(was_training)
        return out

    def _sample_batch(
        self, requests: Sequence[Request], sampling: Sampling, on_token: OnToken | None, first: int
    ) -> list[Completion]:
        uniforms = np.stack([np.random.default_rng(r.seed).random(sampling.max_tokens) for r in requests])
        state, logits_BV = self._prefill(requests)
        ids: list[list[int]] = [[] for _ in requests]
        logps: list[list[float]] = [[] for _ in requests]
        finish: list[str] = ["length"] * len(requests)
        for step in range(sampling.max_tokens):
            uniform_B = torch.from_numpy(uniforms[state.row_B, step])
            token_B, logp_B = sample_tokens(logits_BV, uniform_B, sampling, self.model.renderer.forbidden_ids)
            going = []
            for b, (token, logp) in enumerate(zip(token_B.tolist(), logp_B.tolist(), strict=True)):
                row = int(state.row_B[b])
                ids[row].append(token)
                logps[row].append(logp)
                if on_token is not None:
                    on_token(first + row, token)
                if token in self.model.renderer.stop_ids:
                    finish[row] = "stop"
                else:
                    going.append(b)
            if not going or step + 1 == sampling.max_tokens:
                break
            if len(going) < len(token_B):
                state, token_B = state.keep(going), token_B[going]
            logits_BV = self._advance(state, token_B)
        return [
            Completion(tuple(i), tuple(p), "stop" if f == "stop" else "length", self.weight_version)
            for i, p, f in zip(ids, logps, finish, strict=True)
        ]

    def _prefill(self, requests: Sequence[Request]) -> tuple[_State, Tensor]:
        """Run the prompts, each distinct one once; returns the state and next-token scores [B, V]."""
        layouts = [self.model.renderer.layout(r.segments) for r in requests]
        index: dict[tuple[bytes, tuple[str, ...]], int] = {}
        distinct: list[Layout] = []
        of_row = []
        for layout in layouts:
            key = (layout.ids_T.tobytes(), tuple(block.key for block in layout.blocks))
            if key not in index:
                index[key] = len(distinct)
                distinct.append(layout)
            of_row.append(index[key])
        features = self.features(block for layout in distinct for block in layout.blocks)
        batch = self.model.embed(distinct, features, left=True)
        cache = SlabCache(len(self.model.decoder.layers))
        hidden = self.model(batch, cache=cache)
        rows = torch.tensor(of_row, device=self.model.device)
        cache.select(rows)
        position = torch.tensor([layouts[i].next_position for i in range(len(layouts))])
        state = _State(np.arange(len(requests)), cache, batch.mask_BT[rows], position.to(rows.device))
        return state, self.model.logits(hidden[:, -1])[rows].float()

    def _advance(self, state: _State, token_B: Tensor) -> Tensor:
        """Feed one token per row; returns the scores of the next, [B, V]."""
        ones = torch.ones_like(token_B)[:, None]
        state.mask_BK = torch.cat([state.mask_BK, ones], 1)
        position_3B1 = state.position_B[None, :, None].expand(3, -1, 1)
        embeds = self.model.decoder.embed_tokens(token_B[:, None])
        batch = Batch(embeds, state.mask_BK, position_3B1, ones.bool(), [])
        hidden = self.model(batch, cache=state.cache)
        state.position_B = state.position_B + 1
        return self.model.logits(hidden[:, -1]).float()


@dataclass
class _State:
    """The rows that are still speaking."""

    row_B: np.ndarray
    """Index of each row's request."""
    cache: SlabCache
    mask_BK: Tensor
    position_B: Tensor
    """M-RoPE position of the next token; the three coordinates agree on text."""

    def keep(self, rows: list[int]) -> _State:
        index = torch.tensor(rows, device=self.mask_BK.device)
        self.cache.select(index)
        return _State(self.row_B[rows], self.cache, self.mask_BK[index], self.position_B[index])
