"""One adapter around Hugging Face vision-language checkpoints: layouts in, hidden states out.

Shape legend: B rows, T tokens of the longest row, M merged visual tokens, D hidden width, V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer, PreTrainedModel

from pixelreasoner.chat.layout import Layout, VisualBlock
from pixelreasoner.chat.qwen import Qwen3VLRenderer, QwenVLRenderer
from pixelreasoner.chat.qwen25 import Qwen25VLRenderer
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.models.attention.shared_prefix import knows_plans, use_shared_prefix
from pixelreasoner.models.attention.vision_attention import use_packed_attention
from pixelreasoner.models.patches import by_size, patch_rows, use_linear_patches
from pixelreasoner.models.processor_config import write_processor_config

RENDERERS: dict[str, type[QwenVLRenderer]] = {"qwen3_vl": Qwen3VLRenderer, "qwen2_5_vl": Qwen25VLRenderer}
"""By the model type of a checkpoint's config."""


@dataclass(frozen=True, eq=False)
class Features:
    """The vision tower's output for one block."""

    tokens_MD: Tensor
    deepstack: tuple[Tensor, ...]
    """Each [M, D], added to the first decoder layers (Qwen3-VL); empty for other families."""


class VisionLanguageModel(nn.Module):
    """A checkpoint with its renderer: the one object that policies and trainers hold."""

    def __init__(self, hf: PreTrainedModel, renderer: QwenVLRenderer) -> None:
        super().__init__()
        self.hf = hf
        self.renderer = renderer
        use_packed_attention(self.vision)
        use_linear_patches(self.vision)

    @classmethod
    def load(cls, folder: Path | str, *, dtype: torch.dtype = torch.float32) -> VisionLanguageModel:
        """Load a checkpoint folder.

        Raises:
            CheckpointError: no such folder, not a checkpoint, or an architecture without a renderer.
        """
        path = Path(folder)
        family = RENDERERS[_model_type(path)]
        try:
            config = AutoConfig.from_pretrained(path)
            tokenizer = AutoTokenizer.from_pretrained(path)
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                path, dtype=dtype, attn_implementation="sdpa", output_loading_info=True
            )
        except (OSError, ValueError) as e:
            raise CheckpointError(f"{path} is not a complete checkpoint folder: {e}") from e
        hf, report = loaded
        if report["missing_keys"]:
            # transformers would go on with random ones.
            raise CheckpointError(f"{path} lacks weights: {', '.join(sorted(report['missing_keys']))}")
        use_shared_prefix(hf.model.language_model)
        return cls(hf, family.load(path, tokenizer, config.vision_config))

    def save(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        """Write a complete checkpoint folder; `dtype` casts the saved weights only."""
        folder.mkdir(parents=True, exist_ok=True)
        state = self.hf.state_dict()
        if dtype is not None:
            state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
        self.hf.save_pretrained(folder, state_dict=state)
        self.renderer.tokenizer.save_pretrained(folder)
        self.renderer.chat_format.save(folder)
        write_processor_config(folder, self.renderer)

    @property
    def vision(self) -> Any:
        return self.hf.model.visual

    @property
    def decoder(self) -> Any:
        return self.hf.model.language_model

    @property
    def device(self) -> torch.device:
        return self.hf.device

    def freeze_embeddings(self) -> None:
        """Keep the vectors of tokens as they are, those that read them and those that score them."""
        for module in (self.hf.get_input_embeddings(), self.hf.get_output_embeddings()):
            if module is not None:
                module.requires_grad_(False)

    # Seeing

    def encode(self, blocks: Iterable[VisualBlock]) -> dict[str, Features]:
        """Features of the distinct blocks, by key: each picture passes the tower once."""
        # In order of size: packed attention sees long runs of equal segments, patches are cut in one go.
        distinct = by_size(blocks)
        if not distinct:
            return {}
        patches = patch_rows(distinct, self.renderer, self.device)
        grid = torch.tensor([block.grid_thw for block in distinct], device=self.device)
        out = self.vision(patches.to(self.vision.dtype), grid_thw=grid)
        sizes = [block.n_tokens for block in distinct]
        merged = out.pooler_output.split(sizes)
        deep = [layer.split(sizes) for layer in out.get("deepstack_features") or ()]
        return {
            block.key: Features(merged[i], tuple(layer[i] for layer in deep))
            for i, block in enumerate(distinct)
        }

    # Reading

    def embed(self, layouts: Sequence[Layout], features: dict[str, Features], *, left: bool) -> Batch:
        """Token and image embeddings of several rows, padded on the right (or left, for sampling)."""
        width = max(len(row) for row in layouts)
        shape = (len(layouts), width)
        ids, kind, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int8), np.zeros(shape, np.int64)
        position = np.zeros((3, *shape), np.int64)
        for b, row in enumerate(layouts):
            at = slice(width - len(row), width) if left else slice(0, len(row))
            ids[b, at], kind[b, at], mask[b, at] = row.ids_T, row.kind_T, 1
            position[:, b, at] = row.position_3T
        visual = kind > 0
        embeds = self.decoder.embed_tokens(self._put(ids))
        deepstack: list[Tensor] = []
        found = [features[block.key] for row in layouts for block in row.blocks]
        if found:
            merged = torch.cat([f.tokens_MD for f in found]).to(embeds.dtype)
            at_M = self._put(np.flatnonzero(visual))
            embeds.flatten(0, 1).index_copy_(0, at_M, merged)
            deepstack = [torch.cat(layer) for layer in zip(*(f.deepstack for f in found), strict=True)]
        return Batch(embeds, self._put(mask), self._put(position), self._put(visual), deepstack)

    def _put(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device)

    def forward(
        self, batch: Batch, *, cache: Any = None, mask_BK: Tensor | None = None, **options: Any
    ) -> Tensor:
        """Hidden states after the final norm, [B, T, D]; `options` reach the attention of every layer."""
        if batch.deepstack:
            options |= {"visual_pos_masks": batch.visual_BT, "deepstack_visual_embeds": batch.deepstack}
        planned = "shared_prefix" in options
        assert not planned or knows_plans(self.decoder), "this decoder's attention would not look at a plan"
        out = self.decoder(
            inputs_embeds=batch.embeds_BTD,
            attention_mask=batch.mask_BT if mask_BK is None else mask_BK,
            position_ids=batch.position_3BT,
            past_key_values=cache,
            use_cache=cache is not None,
            **options,
        )
        return out.last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Vocabulary scores of hidden states, [..., V]."""
        return self.hf.lm_head(hidden)


def _model_type(folder: Path) -> str:
    """The supported model type a checkpoint folder holds."""
    path = folder / "config.json"
    if not path.exists():
        raise CheckpointError(f"{folder} is not a checkpoint folder (no config.json)")
    try:
        found = json.loads(path.read_text()).get("model_type")
    except (OSError, ValueError, AttributeError) as e:
        raise CheckpointError(f"{path} cannot be read: {e}") from e
    if found not in RENDERERS:
        raise CheckpointError(f"{folder} holds a '{found}' model; supported: {', '.join(RENDERERS)}")
    return found


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded decoder input."""

    embeds_BTD: Tensor
    mask_BT: Tensor
    position_3BT: Tensor
    visual_BT: Tensor
    deepstack: list[Tensor]
