"""One adapter around Hugging Face vision-language checkpoints: layouts in, hidden states out.

Shape legend: B rows, T tokens of the longest row, M merged visual tokens, D hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer, PreTrainedModel

from pixelreasoner.chat.dialect import Dialect
from pixelreasoner.chat.layout import Layout, VisualBlock
from pixelreasoner.chat.qwen import Qwen3VLRenderer
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.models.vision_attention import use_packed_attention

RENDERERS = {"qwen3_vl": Qwen3VLRenderer}


@dataclass(frozen=True, eq=False)
class Features:
    """The vision tower's output for one block."""

    tokens_MD: Tensor
    deepstack: tuple[Tensor, ...]
    """Each [M, D], added to the first decoder layers (Qwen3-VL); empty for other families."""


class VisionLanguageModel(nn.Module):
    """A checkpoint with its renderer: the one object that policies and trainers hold."""

    def __init__(self, hf: PreTrainedModel, renderer: Qwen3VLRenderer) -> None:
        super().__init__()
        self.hf = hf
        self.renderer = renderer
        use_packed_attention(self.vision)

    @classmethod
    def load(cls, folder: Path | str, *, dtype: torch.dtype = torch.float32) -> VisionLanguageModel:
        """Load a checkpoint folder.

        Raises:
            CheckpointError: no such folder, not a checkpoint, or an architecture without a renderer.
        """
        path = Path(folder)
        if not (path / "config.json").exists():
            raise CheckpointError(f"{path} is not a checkpoint folder (no config.json)")
        config = AutoConfig.from_pretrained(path)
        if config.model_type not in RENDERERS:
            raise CheckpointError(
                f"{path} holds a '{config.model_type}' model; supported: {', '.join(RENDERERS)}"
            )
        tokenizer = AutoTokenizer.from_pretrained(path)
        hf = AutoModelForImageTextToText.from_pretrained(path, dtype=dtype, attn_implementation="sdpa")
        vision = config.vision_config
        renderer = RENDERERS[config.model_type](
            tokenizer,
            Dialect.load(path),
            patch=vision.patch_size,
            merge=vision.spatial_merge_size,
            temporal_patch=vision.temporal_patch_size,
        )
        return cls(hf, renderer)

    def save(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        """Write weights, tokenizer and dialect; `dtype` casts the saved weights only."""
        folder.mkdir(parents=True, exist_ok=True)
        state = self.hf.state_dict()
        if dtype is not None:
            state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
        self.hf.save_pretrained(folder, state_dict=state)
        self.renderer.tokenizer.save_pretrained(folder)
        self.renderer.dialect.save(folder)

    @property
    def vision(self) -> Any:
        return self.hf.model.visual

    @property
    def decoder(self) -> Any:
        return self.hf.model.language_model

    @property
    def device(self) -> torch.device:
        return self.hf.device

    # Seeing

    def encode(self, blocks: Iterable[VisualBlock]) -> dict[str, Features]:
        """Features of the distinct blocks, by key: each picture passes the tower once."""
        distinct = {b.key: b for b in blocks}
        if not distinct:
            return {}
        patches = torch.cat([self._patches(b) for b in distinct.values()])
        grid = torch.tensor([b.grid_thw for b in distinct.values()], device=self.device)
        out = self.vision(patches.to(self.vision.dtype), grid_thw=grid)
        sizes = [b.n_tokens for b in distinct.values()]
        merged = out.pooler_output.split(sizes)
        deep = [layer.split(sizes) for layer in getattr(out, "deepstack_features", None) or ()]
        return {
            key: Features(merged[i], tuple(layer[i] for layer in deep)) for i, key in enumerate(distinct)
        }

    def _patches(self, block: VisualBlock) -> Tensor:
        """The tower's input rows, [t*h*w, C * temporal * patch * patch], merge windows together.

        uint8 travels to the device and is scaled there: (x / 255 - 0.5) / 0.5, as the Qwen3-VL processor.
        """
        r = self.renderer
        t, h, w = block.grid_thw
        x = torch.from_numpy(np.ascontiguousarray(block.frames)).to(self.device).float() / 127.5 - 1.0
        if x.shape[0] < r.temporal_patch:  # an image fills the temporal patch with copies of itself
            x = x.expand(r.temporal_patch, -1, -1, -1)
        m, p = r.merge, r.patch
        x = x.permute(0, 3, 1, 2).reshape(t, r.temporal_patch, 3, h // m, m, p, w // m, m, p)
        return x.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(t * h * w, -1)

    # Reading

    def embed(self, layouts: Sequence[Layout], features: dict[str, Features], *, left: bool) -> Batch:
        """Token and image embeddings of several rows, padded on the right (or left, for sampling)."""
        width = max(len(row) for row in layouts)
        shape = (len(layouts), width)
        ids = torch.zeros(shape, dtype=torch.long)
        kind = torch.zeros(shape, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        position = torch.zeros((3, *shape), dtype=torch.long)
        for b, row in enumerate(layouts):
            at = slice(width - len(row), width) if left else slice(0, len(row))
            ids[b, at] = torch.from_numpy(row.ids_T)
            kind[b, at] = torch.from_numpy(row.kind_T.astype(np.int64))
            mask[b, at] = 1
            position[:, b, at] = torch.from_numpy(row.position_3T)
        ids, kind, mask, position = (x.to(self.device) for x in (ids, kind, mask, position))
        embeds = self.decoder.embed_tokens(ids)
        visual = kind > 0
        deepstack: list[Tensor] = []
        found = [features[block.key] for row in layouts for block in row.blocks]
        if found:
            merged = torch.cat([f.tokens_MD for f in found]).to(embeds.dtype)
            embeds = embeds.masked_scatter(visual[..., None], merged)
            deepstack = [torch.cat(layer) for layer in zip(*(f.deepstack for f in found), strict=True)]
        return Batch(embeds, mask, position, visual, deepstack)

    def forward(self, batch: Batch, *, cache: Any = None, mask_BK: Tensor | None = None) -> Tensor:
        """Hidden states after the final norm, [B, T, D]."""
        extra: dict[str, Any] = {}
        if batch.deepstack:
            extra = {"visual_pos_masks": batch.visual_BT, "deepstack_visual_embeds": batch.deepstack}
        out = self.decoder(
            inputs_embeds=batch.embeds_BTD,
            attention_mask=batch.mask_BT if mask_BK is None else mask_BK,
            position_ids=batch.position_3BT,
            past_key_values=cache,
            use_cache=cache is not None,
            **extra,
        )
        return out.last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Vocabulary scores of hidden states, [..., V]."""
        return self.hf.lm_head(hidden)


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded decoder input."""

    embeds_BTD: Tensor
    mask_BT: Tensor
    position_3BT: Tensor
    visual_BT: Tensor
    deepstack: list[Tensor]
