"""The models that are measured: true sizes and small ones of the same families, with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForImageTextToText,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen3_5Config,
    Qwen3VLConfig,
)

from benchmarks.cases import CHAT_FORMAT
from pixelreasoner.chat.checkpoint_files import with_format
from pixelreasoner.chat.families import FAMILIES
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.models.loader import prepare
from pixelreasoner.models.processor_config import write_processor_config
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.nano.scratch import train_tokenizer

VOCABULARY = 2048
"""Of the tokenizer; a model's own may be larger, and what lies beyond is never spoken."""
CORPUS = (
    "system\nuser\nassistant\ntool\nYou are a helpful assistant.",
    "What is the number on the red card? The sign is tiny, so look closer. It reads K.",
    '<tool_call>{"name": "crop_image", "arguments": {"bbox_2d": [120,40, 500 ,620], "target_image": 1}}',
    "}}</tool_call>",
)
CHAT_TEMPLATE = """\
{%- macro show(content) -%}
{%- if content is string -%}{{ content }}
{%- else -%}{%- for part in content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>
{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- if tools -%}
{{- '<|im_start|>system\\n' -}}
{%- for tool in tools -%}{{- tool.function.name + '\\n' -}}{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role != 'system' -%}
{{- '<|im_start|>' + ('user' if message.role == 'tool' else message.role) + '\\n' -}}
{{- show(message.content) -}}
{%- for call in message.tool_calls or [] -%}
{{- '<tool_call>{"name": "' + call.function.name + '", "arguments": ' -}}
{{- (call.function.arguments | tojson) + '}</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""Enough for tool calls and their results; the tools' names stand for their descriptions."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a model, in the words of its transformers config."""

    family: str
    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    rope: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tied: bool = False


_VISION_25 = {
    "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "patch_size": 14,
    "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2,
}  # fmt: skip
_ROPE_25 = {"rope_theta": 1e6, "mrope_section": [16, 24, 24]}
_SMALL_TEXT = {
    "vocab_size": VOCABULARY, "hidden_size": 256, "num_hidden_layers": 8, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 768, "max_position_embeddings": 8192,
}  # fmt: skip
_SMALL_VISION = {
    "depth": 4, "hidden_size": 128, "intermediate_size": 384, "num_heads": 2, "patch_size": 8,
}  # fmt: skip
_TINY_TEXT = _SMALL_TEXT | {
    "hidden_size": 64, "num_hidden_layers": 2, "head_dim": 32, "num_attention_heads": 2,
    "num_key_value_heads": 1, "intermediate_size": 96,
}  # fmt: skip
_TINY_VISION = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 8}

_LINEAR = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 64,
    "linear_value_head_dim": 64, "full_attention_interval": 4,
}  # fmt: skip
"""Of the layers of Qwen3.5 that do not attend: three in four."""
_CONFIGS = {"qwen2_5_vl": Qwen2_5_VLConfig, "qwen3_vl": Qwen3VLConfig, "qwen3_5": Qwen3_5Config}

