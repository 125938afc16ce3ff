"""The reference of `policy.group`: padded batches of one message each, plain and exact.

The prompt is run through the model once per distinct conversation (the rollouts of a group share their
first prompt), then tokens are sampled for all rows together; finished rows leave the batch. Each turn
of a conversation starts from an empty cache.

Shape legend: B running rows, K tokens in the cache, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.reference.block_cache import BlockCache
from pixelreasoner.chat.layout import Layout
from pixelreasoner.models.config import Precision
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.precision import autocast
from pixelreasoner.models.vlm import Batch, VisionLanguageModel
from pixelreasoner.policy.base import Completion, CompletionRequest, Engine, OnToken, Sampling
from pixelreasoner.policy.batch import BatchEngine
from pixelreasoner.policy.sampling import sample_tokens


class LocalPolicy:
    """A `Policy` over a model in memory. It always samples from the model's current weights."""

    def __init__(
        self,
        model: VisionLanguageModel,
        *,
        features: FeatureStore | None = None,
        batch_size: int = 128,
        precision: Precision = "fp32",
    ) -> None:
        """Make a policy.

        Args:
            model: shared with the learner, if there is one.
            features: shared with the learner; a store of its own when None.
            batch_size: conversations in one batch.
            precision: of the matrix products.
        """
        self.model = model
        self.features = features or FeatureStore(model)
        self.batch_size = batch_size
        self.precision: Precision = precision
        self.weight_version = 0

    @contextmanager
    def session(self, on_token: OnToken | None = None) -> Iterator[Engine]:
        """Yield an engine that completes all waiting requests in one step."""
        yield BatchEngine(self.complete_batch, on_token)

    def load_weights(self, named_tensors: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Copy the tensors into the model."""
        self.model.hf.load_state_dict(dict(named_tensors), strict=False)
        self.weight_version = version

    @torch.no_grad()
    def complete_batch(
        self, requests: Sequence[CompletionRequest], on_token: OnToken | None = None
    ) -> list[Completion]:
        """Return one completion per request, in order; requests of equal sampling share batches."""
        was_training = self.model.training
        self.model.eval()
        done: dict[int, Completion] = {}
        with autocast(self.precision, self.model.device):
            for sampling in dict.fromkeys(request.sampling for request in requests):
                alike = [i for i, request in enumerate(requests) if request.sampling == sampling]
                for start in range(0, len(alike), self.batch_size):
                    part = alike[start : start + self.batch_size]
                    completions = self._sample_batch([requests[i] for i in part], sampling, on_token, part)
                    done.update(zip(part, completions, strict=True))
        self.model.train(was_training)
        return [done[i] for i in range(len(requests))]

    def _sample_batch(
        self,
        requests: Sequence[CompletionRequest],
        sampling: Sampling,
        on_token: OnToken | None,
        index: Sequence[int],
    ) -> list[Completion]:
        uniforms = np.stack([np.random.default_rng(r.seed).random(sampling.max_tokens) for r in requests])
        state, logits_BV = self._prefill(requests)
        renderer = self.model.renderer
        forbidden_F = torch.tensor(sorted(renderer.forbidden_ids), device=self.model.device)
        ids: list[list[int]] = [[] for _ in requests]
        logps: list[list[float]] = [[] for _ in requests]
        finish: list[str] = ["length"] * len(requests)
        for step in range(sampling.max_tokens):
            uniform_B = torch.from_numpy(uniforms[state.row_B, step])
            token_B, logp_B = sample_tokens(logits_BV, uniform_B, [sampling] * len(state.row_B), forbidden_F)
            going = []
            for b, (token, logp) in enumerate(zip(token_B.tolist(), logp_B.tolist(), strict=True)):
                row = int(state.row_B[b])
                ids[row].append(token)
                logps[row].append(logp)
                if on_token is not None:
                    on_token(index[row], token)
                if token in renderer.stop_ids:
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

    def _prefill(self, requests: Sequence[CompletionRequest]) -> tuple[_State, Tensor]:
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
        cache = BlockCache(len(self.model.decoder.layers))
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
    """The running rows."""

    row_B: np.ndarray
    """Index of each row's request."""
    cache: BlockCache
    mask_BK: Tensor
    position_B: Tensor
    """M-RoPE position of the next token; the three coordinates agree on text."""

    def keep(self, rows: list[int]) -> _State:
        index = torch.tensor(rows, device=self.mask_BK.device)
        self.cache.select(index)
        return _State(self.row_B[rows], self.cache, self.mask_BK[index], self.position_B[index])
