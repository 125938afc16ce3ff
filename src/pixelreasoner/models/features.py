"""Vision features for a batch: recomputed while the tower learns, remembered while it is fixed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import torch

from pixelreasoner.chat.layout import VisualBlock
from pixelreasoner.models.vlm import Features, VisionLanguageModel

MAX_BYTES = 2 * 2**30


class FeatureStore:
    """Gives a block's features, running the tower on each distinct picture once per call.

    With a fixed tower the features of a picture never change: they are kept, so that the sampler and the
    trainer share one pass, and a picture seen again (the next turn, the next epoch) costs nothing. When the
    tower's weights are written to, everything is dropped.
    """

    def __init__(self, model: VisionLanguageModel, *, max_bytes: int = MAX_BYTES) -> None:
        """A store for `model`; beyond `max_bytes` the least recently used features leave."""
        self._model, self._max_bytes = model, max_bytes
        self._kept: OrderedDict[str, Features] = OrderedDict()
        self._weights: tuple[int, ...] = ()
        self.n_bytes = 0

    @property
    def remembers(self) -> bool:
        """Whether features are kept: no parameter of the tower takes gradients."""
        return not any(p.requires_grad for p in self._model.vision.parameters())

    def __call__(self, blocks: Iterable[VisualBlock]) -> dict[str, Features]:
        wanted = {block.key: block for block in blocks}
        if not wanted:
            return {}
        if not self.remembers:
            self.clear()
            return self._model.encode(wanted.values())
        self._forget_old_weights()
        missing = [block for key, block in wanted.items() if key not in self._kept]
        with torch.no_grad():
            for key, features in self._model.encode(missing).items():
                self._kept[key] = features.own()
                self.n_bytes += features.n_bytes
        out: dict[str, Features] = {}
        for key in wanted:
            self._kept.move_to_end(key)
            out[key] = self._kept[key]
        while self.n_bytes > self._max_bytes:
            self.n_bytes -= self._kept.popitem(last=False)[1].n_bytes
        return out

    def _forget_old_weights(self) -> None:
        # PyTorch counts how often a tensor was written to; a tensor that moves gets another address.
        weights = tuple(x for p in self._model.vision.parameters() for x in (p.data_ptr(), p._version))
        if weights != self._weights:
            self.clear()
            self._weights = weights

    def clear(self) -> None:
        """Drop everything that is kept."""
        self._kept.clear()
        self.n_bytes = 0
