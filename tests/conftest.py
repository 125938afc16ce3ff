"""Tiny checkpoints with random weights, made once per test run.

torch and transformers are imported inside the fixtures: most tests need neither.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from pixelreasoner.chat.chat_format import ChatFormat, PixelBudget
from pixelreasoner.core.media import Picture, Video

# How long an example takes depends on the machine.
settings.register_profile("pixelreasoner", deadline=None)
settings.load_profile("pixelreasoner")

CORPUS = (
    "system\nYou are a helpful assistant.", "user\nassistant\n", "What is the number on the red card?",
    'The sign is tiny. {"name": "crop_image", "arguments": {"bbox_2d": [120, 40, 500, 620]}}',
    'The blue card {"target_frames": [3, 4]}', 'The blue dot {"target_frames": [1, 2]}',
    "Image 2 is the cropped region (40x30 pixels):", "It reads K. \\boxed{K}", "<0.5 seconds>",
)  # fmt: skip

TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "crop_image",
            "description": "Cut a region out.",
            "parameters": {
                "type": "object",
                "properties": {"bbox_2d": {"type": "array"}, "target_image": {"type": "integer"}},
                "required": ["bbox_2d"],
            },
        },
    },
)

_CONTENT = """\
{%- macro show(content) -%}
{%- if content is string -%}{{ content }}
{%- else -%}{%- for part in content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>
{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}{%- endif -%}
{%- endmacro -%}
"""
JSON_TEMPLATE = (
    _CONTENT
    + """\
{%- if tools -%}
{{- '<|im_start|>system\\n' -}}
{%- if messages[0].role == 'system' -%}{{ show(messages[0].content) + '\\n\\n' }}{%- endif -%}
{{- 'Functions at hand, as JSON:\\n<tools>' -}}
{%- for tool in tools -%}{{- '\\n' -}}{{- tool | tojson -}}{%- endfor -%}
{{- '\\n</tools>\\nCall one like this:\\n<tool_call>\\n{"name": ..., "arguments": ...}\\n</tool_call>' -}}
{{- '<|im_end|>\\n' -}}
{%- elif messages[0].role == 'system' -%}
{{- '<|im_start|>system\\n' + show(messages[0].content) + '<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{{- '<|im_start|>user\\n<tool_response>\\n' + show(message.content) + '\\n</tool_response><|im_end|>\\n' -}}
{%- elif message.role != 'system' -%}
{{- '<|im_start|>' + message.role + '\\n' + show(message.content) + '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
)
"""Lists the tools as JSON and wraps their results, as the templates of Qwen2.5 and Qwen3-VL do."""
DEAF_TEMPLATE = (
    _CONTENT
    + """\
{%- for message in messages -%}
{%- if loop.first and message.role != 'system' -%}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{{- '<|im_start|>' + message.role + '\\n' + show(message.content) + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
)
"""Knows nothing of tools, and brings a system message of its own, as that of Qwen2.5-VL."""
XML_TEMPLATE = (
    _CONTENT
    + """\
{%- if tools -%}
{{- '<|im_start|>system\\nFunctions at hand, as JSON:\\n<tools>' -}}
{%- for tool in tools -%}{{- '\\n' -}}{{- tool | tojson -}}{%- endfor -%}
{{- '\\n</tools>\\nCall one like this:\\n<tool_call>\\n<function=name>\\n<parameter=key>\\nvalue' -}}
{{- '\\n</parameter>\\n</function>\\n</tool_call>' -}}
{%- if messages[0].role == 'system' -%}{{ '\\n\\n' + show(messages[0].content) | trim }}{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- elif messages[0].role == 'system' -%}
{{- '<|im_start|>system\\n' + show(messages[0].content) | trim + '<|im_end|>\\n' -}}
{%- endif -%}
{%- set last = namespace(question=-1) -%}
{%- for message in messages -%}{%- if message.role == 'user' -%}
{%- set last.question = loop.index0 -%}
{%- endif -%}{%- endfor -%}
{%- for message in messages -%}
{%- set content = show(message.content) | trim -%}
{%- if message.role == 'tool' -%}
{{- '<|im_start|>user\\n<tool_response>\\n' + content + '\\n</tool_response><|im_end|>\\n' -}}
{%- elif message.role == 'assistant' -%}
{{- '<|im_start|>assistant\\n' -}}
{%- set thoughts = message.reasoning_content or '' -%}
{%- if not thoughts and '</think>' in content -%}
{%- set thoughts = content.split('</think>')[0] -%}
{%- set content = content.split('</think>')[-1].lstrip('\\n') -%}
{%- endif -%}
{%- if loop.index0 > last.question -%}
{{- '<think>\\n' + thoughts | trim + '\\n</think>\\n\\n' -}}
{%- endif -%}
{{- content + '<|im_end|>\\n' -}}
{%- elif message.role != 'system' -%}
{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n<think>\\n' -}}
{%- if enable_thinking is defined and not enable_thinking -%}{{- '\\n</think>\\n\\n' -}}{%- endif -%}
{%- endif -%}
"""
)
"""Has a switch for thinking, and drops the thoughts before the last question, as that of Qwen3.5."""


def _budget(low: int, high: int) -> PixelBudget:
    return PixelBudget(min_pixels=low * low, max_pixels=high * high)


CHAT_FORMAT = ChatFormat(image=_budget(16, 48), crop=_budget(16, 32), video_frame=_budget(8, 24))


@pytest.fixture(scope="session")
def qwen3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-VL checkpoint with deepstack, as `new_checkpoint` writes it; a token is 8x8 pixels."""
    import torch

    from pixelreasoner.nano.scratch import Architecture, new_checkpoint

    torch.set_num_threads(1)  # for models this small, threads cost more than they give
    folder = tmp_path_factory.mktemp("qwen3")
    sizes = Architecture(
        vocab_size=1536, hidden_size=32, layers=3, heads=2, kv_heads=1, intermediate_size=48,
        vision_hidden_size=32, vision_depth=3, vision_intermediate_size=40, patch_size=4, position_grid=8,
        deepstack_layers=(0, 1),
    )  # fmt: skip
    new_checkpoint(folder, architecture=sizes, chat_format=CHAT_FORMAT, corpus=CORPUS, seed=0)
    return folder


@pytest.fixture(scope="session")
def qwen25_folder(tmp_path_factory: pytest.TempPathFactory, qwen3_folder: Path) -> Path:
    """A Qwen2.5-VL checkpoint of the same tokenizer and token size; windows of 4x4 tokens."""
    import torch
    from transformers import AutoTokenizer, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    folder = tmp_path_factory.mktemp("qwen25")
    tokenizer = AutoTokenizer.from_pretrained(qwen3_folder)
    tokenizer.chat_template = DEAF_TEMPLATE
    tokenizer.save_pretrained(folder)
    CHAT_FORMAT.save(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28], "patch_size": 4})
    )
    ids = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 48,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]},
            "bos_token_id": None, "eos_token_id": ids("<|im_end|>"), "pad_token_id": ids("<|endoftext|>"),
        },
        vision_config={
            "depth": 3, "hidden_size": 32, "num_heads": 2, "intermediate_size": 40, "patch_size": 4,
            "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32, "window_size": 32,
            "fullatt_block_indexes": [1], "tokens_per_second": 2,
        },
        image_token_id=ids("<|image_pad|>"), video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"), vision_end_token_id=ids("<|vision_end|>"),
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def qwen35_folder(tmp_path_factory: pytest.TempPathFactory, qwen3_folder: Path) -> Path:
    """A Qwen3.5 checkpoint of the same tokenizer and token size: three recurrent layers, one of attention."""
    import torch
    from transformers import AutoTokenizer, Qwen3_5Config, Qwen3_5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("qwen35")
    tokenizer = AutoTokenizer.from_pretrained(qwen3_folder)
    tokenizer.chat_template = XML_TEMPLATE
    tokenizer.save_pretrained(folder)
    CHAT_FORMAT.model_copy(update={"observation_role": "tool"}).save(folder)
    (folder / "preprocessor_config.json").write_bytes(
        (qwen3_folder / "preprocessor_config.json").read_bytes()
    )
    ids = tokenizer.convert_tokens_to_ids
    config = Qwen3_5Config(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 4, "head_dim": 16,
            "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 48,
            "linear_num_key_heads": 1, "linear_num_value_heads": 2, "linear_key_head_dim": 8,
            "linear_value_head_dim": 8, "max_position_embeddings": 8192,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5,
                "mrope_interleaved": True, "mrope_section": [2, 1, 1],
            },
            "eos_token_id": ids("<|im_end|>"), "pad_token_id": ids("<|endoftext|>"),
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 40, "patch_size": 4,
            "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32,
            "num_position_embeddings": 64,
        },
        image_token_id=ids("<|image_pad|>"), video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"), vision_end_token_id=ids("<|vision_end|>"),
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Qwen3_5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture(params=["qwen3", "qwen25"])
def attending_folder(request: pytest.FixtureRequest) -> Path:
    """Each checkpoint whose layers all attend."""
    return request.getfixturevalue(f"{request.param}_folder")


