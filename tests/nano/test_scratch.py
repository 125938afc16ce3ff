"""A new checkpoint is an ordinary Hugging Face folder."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.hermes import format_call
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.nano.scratch import (
    SPECIAL_TOKENS,
    Architecture,
    _config,
    new_checkpoint,
    train_tokenizer,
)

TINY = Architecture(
    vocab_size=1536, hidden_size=32, layers=1, heads=2, kv_heads=1, intermediate_size=32,
    vision_hidden_size=16, vision_depth=1, vision_heads=1, vision_intermediate_size=16, patch_size=4,
    position_grid=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(qwen3_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(qwen3_folder)


def test_stock_transformers_loads_it_and_generates(qwen3_folder, tokenizer, picture):
    from transformers import AutoImageProcessor, AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(qwen3_folder).eval()
    pixels = AutoImageProcessor.from_pretrained(qwen3_folder)(
        picture(40, 24).pixels.copy(), return_tensors="pt"
    )
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}],
        tokenize=False, add_generation_prompt=True,
    )  # fmt: skip
    ids = tokenizer(text.replace("<|image_pad|>", "<|image_pad|>" * 15), return_tensors="pt")
    kinds = (ids["input_ids"] == model.config.image_token_id).int()
    out = model.generate(**ids, **pixels, mm_token_type_ids=kinds, max_new_tokens=4, do_sample=False)
    n_prompt = ids["input_ids"].shape[1]
    assert torch.equal(out[:, :n_prompt], ids["input_ids"])
    assert 1 <= out.shape[1] - n_prompt <= 4


def test_auto_processor(qwen3_folder, picture):
    """Loads the video processor along, which needs torchvision."""
    pytest.importorskip("torchvision")
    from transformers import AutoProcessor, Qwen3VLProcessor

    processor = AutoProcessor.from_pretrained(qwen3_folder)
    assert isinstance(processor, Qwen3VLProcessor)
    messages = [{"role": "user", "content": [{"type": "image", "image": picture(40, 24).pixels.copy()}]}]
    out = processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
    assert out["image_grid_thw"].tolist() == [[1, 6, 10]]
    video = processor.video_processor
    # 24 x 24 pixels a frame, 8 x 8 a token.
    assert (video.cap_pixels_per_frame, video.max_video_tokens, video.patch_size) == (True, 9, 4)


def test_every_coordinate_is_one_token(tokenizer):
    for number in range(1001):
        assert len(tokenizer(str(number))["input_ids"]) == 1
    text = format_call(ToolCall("crop_image", {"bbox_2d": [120, 40, 500, 1000]}))
    tokens = [tokenizer.decode([i]) for i in tokenizer(text)["input_ids"]]
    assert {"120", "40", "500", "1000"} <= set(tokens)
    assert tokens[0] == "<tool_call>"
    assert tokens[-1] == "</tool_call>"


def test_any_text_survives_the_tokenizer(tokenizer):
    text = 'Größe: {"a": [1, 23456]} \\boxed{½}\n\t 🙂 snake_case_2 <tool_call>\n'
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_calls_are_words_and_media_are_control_tokens(tokenizer):
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    assert {"<|im_end|>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>"} <= special
    assert not {"<tool_call>", "</tool_call>"} & special


def test_too_small_a_vocabulary():
    with pytest.raises(ConfigError, match="vocabulary of 600"):
        train_tokenizer(["some words"], 600)


def test_it_ends_where_qwen_ends(qwen3_folder, tokenizer):
    generation = json.loads((qwen3_folder / "generation_config.json").read_text())
    assert generation["eos_token_id"] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert ChatFormat.load(qwen3_folder).image.max_pixels == 48 * 48


def test_the_seed_decides_and_the_global_generator_is_left_alone(tmp_path):
    from safetensors.torch import load_file

    torch.manual_seed(7)
    expected = torch.rand(3)
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(7)
        new_checkpoint(
            tmp_path / name, architecture=TINY, chat_format=ChatFormat(), corpus=["a b"], seed=seed
        )
        assert torch.equal(torch.rand(3), expected)
        weights.append(load_file(tmp_path / name / "model.safetensors"))
    key = "model.language_model.layers.0.mlp.up_proj.weight"
    assert torch.equal(weights[0][key], weights[1][key])
    assert not torch.equal(weights[0][key], weights[2][key])


@pytest.mark.parametrize("head_dim", [16, 32, 64, 80, 128])
def test_time_height_and_width_share_the_frequencies(head_dim):
    """The three shares add up, and the interleaved ones of height and width fit in as often as they say."""

    class Vocabulary:
        def __len__(self):
            return 10

        def get_vocab(self):
            return dict.fromkeys(SPECIAL_TOKENS, 0)

    sizes = TINY.model_copy(update={"hidden_size": 2 * head_dim})
    time, height, width = _config(sizes, Vocabulary()).text_config.rope_parameters["mrope_section"]
    assert time + height + width == head_dim // 2
    positions = np.arange(head_dim // 2)
    assert len(positions[slice(1, 3 * height, 3)]) == height
    assert len(positions[slice(2, 3 * width, 3)]) == width
