"""One pass of cascade attention is one softmax per token over its prompt, its sequence and itself.

The reference writes out, token by token, the keys and values a token may see, and takes their softmax.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from pixelreasoner.models.attention.cascade_attention import (
    CascadePlan,
    Piece,
    cascade_attention,
)
from pixelreasoner.models.attention.cascade_decoding import Decoding, DecodingRows, DecodingShape
from pixelreasoner.models.kv_pool import KeyValuePool

QUERY_HEADS, HEADS, WIDTH = 4, 2, 8
SCALE = WIDTH**-0.5
PROMPTS = (5, 9)
"""Tokens of the prompts in rows 0 and 1 of their pool; row 2 is filled in the pass."""
NEW_PROMPT = 6
HELD = (0, 3, 7, 2)
"""Tokens that the decoding rows of the pool of sequences hold."""
PROMPT_OF = (1, 0, 1, 1)
CPU = torch.device("cpu")


def module():
    return SimpleNamespace(layer_idx=0, num_key_value_groups=QUERY_HEADS // HEADS, is_causal=True)


def pool(rows, tokens, generator, dtype):
    """Full of numbers, also where no token lies: a mask that lets them through is found out."""
    made = KeyValuePool(n_layers=1)
    made.reserve(rows, tokens)
    held = made.layer(0, torch.zeros(HEADS, 1, WIDTH, dtype=dtype))
    held.copy_(torch.randn(held.shape, generator=generator, dtype=torch.float64))
    return made


def softmax_over(q_HD, keys_KSD, values_KSD):
    keys, values = (x.double().repeat_interleave(QUERY_HEADS // HEADS, 0) for x in (keys_KSD, values_KSD))
    weights_HS = (torch.einsum("hd,hsd->hs", q_HD.double(), keys) * SCALE).softmax(-1)
    return torch.einsum("hs,hsd->hd", weights_HS, values)


def one_pass(dtype, decoding=True):
    """What the pass gives, and what it should: [N, H, D] each."""
    generator = torch.Generator().manual_seed(0)
    prompts, sequences = pool(3, 9, generator, dtype), pool(6, 20, generator, dtype)
    held_B, prompt_B = (HELD, PROMPT_OF) if decoding else ((), ())
    pieces = [
        Piece(sequences, slot=4, start=3, n_tokens=4, prompt=(0, PROMPTS[0])),
        Piece(prompts, slot=2, start=0, n_tokens=NEW_PROMPT),
        Piece(sequences, slot=5, start=0, n_tokens=2, prompt=(2, NEW_PROMPT)),  # of the piece before
        Piece(sequences, slot=len(HELD) - 1, start=2, n_tokens=1, prompt=(1, PROMPTS[1])) if not decoding
        else Piece(sequences, slot=4, start=7, n_tokens=1, prompt=(0, PROMPTS[0])),
    ]  # fmt: skip
    plan = CascadePlan(prompts, sequences, Decoding(held_B, prompt_B, PROMPTS), pieces, CPU)
    n = len(held_B) + sum(piece.n_tokens for piece in pieces)
    shapes = ((1, QUERY_HEADS, n, WIDTH), (1, HEADS, n, WIDTH), (1, HEADS, n, WIDTH))
    q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes)
    out, _ = cascade_attention(module(), q, k, v, scaling=SCALE, plan=plan)

    # (pool, row, tokens it holds, prompt) of every new token, one after the other.
    tokens = [
        (sequences, row, held, (p, PROMPTS[p]))
        for row, (held, p) in enumerate(zip(held_B, prompt_B, strict=True))
    ]
    for piece in pieces:
        tokens += [(piece.pool, piece.slot, piece.start + t, piece.prompt) for t in range(piece.n_tokens)]
    expected = []
    for at, (held_by, row, held, prompt) in enumerate(tokens):
        seen = held_by.layer(0)[:, row, :, : held + 1]
        torch.testing.assert_close(seen[:, :, held], torch.stack([k[0, :, at], v[0, :, at]]))
        if prompt is not None:
            seen = torch.cat([prompts.layer(0)[:, prompt[0], :, : prompt[1]], seen], 2)
        expected.append(softmax_over(q[0, :, at], *seen))
    return out[0], torch.stack(expected)


@pytest.mark.parametrize("decoding", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_a_pass_is_a_softmax_per_token(dtype, tolerance, decoding):
    out, expected = one_pass(dtype, decoding)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=tolerance)


def test_bfloat16_rounds_values_and_not_scores():
    """The reference is exact, on the rounded numbers: what is left is the rounding of weights and output."""
    out, expected = one_pass(torch.bfloat16)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.double(), expected, rtol=2**-7, atol=2**-7)


def test_scores_far_apart_do_not_overflow():
    """Weights of a sequence and its prompt differ by e^1000: the output is the heavier part's value."""
    for sign in (1.0, -1.0):
        prompts, sequences = KeyValuePool(1), KeyValuePool(1)
        for kept in (prompts, sequences):
            kept.reserve(1, 1)
            kept.layer(0, torch.zeros(1, 1, WIDTH))
        prompts.layer(0)[0, 0, :, 0], prompts.layer(0)[1, 0, :, 0] = -500.0 * sign, 1.0
        plan = CascadePlan(prompts, sequences, Decoding((0,), (0,), (1,)), (), CPU)
        ones = torch.ones(1, 1, 1, WIDTH)
        alone = SimpleNamespace(layer_idx=0)
        out, _ = cascade_attention(
            alone, ones, ones * 500 * sign, ones * 2, scaling=1 / WIDTH, plan=plan
        )  # fmt: skip
        assert out.unique().tolist() == [2.0 if sign > 0 else 1.0]


