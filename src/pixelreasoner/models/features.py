"""Vision features for a batch: recomputed while the tower learns, remembered while it is frozen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import torch

from pixelreasoner.chat.layout import VisualBlock
from pixelreasoner.models.vlm import Features, VisionLanguageModel


class FeatureStore:
    """Gives a block's features, running the tower on each distinct picture once per call.

    With a frozen tower the features of a picture never change: they are kept, so that the sampler and
    the trainer share one pass, and a picture seen again (the next turn, the next epoch) costs nothing.
    """

    def __init__(self, model: VisionLanguageModel, *, frozen: bool, capacity: int = 4_000) -> None:
        """A store for `model`; `capacity` pictures are kept, the least recently used leave first."""
        self._model, self.frozen, self._capacity = model, frozen, capacity
        self._kept: OrderedDict[str, Features] = OrderedDict()
        model.vision.requires_grad_(not frozen)

    def clear(self) -> None:
        """Forget all features: they belong to weights that are no longer the tower's."""
        self._kept.clear()

    def __call__(self, blocks: Iterable[VisualBlock]) -> dict[str, Features]:
        if not self.frozen:
            return self._model.encode(blocks)
        wanted = {block.key: block for block in blocks}
        missing = [block for key, block in wanted.items() if key not in self._kept]
        with torch.no_grad():
            self._kept.update(self._model.encode(missing))
        out = {}
        for key in wanted:
            self._kept.move_to_end(key)
            out[key] = self._kept[key]
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return out
