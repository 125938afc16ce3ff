"""Rules of the operation counts, against values worked out by hand."""

from types import SimpleNamespace

import pytest

from pixelreasoner.models.roofline import (
    DecoderSize,
    VisionSize,
    Work,
    rollout_flops,
    span,
    training_flops,
)

DECODER = DecoderSize(
    layers=2, width=4, intermediate=8, heads=2, kv_heads=1, head_width=3, vocabulary=10
)  # fmt: skip
# 4x6 query, 4x3 key and value, 6x4 output; 4x8 gate and up, 8x4 down.
WEIGHTS = 2 * (24 + 12 + 12 + 24 + 32 + 32 + 32)
VISION = VisionSize(
    layers=3, width=4, intermediate=8, gated=False, patch_values=6, merge=4, out_width=5,
    full_layers=1, window=2, mergers=2,
)  # fmt: skip
WORK = Work(
    prompt=3, attempts=(2, 1), loss_tokens=3, prompt_images=(4,), attempt_images=((), (8,))
)  # fmt: skip


def test_contexts_add_up():
    assert span(0, 3) == 1 + 2 + 3
    assert span(5, 3) == 6 + 7 + 8


def test_linear_layers_cost_two_operations_per_weight_and_token():
    assert DECODER.linear(7) == 2 * 7 * WEIGHTS
    assert DECODER.head(7) == 2 * 7 * 4 * 10


def test_attention_costs_four_operations_per_layer_and_context_and_channel():
    assert DECODER.attention(10) == 4 * 2 * (2 * 3) * 10


def test_a_patch_passes_blocks_embedding_and_a_quarter_of_each_merger():
    block = 4 * 4 * 4 + 2 * 4 * 8
    merger = (16 * 16 + 16 * 5) / 4
    assert VISION.linear(8) == 2 * 8 * (6 * 4 + 3 * block + 2 * merger)


def test_patches_see_their_image_in_full_layers_and_their_window_in_the_others():
    assert VISION.attention((4, 8)) == 4 * 4 * (1 * (16 + 64) + 2 * (4 * 2 + 8 * 2))


def test_a_rollout_computes_every_token_but_the_last_ones_and_every_picture_once():
    context = (1 + 2 + 3) + 4
    expected = 2 * 4 * WEIGHTS + 4 * 2 * 6 * context + VISION.forward((4, 8)) + 2 * 3 * 40
    assert rollout_flops(WORK, DECODER, VISION) == expected


@pytest.mark.parametrize(("frozen", "vision_passes"), [(False, 3), (True, 1)])
def test_training_is_three_passes_and_shares_the_prompt(frozen, vision_passes):
    forward = 2 * 4 * WEIGHTS + 4 * 2 * 6 * (6 + 4)
    expected = 3 * forward + vision_passes * VISION.forward((4, 8)) + 3 * 2 * 3 * 40
    assert training_flops(WORK, DECODER, VISION, shared=True, frozen=frozen) == expected


def test_without_sharing_the_prompt_and_its_picture_are_computed_for_every_attempt():
    forward = 2 * (5 + 4) * WEIGHTS + 4 * 2 * 6 * (15 + 10)
    expected = 3 * (forward + VISION.forward((4, 4, 8))) + 3 * 2 * 3 * 40
    assert training_flops(WORK, DECODER, VISION, shared=False, frozen=False) == expected


def test_recomputation_is_a_fourth_pass_but_not_of_the_head():
    plain = training_flops(WORK, DECODER, VISION, shared=True, frozen=False)
    again = training_flops(WORK, DECODER, VISION, shared=True, frozen=False, recompute=True)
    assert again - plain == 2 * 4 * WEIGHTS + 4 * 2 * 6 * 10 + VISION.forward((4, 8))


def test_sizes_come_from_a_config():
    text = SimpleNamespace(
        num_hidden_layers=2, hidden_size=4, intermediate_size=8, num_attention_heads=2,
        num_key_value_heads=1, head_dim=3, vocab_size=10,
    )  # fmt: skip
    assert DecoderSize.of(text) == DECODER
    text.head_dim = None
    assert DecoderSize.of(text).head_width == 2
    vision = {
        "depth": 3, "hidden_size": 4, "intermediate_size": 8, "in_channels": 3, "temporal_patch_size": 2,
        "patch_size": 2, "spatial_merge_size": 2, "out_hidden_size": 5,
    }  # fmt: skip
    windowed = VisionSize.of(SimpleNamespace(**vision, fullatt_block_indexes=[2], window_size=4))
    assert (windowed.gated, windowed.full_layers, windowed.window, windowed.mergers) == (True, 1, 4, 1)
    deep = VisionSize.of(SimpleNamespace(**vision, deepstack_visual_indexes=[0, 1]))
    assert (deep.gated, deep.full_layers, deep.mergers, deep.patch_values) == (False, 3, 3, 24)


def test_recurrent_layers_have_no_contexts_and_gated_ones_wider_queries():
    config = SimpleNamespace(
        num_hidden_layers=4, hidden_size=8, intermediate_size=16, num_attention_heads=2,
        num_key_value_heads=1, head_dim=3, vocab_size=10,
        layer_types=["linear_attention"] * 3 + ["full_attention"],
        linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=5, linear_value_head_dim=6,
    )  # fmt: skip
    size = DecoderSize.of(config)
    mlp = 3 * 8 * 16
    attends = 8 * 12 + 2 * 8 * 3 + 6 * 8 + mlp
    # Queries and keys of 2 x 5, values of 4 x 6; a gate as wide as the values; two gates of each head.
    recurs = 8 * (10 + 10 + 24) + 8 * 24 + 2 * 8 * 4 + 24 * 8 + mlp
    assert size.weights == attends + 3 * recurs
    assert size.linear(7) == 2 * 7 * size.weights + 6 * 7 * 3 * 4 * 5 * 6
    assert size.attention(10) == 4 * 1 * (2 * 3) * 10


def test_the_weights_of_a_recurrent_decoder_are_those_that_transformers_makes():
    import torch
    from torch import nn
    from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
    from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5TextModel

    config = Qwen3_5TextConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, linear_num_key_heads=2, linear_num_value_heads=4,
        linear_key_head_dim=8, linear_value_head_dim=8,
    )  # fmt: skip
    with torch.device("meta"):
        model = Qwen3_5TextModel(config)
    linear = [m.weight.numel() for m in model.layers.modules() if isinstance(m, nn.Linear)]
    assert DecoderSize.of(config).weights == sum(linear)
