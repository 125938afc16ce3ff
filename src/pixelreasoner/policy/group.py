"""A policy over a model in this process, made for groups of conversations that call operations.

* A prompt passes the model once, for all rollouts of its group, whenever they come; its keys and values
  are in memory once, and are read once per step for the whole group (`models.attention.cascade_attention`).
* Keys and values are kept from turn to turn: after an operation only its result is read.
* A message that is complete leaves the batch at once, and the next request takes its place. Requests come
  and go at any step, so that nothing waits for the longest message of a turn.

On a GPU a step in which nothing is read but the last tokens is captured as a CUDA graph once its shape comes
again, and launched as a whole (`policy.decode_steps`).

What is sampled for a request depends on its segments, its seed, its sampling and the weights. What else is
in the batch and in the cache changes its log-probabilities by rounding errors only. The same calls in the
same order give the same bits.

Decoders with recurrent layers have an engine of their own (`policy.recurrent`), to which the same applies but
for the second half of the first sentence: each rollout of a group has a copy of what is kept of its prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pixelreasoner.models.config import Precision
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.precision import autocast
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.policy.base import OnToken
from pixelreasoner.policy.decode_steps import DecodeMode, mode_on
from pixelreasoner.policy.engine import GroupEngine
from pixelreasoner.policy.prefix_cache import PrefixCache
from pixelreasoner.policy.recurrent import RecurrentEngine

KV_CACHE_BYTES = 8 * 2**30


class GroupPolicy:
    """A `Policy` over a model held in memory. It samples the model's current weights."""

    def __init__(
        self,
        model: VisionLanguageModel,
        *,
        features: FeatureStore | None = None,
        batch_size: int = 128,
        precision: Precision = "fp32",
        prefill_tokens: int = 16_384,
        kv_cache_bytes: int = KV_CACHE_BYTES,
        decode_mode: DecodeMode | None = None,
    ) -> None:
        """A policy.

        Args:
            model: shared with the learner, if there is one.
            features: shared with the learner; a store of its own when None.
            batch_size: sequences that run at the same time. As many again are cached.
            precision: of the matrix products, and of the keys and values in memory.
            prefill_tokens: conversations start together until they bring as many new tokens as this.
            kv_cache_bytes: of keys and values, for as long as a session is open. While they grow, one
                layer of them is in memory twice.
            decode_mode: how steps of decoding run; None: as suits the device. On a GPU captured steps take
                `models.graphs.GRAPH_BYTES` more at the most.
        """
        assert batch_size > 0, "no sequence could ever run"
        self.model = model
        self.features = features or FeatureStore(model)
        self.batch_size = batch_size
        self.precision: Precision = precision
        self.prefill_tokens = prefill_tokens
        self.kv_cache_bytes = kv_cache_bytes
        self.decode_mode = mode_on(model.device) if decode_mode is None else decode_mode
        self.weight_version = 0
        self._engine: GroupEngine | RecurrentEngine | None = None

    @contextmanager
    def session(self, on_token: OnToken | None = None) -> Iterator[GroupEngine | RecurrentEngine]:
        """The engine; one at a time. The model is in evaluation mode for as long.

        Keys and values belong to the session: their memory is free again when it ends.
        """
        assert self._engine is None, "one session at a time"
        was_training = self.model.training
        self.model.eval()
        engine = RecurrentEngine if self.model.recurrent else GroupEngine
        self._engine = engine(self, on_token)
        try:
            # Held open over all steps: autocast then keeps its copies of the weights.
            with autocast(self.precision, self.model.device):
                yield self._engine
        finally:
            self._engine = None
            self.model.train(was_training)

    @torch.no_grad()
    def load_weights(self, named_tensors: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Sample from these weights from now on; those that are the model's own tensors are not copied.

        In an open session all keys and values are dropped. Messages that are running are continued with the
        new weights; their completions carry the version that sampled their first token.
        """
        own = self.model.hf.state_dict()
        sees_anew = False
        for name, tensor in named_tensors:
            assert name in own, f"the model has no weight {name}: were adapters merged that it has itself?"
            target = own[name]
            if target.data_ptr() != tensor.data_ptr():
                target.copy_(tensor)
                sees_anew |= name.startswith("model.visual.")
        if sees_anew:
            self.features.clear()
        self.weight_version = version
        if self._engine is not None:
            self._engine.reset_prefix_cache()
            torch.clear_autocast_cache()  # it holds copies of the old weights

    def new_prefix_cache(self) -> PrefixCache:
        """An empty one, of the policy's size."""
        layers = self.model.decoder.layers
        attention = layers[0].self_attn
        heads = self.model.decoder.config.num_key_value_heads
        dtype = torch.bfloat16 if self.precision == "bf16" else self.model.decoder.embed_tokens.weight.dtype
        token_bytes = 2 * len(layers) * heads * attention.head_dim * dtype.itemsize
        return PrefixCache(
            len(layers), max_sequences=2 * self.batch_size, max_tokens=self.kv_cache_bytes // token_bytes
        )
