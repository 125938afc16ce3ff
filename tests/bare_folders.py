"""Checkpoint folders as releases of Qwen-VL lay them out, with tiny random weights and no file of ours.

Qwen2.5-VL: a flat config.json (transformers 4.41), weights under the old names in two shards, a text-only
template in tokenizer_config.json and the one for images in chat_template.json. Qwen3-VL: a nested config
(4.57). Qwen3.5: a nested config with the layer types (5.2), a multi-token prediction layer that no class of
transformers reads, chat_template.jinja. The templates are in words of our own unless others are given.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEXT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""Adds the content to a string, so that a list of parts breaks it."""
SHOWS_MEDIA = """\
{%- for message in messages -%}
{%- if loop.first and message.role != 'system' -%}{{- '<|im_start|>system\\nBe of help.<|im_end|>\\n' -}}\
{%- endif -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.content is string -%}{{- message.content -}}{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>
{%- else -%}{{- part.text -}}{%- endif -%}
{%- endfor -%}{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""Writes images, and knows nothing of tools."""
TOKENLESS = 2
"""Rows of the vocabulary for each token: half of them have none."""


def write_bare_qwen2_5_vl(
    folder: Path,
    tokenizer: Any,
    text_template: str = TEXT_TEMPLATE,
    template: str = SHOWS_MEDIA,
    *,
    hidden: int = 32,
) -> None:
    """A token is 28x28 pixels; an image is shown with 1 to 64 of them."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    ids = tokenizer.convert_tokens_to_ids
    head_pairs = hidden // 2 // 2
    text = {
        "vocab_size": TOKENLESS * len(tokenizer), "hidden_size": hidden, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 48, "hidden_act": "silu",
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "initializer_range": 0.02,
        "bos_token_id": ids("<|endoftext|>"), "eos_token_id": ids("<|im_end|>"), "attention_dropout": 0.0,
        "use_cache": True, "use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 2,
    }  # fmt: skip
    section = [head_pairs - 2 * (head_pairs // 3), head_pairs // 3, head_pairs // 3]
    vision = {
        "depth": 2, "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 40, "num_heads": 2,
        "out_hidden_size": hidden, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
        "window_size": 112, "fullatt_block_indexes": [1], "tokens_per_second": 2,
    }  # fmt: skip
    special = _media_ids(tokenizer)
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": section}
    model = _new(
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLConfig(
            text_config={**text, "rope_parameters": rope}, vision_config=vision,
            tie_word_embeddings=False, **special,
        ),
    )  # fmt: skip
    flat = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl",
        **text, **special,
        "rope_theta": 1e6, "rope_scaling": {"type": "mrope", "mrope_section": section},
        "tie_word_embeddings": False, "torch_dtype": "bfloat16", "transformers_version": "4.41.2",
        "vision_config": {**vision, "in_chans": 3, "spatial_patch_size": 14},
    }  # fmt: skip
    old_names = (("model.visual.", "visual."), ("model.language_model.", "model."))
    _write_shards(folder, _renamed(model, old_names))
    _write_json(
        folder,
        config=flat,
        chat_template={"chat_template": template},
        preprocessor_config={
            "min_pixels": 784, "max_pixels": 50176,
            "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor",
        },
    )  # fmt: skip
    _write_generation(folder, tokenizer)
    _write_tokenizer(folder, tokenizer, text_template)


def write_bare_qwen3_vl(folder: Path, tokenizer: Any, *, template: str, hidden: int = 32) -> None:
    """A token is 32x32 pixels; an image is shown with 1 to 64 of them. `template` is for images and tools."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    text = {
        "vocab_size": TOKENLESS * len(tokenizer), "hidden_size": hidden, "num_hidden_layers": 3,
        "num_attention_heads": 2, "head_dim": hidden // 2, "num_key_value_heads": 1,
        "intermediate_size": 48, "hidden_act": "silu",
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "attention_bias": False,
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    }  # fmt: skip
    section = [hidden // 8, hidden // 16, hidden // 16]
    rope = {"rope_type": "default", "mrope_interleaved": True, "mrope_section": section}
    vision = {
        "depth": 3, "hidden_size": 32, "num_heads": 2, "intermediate_size": 40, "patch_size": 16,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": hidden, "in_channels": 3,
        "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1], "hidden_act": "gelu_pytorch_tanh",
    }  # fmt: skip
    special = _media_ids(tokenizer)
    model = _new(
        Qwen3VLForConditionalGeneration,
        Qwen3VLConfig(
            text_config={**text, "rope_parameters": {**rope, "rope_theta": 5e6}}, vision_config=vision,
            tie_word_embeddings=False, **special,
        ),
    )  # fmt: skip
    nested = {
        "architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl", **special,
        "text_config": {
            **text, "model_type": "qwen3_vl_text", "rope_scaling": rope, "rope_theta": 5e6,
            "dtype": "bfloat16",
        },
        "vision_config": {**vision, "model_type": "qwen3_vl"},
        "tie_word_embeddings": False, "transformers_version": "4.57.0.dev0",
    }  # fmt: skip
    _write_shards(folder, _renamed(model, ()))
    processor = {
        "size": {"shortest_edge": 1024, "longest_edge": 65536}, "patch_size": 16, "temporal_patch_size": 2,
        "merge_size": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Qwen3VLProcessor",
    }  # fmt: skip
    _write_json(
        folder,
        config=nested,
        chat_template={"chat_template": template},
        preprocessor_config={**processor, "image_processor_type": "Qwen2VLImageProcessorFast"},
        video_preprocessor_config={**processor, "video_processor_type": "Qwen3VLVideoProcessor"},
    )
    _write_generation(folder, tokenizer)
    _write_tokenizer(folder, tokenizer, None)


def write_bare_qwen3_5(folder: Path, tokenizer: Any, *, template: str, recurrent: int = 8) -> None:
    """A token is 32x32 pixels; an image is shown with 1 to 64 of them. Three layers in four are recurrent.

    `template` is for images and tools, and has a switch for thinking. Heads of recurrent layers are
    `recurrent` wide.
    """
    import torch
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    rope = {
        "rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25,
        "mrope_interleaved": True, "mrope_section": [2, 1, 1],
    }  # fmt: skip
    text = {
        "vocab_size": TOKENLESS * len(tokenizer), "hidden_size": 32, "num_hidden_layers": 4, "head_dim": 32,
        "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 48, "hidden_act": "silu",
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "attention_bias": False,
        "layer_types": ["linear_attention"] * 3 + ["full_attention"], "rope_parameters": rope,
        "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": recurrent,
        "linear_value_head_dim": recurrent, "linear_conv_kernel_dim": 4, "tie_word_embeddings": True,
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 40, "patch_size": 16,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32, "in_channels": 3,
        "num_position_embeddings": 64, "hidden_act": "gelu_pytorch_tanh",
    }  # fmt: skip
    special = _media_ids(tokenizer)
    model = _new(
        Qwen3_5ForConditionalGeneration,
        Qwen3_5Config(text_config=dict(text), vision_config=vision, tie_word_embeddings=True, **special),
    )
    nested = {
        "architectures": ["Qwen3_5ForConditionalGeneration"], "model_type": "qwen3_5", **special,
        "text_config": {
            **text, "model_type": "qwen3_5_text", "dtype": "bfloat16", "attn_output_gate": True,
            "full_attention_interval": 4, "mamba_ssm_dtype": "float32", "mtp_num_hidden_layers": 1,
        },
        "vision_config": {**vision, "model_type": "qwen3_5", "deepstack_visual_indexes": []},
        "tie_word_embeddings": True, "transformers_version": "5.2.0.dev0",
    }  # fmt: skip
    weights = _renamed(model, ())
    del weights["lm_head.weight"]  # that of the embeddings
    _write_shards(folder, weights | {"mtp.norm.weight": torch.ones(32, dtype=torch.bfloat16)})
    processor = {
        "size": {"shortest_edge": 1024, "longest_edge": 65536}, "patch_size": 16, "temporal_patch_size": 2,
        "merge_size": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Qwen3VLProcessor",
    }  # fmt: skip
    _write_json(
        folder,
        config=nested,
        preprocessor_config={**processor, "image_processor_type": "Qwen2VLImageProcessorFast"},
        video_preprocessor_config={**processor, "video_processor_type": "Qwen3VLVideoProcessor"},
    )
    (folder / "chat_template.jinja").write_text(template)
    _write_generation(folder, tokenizer)
    _write_tokenizer(folder, tokenizer, None)


def _media_ids(tokenizer: Any) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>",
    }  # fmt: skip
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}