@pytest.fixture(params=["qwen3", "qwen25", "qwen35"])
def folder(request: pytest.FixtureRequest) -> Path:
    """Each family's checkpoint in turn."""
    return request.getfixturevalue(f"{request.param}_folder")


@pytest.fixture(scope="session")
def load_model() -> Callable:
    """Loads a folder in float64, each once; weights that start at zero are made random."""
    import torch

    from pixelreasoner.models.vlm import VisionLanguageModel

    loaded = {}

    def load(folder: Path) -> VisionLanguageModel:
        if folder not in loaded:
            model = VisionLanguageModel.load(folder, dtype=torch.float64).eval()
            generator = torch.Generator().manual_seed(1)
            for name, parameter in model.named_parameters():
                if "deepstack" in name and not parameter.detach().any():
                    parameter.data.normal_(0.0, 0.2, generator=generator)
            loaded[folder] = model
        return loaded[folder]

    return load


@pytest.fixture
def model(folder: Path, load_model: Callable):
    return load_model(folder)


@pytest.fixture
def renderer(model):
    return model.renderer


@pytest.fixture(scope="session")
def tools() -> tuple:
    """One operation, as a toolbox describes it."""
    return TOOLS


@pytest.fixture(scope="session")
def xml_template() -> str:
    return XML_TEMPLATE


