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
from transformers import AutoTokenizer, PreTrainedModel

from pixelreasoner.chat.chat_format import Wording
from pixelreasoner.chat.families import family_of, read_json
from pixelreasoner.chat.layout import Layout, VisualBlock
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.models.attention.dispatch import PLANS, knows_plans
from pixelreasoner.models.attention.shared_prefix import DEFAULT_RULE, AttentionRule
from pixelreasoner.models.patches import by_size, patch_rows
from pixelreasoner.models.recurrent_states import is_recurrent

JSON_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "generation_config.json",
)  # fmt: skip
"""Files of a checkpoint that transformers reads, beside config.json, as objects of JSON."""


@dataclass(frozen=True, eq=False)
class Features:
    """The vision tower's output for one block."""

    tokens_MD: Tensor
    deepstack: tuple[Tensor, ...]
    """Each [M, D], added to the first decoder layers (Qwen3-VL); empty for other families."""

    @property
    def n_bytes(self) -> int:
        return sum(x.numel() * x.element_size() for x in (self.tokens_MD, *self.deepstack))

    def own(self) -> Features:
        """The same in memory of its own: those of one pass of the tower are views of one tensor."""
        return Features(self.tokens_MD.clone(), tuple(x.clone() for x in self.deepstack))


class VisionLanguageModel(nn.Module):
    """A checkpoint with its renderer: the one object that policies and trainers hold.

    The constructor changes nothing of what it is given; `models.loader` sets attention, device and gradients.
    """

    def __init__(
        self,
        hf: PreTrainedModel,
        renderer: QwenVLRenderer,
        *,
        source: Path | None = None,
        weights: Path | None = None,
        attention: AttentionRule = DEFAULT_RULE,
        base: str | None = None,
        merge_on_save: bool = True,
    ) -> None:
        """A model.

        Args:
            hf: the transformers model; for packed rows and cascade plans it went through `loader.prepare`.
            renderer: the checkpoint's.
            source: the folder it was loaded from, whose processor files are saved along.
            weights: the folder its weights were read from; what it has no place for is saved along.
            attention: how packed rows are computed.
            base: the checkpoint that its adapters belong to, where it has some.
            merge_on_save: whether adapters are added to the weights that are saved.
        """
        super().__init__()
        self.hf = hf
        self.renderer = renderer
        self.source = source
        self.weights = weights
        self.attention = attention
        self.base = base
        self.merge_on_save = merge_on_save

    @classmethod
    def load(cls, folder: Path | str, *, dtype: torch.dtype = torch.float32) -> VisionLanguageModel:
        """A checkpoint folder on the CPU, every parameter taking gradients.

        Raises:
            CheckpointError: no such folder, not a checkpoint, or an architecture without a renderer.
        """
        # The loader builds objects of this class.
        from pixelreasoner.models.config import ModelConfig
        from pixelreasoner.models.loader import adapters_of, load_weights_of

        path, cpu = Path(folder), torch.device("cpu")
        return load_weights_of(path, dtype=dtype, device=cpu, merge=adapters_of(ModelConfig(), path))

    def use_wording(self, wording: Wording) -> None:
        """Speak in the words of a recipe where it has some; they are saved with the model."""
        self.renderer = self.renderer.with_format(self.renderer.chat_format.with_wording(wording))

    @property
    def vision(self) -> Any:
        return self.hf.model.visual

    @property
    def decoder(self) -> Any:
        return self.hf.model.language_model

    @property
    def recurrent(self) -> bool:
        """Whether layers of the decoder carry a state from token to token, as three in four of Qwen3.5 do."""
        return is_recurrent(self.decoder.config)

    @property
    def device(self) -> torch.device:
        return self.hf.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.decoder.embed_tokens.weight.dtype

    # Seeing

    def encode(self, blocks: Iterable[VisualBlock]) -> dict[str, Features]:
        """Features of the distinct blocks, by key: each picture passes the tower once."""
        # In order of size: packed attention sees long runs of equal segments, patches are cut in one go.
        distinct = by_size(blocks)
        if not distinct:
            return {}
        patches = patch_rows(distinct, self.renderer.vision, self.device)
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
        """Hidden states after the final norm, [B, T, D]; `options` reach the attention of every layer.

        With a plan among them (`models.attention.dispatch`) the plan alone says who attends to whom.
        """
        if batch.deepstack:
            options |= {"visual_pos_masks": batch.visual_BT, "deepstack_visual_embeds": batch.deepstack}
        mask = batch.mask_BT if mask_BK is None else mask_BK
        if any(options.get(plan) is not None for plan in PLANS):
            assert knows_plans(self.decoder), "this decoder's attention would not look at a plan"
            options["attention_rule"] = self.attention
            # transformers takes a mask of four dimensions as it is: none is made, the padding not looked at.
            mask = mask.new_empty(1, 1, 0, 0)
        out = self.decoder(
            inputs_embeds=batch.embeds_BTD,
            attention_mask=mask,
            position_ids=batch.position_3BT,
            past_key_values=cache,
            use_cache=cache is not None,
            **options,
        )
        return out.last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Vocabulary scores of hidden states, [..., V]."""
        return self.hf.lm_head(hidden)


def renderer_of(folder: Path) -> QwenVLRenderer:
    """The renderer of a checkpoint folder; its weights are not read.

    Raises:
        CheckpointError: no such folder, not a checkpoint, or an architecture without a renderer.
    """
    family_of(folder)  # before a tokenizer is loaded that may not exist
    for path in (folder / name for name in JSON_FILES):
        if path.exists():
            read_json(path)  # transformers would name neither the file nor the reason
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as e:  # tokenizers raises nothing more special for JSON that is no tokenizer
        reason = str(e).strip().partition("\n")[0]
        raise CheckpointError(
            f"{folder} has no tokenizer that can be read ({reason}); download tokenizer.json and "
            f"tokenizer_config.json again"
        ) from e
    return QwenVLRenderer.load(folder, tokenizer)


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded decoder input."""

    embeds_BTD: Tensor
    mask_BT: Tensor
    position_3BT: Tensor
    visual_BT: Tensor
    deepstack: list[Tensor]