def _new(kind: Any, config: Any) -> Any:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(config).to(torch.bfloat16)


def _renamed(model: Any, names: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    out = {}
    for name, tensor in model.state_dict().items():
        old = next((b + name.removeprefix(a) for a, b in names if name.startswith(a)), name)
        out[old] = tensor.contiguous()
    return out


def _write_shards(folder: Path, weights: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    names = sorted(weights)
    files = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    where = {name: files[i >= len(names) // 2] for i, name in enumerate(names)}
    for file in files:
        shard = {name: weights[name] for name in names if where[name] == file}
        save_file(shard, folder / file, metadata={"format": "pt"})
    size = sum(t.numel() * t.element_size() for t in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _write_generation(folder: Path, tokenizer: Any) -> None:
    ids = tokenizer.convert_tokens_to_ids
    generation = {
        "bos_token_id": ids("<|endoftext|>"), "pad_token_id": ids("<|endoftext|>"), "do_sample": True,
        "eos_token_id": [ids("<|im_end|>"), ids("<|endoftext|>")], "repetition_penalty": 1.05,
        "temperature": 1e-6, "transformers_version": "4.49.0",
    }  # fmt: skip
    _write_json(folder, generation_config=generation)


def _write_tokenizer(folder: Path, tokenizer: Any, template: str | None) -> None:
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | ({} if template is None else {"chat_template": template})))


def _write_json(folder: Path, **files: object) -> None:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2))
