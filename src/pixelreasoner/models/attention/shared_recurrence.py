"""Linear attention (Gated DeltaNet) over rows in which the completions of a group share their prompt.

A row is laid out as in `models.attention.shared_prefix`: each group's prompt once, then its completions, side
by side. A recurrent layer must not read it from left to right: a completion would go on from its sibling. It
goes on from its prompt, by two states that the prompt leaves behind:

* of the convolution, the inputs of the last W - 1 tokens, W being its width;
* of the delta rule, the matrix S that has taken up all keys and values::

    S_t = exp(g_t) S_{t-1} (I - beta_t k_t k_t^T) + beta_t v_t k_t^T        out_t = S_t q_t

The prompt is read once. Its states are handed to all completions of the group, which are read together as
one batch, and the gradients of all of them flow back through the states into the prompt's pass. Whatever acts
on each token alone (projections, gates, norm) is computed for the whole row at once. Padding on the right of
a batch changes nothing before it.

Shape legend: T tokens of the row, P of a prompt, N of the longest completion, B completions, C channels of
the convolution, W its width, H value heads, K key width, V value width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers.models.qwen3_5 import modeling_qwen3_5 as qwen3_5

from pixelreasoner.models.attention.shared_prefix import GroupSpan, PrefixPlan


@dataclass(frozen=True)
class TokenInputs:
    """What the recurrence of one layer reads, token by token."""

    mixed_TC: Tensor
    """Queries, keys and values before the convolution, side by side."""
    decay_TH: Tensor
    """g, the logarithm of what is kept of S: at most 0."""
    write_TH: Tensor
    """beta, how much of a value is written: between 0 and 1."""

    def split(self, lengths: list[int]) -> list[TokenInputs]:
        """Consecutive pieces of these lengths."""
        parts = zip(*(x.split(lengths) for x in (self.mixed_TC, self.decay_TH, self.write_TH)), strict=True)
        return [TokenInputs(*part) for part in parts]


class SharedPrefixDeltaNet(qwen3_5.Qwen3_5GatedDeltaNet):
    """The layer of transformers, by the plan that a pass brings along; without one it is as it was."""

    delta_rule: Any = staticmethod(qwen3_5.torch_chunk_gated_delta_rule)
    """Of rows with a plan."""

    def forward(
        self,
        hidden_states: Tensor,
        cache_params: Any = None,
        attention_mask: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """Hidden states [1, T, D] of a row with a plan (`shared_prefix`), to the same shape."""
        shared_prefix: PrefixPlan | None = options.get("shared_prefix")
        if shared_prefix is None:
            for plan in ("cascade", "attention_rule"):  # of the layers that attend
                options.pop(plan, None)
            return super().forward(hidden_states, cache_params, attention_mask, **options)
        assert cache_params is None, "a row with a plan is read whole"
        hidden_TD = hidden_states[0]
        inputs = _token_inputs(self, hidden_TD)
        groups = inputs.split([group.n_tokens for group in shared_prefix.groups])
        out_THV = torch.cat(
            [_read_group(self, *pair) for pair in zip(groups, shared_prefix.groups, strict=True)]
        )
        gate_THV = self.in_proj_z(hidden_TD).unflatten(-1, (-1, self.head_v_dim))
        out = self.norm(out_THV.flatten(0, 1), gate_THV.flatten(0, 1))
        return self.out_proj(out.view(1, len(hidden_TD), -1))


def use_shared_recurrence(decoder: Any) -> None:
    """Switch the recurrent layers of a transformers decoder, in place; without a plan the numbers stay."""
    for layer in decoder.layers:
        module: nn.Module | None = getattr(layer, "linear_attn", None)
        if module is not None:
            module.__class__ = SharedPrefixDeltaNet  # the weights and their names stay


def _token_inputs(layer: Any, hidden_TD: Tensor) -> TokenInputs:
    decay_TH = -layer.A_log.float().exp() * F.softplus(layer.in_proj_a(hidden_TD).float() + layer.dt_bias)
    return TokenInputs(layer.in_proj_qkv(hidden_TD), decay_TH, layer.in_proj_b(hidden_TD).sigmoid())


def _read_group(layer: Any, inputs: TokenInputs, group: GroupSpan) -> Tensor:
    """The outputs [T, H, V] of a group's tokens: its prompt, then its completions."""
    prompt, *branches = inputs.split([group.prompt, *group.branches])
    width = layer.conv_kernel_size
    start_WC = F.pad(prompt.mixed_TC, (0, 0, width - 1, 0))
    out, state = _read(layer, start_WC[None], prompt.decay_TH[None], prompt.write_TH[None], None)
    if not branches:
        return out[0]
    # What the convolution still sees of the prompt; zeros where that is shorter.
    seen_WC = start_WC[len(start_WC) - (width - 1) :]
    mixed = pad_sequence([torch.cat([seen_WC, branch.mixed_TC]) for branch in branches], batch_first=True)
    decay = pad_sequence([branch.decay_TH for branch in branches], batch_first=True)
    write = pad_sequence([branch.write_TH for branch in branches], batch_first=True)
    states = state.expand(len(branches), -1, -1, -1).contiguous()
    out_BNHV, _ = _read(layer, mixed, decay, write, states)
    rows = [out_N[:length] for out_N, length in zip(out_BNHV, group.branches, strict=True)]
    return torch.cat([out[0], *rows])


def _read(
    layer: Any, mixed_BMC: Tensor, decay_BNH: Tensor, write_BNH: Tensor, state_BHKV: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Outputs [B, N, H, V] and last states [B, H, K, V] of sequences that go on from `state_BHKV`.

    `mixed_BMC` begins with the W - 1 tokens before each sequence, M = W - 1 + N.
    """
    kernel = layer.conv1d.weight
    mixed_BCN = F.conv1d(mixed_BMC.mT.to(kernel.dtype), kernel, layer.conv1d.bias, groups=layer.conv_dim)
    mixed_BNC = qwen3_5.ACT2FN[layer.activation](mixed_BCN).to(mixed_BMC.dtype).mT
    sizes = [layer.key_dim, layer.key_dim, layer.value_dim]
    widths = [layer.head_k_dim, layer.head_k_dim, layer.head_v_dim]
    query, key, value = (
        x.unflatten(-1, (-1, width)) for x, width in zip(mixed_BNC.split(sizes, -1), widths, strict=True)
    )
    repeats = layer.num_v_heads // layer.num_k_heads
    if repeats > 1:
        query, key = (x.repeat_interleave(repeats, dim=2) for x in (query, key))
    return layer.delta_rule(
        query,
        key,
        value,
        g=decay_BNH,
        beta=write_BNH,
        initial_state=state_BHKV,
        output_final_state=True,
        use_qk_l2norm_in_kernel=True,
    )