def test_what_the_plan_does_not_cover_is_refused():
    plan = CascadePlan(KeyValuePool(1), KeyValuePool(1), Decoding((), (), ()), (), CPU)
    q = torch.zeros(1, 1, 0, WIDTH)
    call = {"scaling": 1.0, "plan": plan}
    with pytest.raises(AssertionError, match="evaluation"):
        cascade_attention(module(), q, q, q, dropout=0.1, **call)
    with pytest.raises(AssertionError, match="window"):
        cascade_attention(module(), q, q, q, sliding_window=4, **call)


class TestPaddedSteps:
    """A step of decoding in a larger shape: the same, and what waits in rows behind it stays."""

    def steps(self, dtype, shape_of):
        generator = torch.Generator().manual_seed(0)
        prompts, sequences = pool(4, 64, generator, dtype), pool(6, 128, generator, dtype)
        decoding = Decoding(HELD, PROMPT_OF, PROMPTS)
        exact = DecodingShape.of(decoding)
        shape = shape_of(exact, prompts, sequences)
        before = sequences.layer(0).clone()
        n, rows = len(HELD), shape.rows
        shapes = ((QUERY_HEADS, n, WIDTH), (HEADS, n, WIDTH), (HEADS, n, WIDTH))
        q, k, v = (torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes)
        q, k, v = (torch.cat([x, x[:, : rows - n] + 1], 1)[None] for x in (q, k, v))
        packed = torch.from_numpy(shape.packed(decoding))
        plan = DecodingRows.of(prompts, sequences, shape, packed, padded=rows > n)
        out, _ = cascade_attention(module(), q, k, v, scaling=SCALE, plan=plan)
        return out[0, :n], before, sequences.layer(0)

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
    def test_the_same_as_in_their_own_shape(self, dtype, tolerance):
        exact, _, held = self.steps(dtype, lambda shape, prompts, sequences: shape)
        larger = DecodingShape(rows=6, prompts=4, most=4, sequence_tokens=64, prompt_tokens=64)
        for shape_of in (lambda *_: larger, lambda shape, *pools: shape.padded(*pools)):
            out, before, after = self.steps(dtype, shape_of)
            torch.testing.assert_close(out, exact, rtol=0, atol=tolerance)
            assert torch.equal(after, held)
            assert torch.equal(after[:, len(HELD) :], before[:, len(HELD) :])

    def test_few_shapes_hold_all(self):
        """Of 64 rows at most, 8 prompts at most and pools of 1,024 tokens."""
        pools = KeyValuePool(1), KeyValuePool(1)
        for each, rows in zip(pools, (8, 64), strict=True):
            each.reserve(rows, 1024)
        seen = set()
        for rows in range(1, 65):
            for tokens in range(1, 1025, 7):
                shape = DecodingShape(rows, 1, rows, tokens, tokens)
                padded = shape.padded(*pools)
                assert padded.rows >= rows
                assert padded.most >= rows
                assert tokens <= padded.sequence_tokens < max(64, 2 * tokens) + 64
                seen.add((padded.rows, padded.sequence_tokens))
        assert sorted({rows for rows, _ in seen}) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
        assert sorted({tokens for _, tokens in seen}) == [64, 128, 256, 512, 1024]