SHAPES = {
    "Qwen2.5-VL-3B": Shape(
        "qwen2_5_vl",
        {"vocab_size": 151936, "hidden_size": 2048, "num_hidden_layers": 36, "num_attention_heads": 16,
         "num_key_value_heads": 2, "intermediate_size": 11008},
        _VISION_25, _ROPE_25, tied=True,
    ),
    "Qwen2.5-VL-7B": Shape(
        "qwen2_5_vl",
        {"vocab_size": 152064, "hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28,
         "num_key_value_heads": 4, "intermediate_size": 18944},
        _VISION_25, _ROPE_25,
    ),
    "Qwen3-VL-4B": Shape(
        "qwen3_vl",
        {"vocab_size": 151936, "hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32,
         "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 9728},
        {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "patch_size": 16,
         "num_position_embeddings": 2304, "deepstack_visual_indexes": [5, 11, 17]},
        {"rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}, tied=True,
    ),
    "Qwen3-VL-8B": Shape(
        "qwen3_vl",
        {"vocab_size": 151936, "hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32,
         "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 12288},
        {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "patch_size": 16,
         "num_position_embeddings": 2304, "deepstack_visual_indexes": [8, 16, 24]},
        {"rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True},
    ),
    "Qwen3.5-9B": Shape(
        "qwen3_5",
        {"vocab_size": 248320, "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 16,
         "num_key_value_heads": 4, "head_dim": 256, "intermediate_size": 12288, "linear_num_key_heads": 16,
         "linear_num_value_heads": 32, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
         "full_attention_interval": 4},
        {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "patch_size": 16,
         "num_position_embeddings": 2304},
        {"rope_theta": 1e7, "mrope_section": [11, 11, 10], "mrope_interleaved": True,
         "partial_rotary_factor": 0.25},
    ),
    "small-qwen2.5": Shape(
        "qwen2_5_vl", _SMALL_TEXT, _SMALL_VISION | {"window_size": 64, "fullatt_block_indexes": [3]},
        {"rope_theta": 1e4, "mrope_section": [8, 12, 12]},
    ),
    "small-qwen3": Shape(
        "qwen3_vl", _SMALL_TEXT,
        _SMALL_VISION | {"num_position_embeddings": 1024, "deepstack_visual_indexes": [1, 2]},
        {"rope_theta": 1e4, "mrope_section": [12, 10, 10], "mrope_interleaved": True},
    ),
    "small-qwen3.5": Shape(
        "qwen3_5", _SMALL_TEXT | _LINEAR, _SMALL_VISION | {"num_position_embeddings": 1024},
        {
            "rope_theta": 1e4, "mrope_section": [6, 5, 5], "mrope_interleaved": True,
            "partial_rotary_factor": 0.5,
        },
    ),
    "tiny-qwen2.5": Shape(
        "qwen2_5_vl", _TINY_TEXT, _TINY_VISION | {"window_size": 64, "fullatt_block_indexes": [1]},
        {"rope_theta": 1e4, "mrope_section": [4, 6, 6]},
    ),
    "tiny-qwen3": Shape(
        "qwen3_vl", _TINY_TEXT,
        _TINY_VISION | {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
        {"rope_theta": 1e4, "mrope_section": [6, 5, 5], "mrope_interleaved": True},
    ),
    "tiny-qwen3.5": Shape(
        "qwen3_5",
        _TINY_TEXT | _LINEAR
        | {"num_hidden_layers": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16},
        _TINY_VISION | {"num_position_embeddings": 64},
        {
            "rope_theta": 1e4, "mrope_section": [3, 3, 2], "mrope_interleaved": True,
            "partial_rotary_factor": 0.5,
        },
    ),
}  # fmt: skip
"""The released checkpoints' sizes are those of their config files."""
SMALL = ("small-qwen3", "small-qwen2.5")
RECURRENT = "small-qwen3.5"
"""Training alone is measured with it."""


def shape_named(name: str) -> Shape:
    """Raises ConfigError for an unknown name."""
    if name not in SHAPES:
        raise ConfigError(f"no model of the name {name!r}; there are {', '.join(SHAPES)}")
    return SHAPES[name]


def random_model(
    name: str, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0
) -> VisionLanguageModel:
    """The model of that shape with random weights, made where it will run.

    Raises:
        ConfigError: there is no shape of that name.
    """
    shape = shape_named(name)
    tokenizer = _tokenizer()
    config = _config(shape, tokenizer)
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(seed)
        hf = AutoModelForImageTextToText.from_config(config, dtype=dtype, attn_implementation="sdpa")
    hf.generation_config.eos_token_id = tokenizer.eos_token_id
    hf.generation_config.pad_token_id = tokenizer.pad_token_id
    prepare(hf)
    return VisionLanguageModel(hf, _renderer(shape, tokenizer, config.vision_config))


def write_checkpoint(name: str, folder: Path, *, seed: int = 0) -> Path:
    """The model of that shape as a checkpoint folder, for whoever loads its own; returns the folder."""
    model = random_model(name, seed=seed)
    save_checkpoint(model, folder)
    write_processor_config(folder, model.renderer)
    return folder


def write_description(name: str, folder: Path) -> Path:
    """All of a checkpoint of that shape but its weights: enough for who asks how large it is."""
    shape = shape_named(name)
    tokenizer = _tokenizer()
    config = _config(shape, tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CHAT_FORMAT.save(folder)
    write_processor_config(folder, _renderer(shape, tokenizer, config.vision_config))
    return folder


def stock_model(folder: Path, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A checkpoint as transformers runs it, nothing of it changed."""
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = train_tokenizer(CORPUS, VOCABULARY)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _renderer(shape: Shape, tokenizer: PreTrainedTokenizerFast, vision: Any) -> QwenVLRenderer:
    family = FAMILIES[shape.family]
    spec = VisionSpec(
        unit=family.unit,
        patch=vision.patch_size,
        merge=vision.spatial_merge_size,
        temporal_patch=vision.temporal_patch_size,
        normalization=family.normalization,
        image=family.image,
        crop=family.image,
        video_frame=family.video_frame,
        tokens_per_second=shape.vision.get("tokens_per_second", 4),
    )
    return QwenVLRenderer(tokenizer, family, with_format(spec, CHAT_FORMAT), CHAT_FORMAT)


def _config(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> Any:
    ids = tokenizer.get_vocab()
    text = {
        **shape.text,
        "rope_parameters": {"rope_type": "default", **shape.rope},
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": shape.tied,
    }
    vision = {
        "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3,
        "out_hidden_size": shape.text["hidden_size"], **shape.vision,
    }  # fmt: skip
    return _CONFIGS[shape.family](
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=shape.tied,
    )