@pytest.fixture(scope="session")
def json_template() -> str:
    return JSON_TEMPLATE


@pytest.fixture(scope="session")
def picture() -> Callable[..., Picture]:
    """Noise of a given size: `picture(width, height, seed)`."""

    def make(width: int, height: int, seed: int = 0) -> Picture:
        pixels = np.random.default_rng([seed, width, height]).integers(
            0, 256, (height, width, 3), dtype=np.uint8
        )
        return Picture(pixels)

    return make


@pytest.fixture(scope="session")
def video(picture: Callable[..., Picture]) -> Callable[..., Video]:
    """`video(n_frames, width, height, fps)`."""

    def make(n_frames: int, width: int = 24, height: int = 16, fps: float = 1.0) -> Video:
        frames = tuple(picture(width, height, seed) for seed in range(n_frames))
        return Video(frames, tuple(i / fps for i in range(n_frames)))

    return make


@pytest.fixture
def parquet() -> Callable[..., None]:
    """Writes a table with the types that the library `datasets` gives its features."""
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")

    def write(path: Path, rows: Sequence[Mapping[str, Any]], types: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        schema = pa.schema(list(types.items()))
        pa.parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, row_group_size=2)

    return write


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this test run, which the processes it starts share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIXELREASONER_CACHE", os.fspath(folder := tmp_path_factory.mktemp("cache")))
        yield folder
