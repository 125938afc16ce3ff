"""The scoring of a row as one module: what FSDP needs for its root, and every learner uses."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from pixelreasoner.chat.layout import VisualBlock
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.core.media import Picture
from pixelreasoner.models.config import Precision
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.logprobs import score_row
from pixelreasoner.models.precision import autocast
from pixelreasoner.models.vlm import Features, VisionLanguageModel
from pixelreasoner.objectives.objective import Objective
from pixelreasoner.objectives.packing import PackedRow


class Scoring(nn.Module):
    """From a row to the log-probabilities and entropies of its loss tokens."""

    def __init__(
        self,
        model: VisionLanguageModel,
        features: FeatureStore,
        objective: Objective,
        *,
        precision: Precision,
        always_sees: bool = False,
    ) -> None:
        """The scoring that an objective asks for.

        Args:
            model: what scores.
            features: of pictures.
            objective: says at which temperature, and without which tokens.
            precision: of the matrix products.
            always_sees: the tower has a part in every row's gradient, which is zero where the row has no
                picture. Where it is sharded, its passes are steps that all processes take together.
        """
        super().__init__()
        self.model = model
        self._features, self._objective = features, objective
        self._precision: Precision = precision
        self._blank = blank_block(model.renderer) if always_sees else None

    def forward(self, row: PackedRow) -> tuple[Tensor, Tensor]:
        """Each [N], over the loss tokens of the row: log-probabilities, and entropies without gradient."""
        objective, blocks = self._objective, row.layout.blocks
        unseen = self._blank is not None and not blocks
        with autocast(self._precision, self.model.device):
            features = self._features((self._blank,) if self._blank is not None and unseen else blocks)
            scores = score_row(
                self.model,
                row,
                features,
                temperature=objective.temperature,
                forbidden_ids=self.model.renderer.forbidden_ids if objective.sampled_by_policy else (),
            )
        logp_N = scores.logp_N
        return (logp_N + _nothing_of(features) if unseen else logp_N), scores.entropy_N


def blank_block(renderer: QwenVLRenderer) -> VisualBlock:
    """The smallest picture that the model can see, in black."""
    side = renderer.vision.factor
    return renderer.blocks(Picture(np.zeros((side, side, 3), np.uint8)), crop=True)[0]


def _nothing_of(features: dict[str, Features]) -> Tensor:
    """Zero, with a gradient of zeros for the tower."""
    tensors = [x for f in features.values() for x in (f.tokens_MD, *f.deepstack)]
    return sum((0.0 * x.float().sum() for x in tensors[1:]), start=0.0 * tensors[0].float().sum())
