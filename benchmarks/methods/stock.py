"""The plain method: transformers' own forward pass on padded rows, each with pixels of its own.

Nothing is shared: each row holds its prompt and pictures. Rows are padded on the right. The model computes
the positions, and logits of the completion only.

Shape legend: B rows, T tokens of the longest, C tokens after the prompt, V vocabulary, N loss tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from benchmarks.methods.base import (
    Settings,
    gradients_of,
    group_loss,
    layouts_of,
    loss_tokens,
    padded_tokens,
    part_of,
    parts,
)
from pixelreasoner.chat.layout import Layout
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.models.logprobs import TokenScores
from pixelreasoner.models.patches import patch_rows
from pixelreasoner.objectives.loss_mask import loss_mask, prompt_of
from pixelreasoner.objectives.scored_group import ScoredGroup


@dataclass(frozen=True)
class PaddedRows:
    """The tensors of a padded batch."""

    ids_BT: Tensor
    mask_BT: Tensor
    loss_BT: Tensor
    """True for the loss tokens."""
    kind_BT: Tensor
    """0 text, 1 image."""
    prompt: int
    grid_M3: Tensor
    """Patches of each image along time, height and width, images in order of appearance."""

    @classmethod
    def of(cls, group: ScoredGroup, layouts: Sequence[Layout], device: torch.device) -> PaddedRows:
        """Return rows of rollouts of one task, padded on the right."""
        width = max(len(row) for row in layouts)
        ids, mask, kind = (np.zeros((len(layouts), width), np.int64) for _ in range(3))
        loss = np.zeros((len(layouts), width), bool)
        for b, (trajectory, row) in enumerate(zip(group.trajectories, layouts, strict=True)):
            ids[b, : len(row)], mask[b, : len(row)], kind[b, : len(row)] = row.ids_T, 1, row.kind_T
            loss[b, : len(row)] = loss_mask(trajectory)[row.owner_T]
        grids = [block.grid_thw for row in layouts for block in row.blocks]
        prompt = int((layouts[0].owner_T < len(prompt_of(group.trajectories[0]).ids)).sum())
        return cls(
            ids_BT=torch.from_numpy(ids).to(device),
            mask_BT=torch.from_numpy(mask).to(device),
            loss_BT=torch.from_numpy(loss).to(device),
            kind_BT=torch.from_numpy(kind).to(device),
            prompt=prompt,
            grid_M3=torch.tensor(grids, device=device),
        )


def pixels_of(layouts: Sequence[Layout], renderer: QwenVLRenderer, device: torch.device) -> Tensor:
    """Return the patches of every picture of every row, repeated for each occurrence."""
    return patch_rows(list(chain.from_iterable(row.blocks for row in layouts)), renderer.vision, device)


class Stock:
    """One padded pass per micro-batch through an unchanged transformers model."""

    def __init__(
        self,
        hf: PreTrainedModel,
        renderer: QwenVLRenderer,
        group: ScoredGroup,
        settings: Settings,
    ) -> None:
        self._hf, self._renderer, self._group, self._settings = hf, renderer, group, settings
        self.tokens = padded_tokens(layouts_of(group, renderer), settings.rows)
        hf.model.visual.requires_grad_(not settings.frozen)
        if settings.recompute:
            hf.gradient_checkpointing_enable({"use_reentrant": False})

    def run(self) -> Tensor:
        self._hf.train()
        self._hf.zero_grad(set_to_none=True)
        n_loss = sum(loss_tokens(self._group))
        found = []
        for part in self._parts():
            logp_N = self._score(part)
            # This method computes no entropy; the loss does not use it.
            group_loss(TokenScores(logp_N, logp_N.detach()), part, n_loss).backward()
            found.append(logp_N.detach())
        return torch.cat(found)

    @torch.no_grad()
    def log_probs(self) -> Tensor:
        """Run the forward pass alone; returns [N]."""
        return torch.cat([self._score(part) for part in self._parts()])

    def _parts(self) -> list[ScoredGroup]:
        n = len(self._group.trajectories)
        return [part_of(self._group, indices) for indices in parts(n, self._settings.rows)]

    def _score(self, group: ScoredGroup) -> Tensor:
        layouts = layouts_of(group, self._renderer)
        rows = PaddedRows.of(group, layouts, self._hf.device)
        n_after = rows.ids_BT.shape[1] - rows.prompt
        out = self._hf(
            input_ids=rows.ids_BT,
            attention_mask=rows.mask_BT,
            pixel_values=pixels_of(layouts, self._renderer, self._hf.device).to(self._hf.dtype),
            image_grid_thw=rows.grid_M3,
            mm_token_type_ids=rows.kind_BT.int(),
            logits_to_keep=n_after + 1,
            use_cache=False,
        )
        logits_BCV = out.logits[:, :-1]
        logp_BCV = logits_BCV.to(torch.promote_types(logits_BCV.dtype, torch.float32)).log_softmax(-1)
        logp_BC = logp_BCV.gather(-1, rows.ids_BT[:, rows.prompt :, None])[..., 0]
        return logp_BC[rows.loss_BT[:, rows.prompt :]]

    def gradients(self) -> dict[str, Tensor]:
        return gradients_of(self._hf)
