"""Attention on ragged pieces, forward and backward as two plain calls: PyTorch's flash attention, or chunks.

`scaled_dot_product_attention` keeps the log-sum-exp of its scores to itself; the operators under it hand
it out and take it back. Their names and layouts differ from device to device: this file is the only one
that knows them. Where there are none (fp32 on CUDA, other devices), `Chunked` does the same with matrix
products, a bounded number of scores at a time.

Shape legend: T tokens, H query heads, K key-value heads, D head width; L (for queries) and M (for keys)
tokens of one piece, g = H / K query heads for each key-value head.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import torch
from torch import Tensor

LOG = logging.getLogger("pixelreasoner")


@dataclass(frozen=True)
class Region:
    """Pieces of a row that attend to pieces of a row, each to its own one.

    The queries of all pieces lie side by side, and so do their keys.
    """

    q_start: int
    k_start: int
    q_lengths: tuple[int, ...]
    """Tokens of each piece, none of them empty."""
    k_lengths: tuple[int, ...]
    causal: bool
    """Whether a token attends to none after it in its piece; queries and keys are then the same tokens."""

    @property
    def queries(self) -> slice:
        return slice(self.q_start, self.q_start + sum(self.q_lengths))

    @property
    def keys(self) -> slice:
        return slice(self.k_start, self.k_start + sum(self.k_lengths))

    def pieces(self) -> Iterator[tuple[slice, slice]]:
        """Where each piece's queries and keys lie, counted from the start of the region."""
        q = k = 0
        for q_length, k_length in zip(self.q_lengths, self.k_lengths, strict=True):
            yield slice(q, q + q_length), slice(k, k + k_length)
            q, k = q + q_length, k + k_length

    @cached_property
    def _offsets(self) -> dict[torch.device, tuple[Tensor, Tensor]]:
        return {}

    def offsets(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Where pieces begin and end, for queries and for keys: int32 [pieces + 1] each."""
        # All layers of a pass ask for them, and each copy to a device waits for it.
        if device not in self._offsets:
            ends = ([0, *itertools.accumulate(x)] for x in (self.q_lengths, self.k_lengths))
            q, k = (torch.tensor(x, dtype=torch.int32, device=device) for x in ends)
            self._offsets[device] = (q, k)
        return self._offsets[device]


class Kernel(Protocol):
    """Attention within the pieces of a region; all tensors hold the tokens of that region only."""

    def forward(
        self, q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor, region: Region, scale: float
    ) -> tuple[Tensor, Tensor]:
        """What each query reads [T, H, D], and the log-sum-exp of its scores [T, H], at least float32."""
        ...

    def backward(
        self, grad_THD: Tensor, q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor,
        out_THD: Tensor, lse_TH: Tensor, region: Region, scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Gradients of queries, keys and values, given the outcome of `forward`.

        `out_THD` and `lse_TH` may be those of a larger softmax of which the region is a part.
        """
        ...


class CpuFlash:
    """One call per piece. Keys are seen by each query head through a view: none is copied."""

    dtypes = frozenset({torch.float64, torch.float32, torch.bfloat16, torch.float16})
    operators = (
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention_for_cpu_backward",
    )

    def forward(
        self, q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor, region: Region, scale: float
    ) -> tuple[Tensor, Tensor]:
        out_THD = torch.empty_like(q_THD, memory_format=torch.contiguous_format)
        lse_TH = q_THD.new_empty(q_THD.shape[:2], dtype=torch.promote_types(q_THD.dtype, torch.float32))
        n_kv = k_TKD.shape[1]
        for at, of in region.pieces():
            q, k, v = _split(q_THD[at], n_kv), _spread(k_TKD[of], q_THD), _spread(v_TKD[of], q_THD)
            out_gKLD, lse_gKL = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                q, k, v, 0.0, region.causal, scale=scale
            )
            _split(out_THD[at], n_kv).copy_(out_gKLD)
            _split(lse_TH[at, :, None], n_kv).copy_(lse_gKL[..., None])
        return out_THD, lse_TH

    def backward(
        self, grad_THD: Tensor, q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor,
        out_THD: Tensor, lse_TH: Tensor, region: Region, scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        dq_THD, dk_TKD, dv_TKD = (
            torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q_THD, k_TKD, v_TKD)
        )
        n_kv = k_TKD.shape[1]
        for at, of in region.pieces():
            grad, q, out = (_split(x[at], n_kv) for x in (grad_THD, q_THD, out_THD))
            k, v = _spread(k_TKD[of], q_THD), _spread(v_TKD[of], q_THD)
            lse = _split(lse_TH[at, :, None], n_kv)[..., 0]
            dq, dk_gKMD, dv_gKMD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                grad, q, k, v, out, lse, 0.0, region.causal, scale=scale
            )
            _split(dq_THD[at], n_kv).copy_(dq)
            dk_TKD[of] = dk_gKMD.sum(0).transpose(0, 1)
            dv_TKD[of] = dv_gKMD.sum(0).transpose(0, 1)
        return dq_THD, dk_TKD, dv_TKD


def _split(x_LHD: Tensor, n_kv: int) -> Tensor:
    """A view [g, K, L, D]: query heads that share a key-value head stand apart, as rows of a batch."""
    return x_LHD.unflatten(1, (n_kv, -1)).permute(2, 1, 0, 3)


def _spread(x_MKD: Tensor, q_THD: Tensor) -> Tensor:
    """A view [g, K, M, D] of keys or values, the same for each of the g heads."""
    return x_MKD.transpose(0, 1).expand(q_THD.shape[1] // x_MKD.shape[1], -1, -1, -1)


class CudaFlash:
    """All pieces of a region in one call of the variable-length kernel, which knows shared key heads."""

    dtypes = frozenset({torch.bfloat16, torch.float16})
    operators = ("_flash_attention_forward", "_flash_attention_backward")
    max_width = 192
    """Of a head; wider ones have a backward kernel on some cards only."""
    capability = (8, 0)
    """The least of a card: Ampere."""

    def forward(
        self, q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor, region: Region, scale: float
    ) -> tuple[Tensor, Tensor]:
        out_THD, lse_HT, *_ = torch.ops.aten._flash_attention_forward(
            q_THD, k_TKD, v_TKD, *region.offsets(q_THD.device), max(region.q_lengths), max(region.k_lengths),
            0.0, region.causal, False, scale=scale,
        )  # fmt: skip
        return out_THD, lse_HT.transpose(0, 1)

    def backward(
        self, grad_THD: Tensor, q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor,
        out_THD: Tensor, lse_TH: Tensor, region: Region, scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        # The state of a random generator; without dropout nobody reads it.
        no_seed = torch.zeros(2, dtype=torch.uint64, device=q_THD.device)
        no_offset = torch.empty(0, device=q_THD.device)
        return torch.ops.aten._flash_attention_backward(
            grad_THD, q_THD, k_TKD, v_TKD, out_THD, lse_TH.transpose(0, 1).contiguous(),
            *region.offsets(q_THD.device), max(region.q_lengths), max(region.k_lengths),
            0.0, region.causal, no_seed, no_offset, scale=scale,
        )  # fmt: skip


CHUNK_SCORES = 2**26
"""The most scores that `Chunked` computes at one time: a quarter of a gigabyte in fp32, a few times over."""
CHUNK_QUERIES = 1024
"""The most queries of a chunk: a causal piece then skips about half of its scores."""


class Chunked:
    """Matrix products and a softmax, a chunk of queries at a time: exact on any device, in any dtype.

    Products and sums are in float32, or in float64 where the states are. Memory grows with the length of a
    row, not with its square. R = g * L: query heads that share a key-value head are rows of one product, so
    that no key is repeated.
    """

    def forward(
        self, q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor, region: Region, scale: float
    ) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(q_THD.dtype, torch.float32)
        out_THD = torch.empty_like(q_THD, memory_format=torch.contiguous_format)
        lse_TH = q_THD.new_empty(q_THD.shape[:2], dtype=wide)
        for at, of in self._chunks(region, q_THD.shape[1]):
            scores_KRM = _scores(q_THD[at], k_TKD[of], region, scale)
            lse_KR1 = scores_KRM.logsumexp(-1, keepdim=True)
            out_KRD = scores_KRM.sub_(lse_KR1).exp_() @ _by_head(v_TKD[of], wide)
            n = at.stop - at.start
            out_THD[at] = _unfolded(out_KRD, n).to(out_THD.dtype)
            lse_TH[at] = _unfolded(lse_KR1, n)[..., 0]
        return out_THD, lse_TH

    def backward(
        self, grad_THD: Tensor, q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor,
        out_THD: Tensor, lse_TH: Tensor, region: Region, scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        wide = torch.promote_types(q_THD.dtype, torch.float32)
        dq_THD = torch.empty_like(q_THD, memory_format=torch.contiguous_format)
        dk_TKD, dv_TKD = (
            torch.zeros_like(x, dtype=wide, memory_format=torch.contiguous_format) for x in (k_TKD, v_TKD)
        )
        n_kv = k_TKD.shape[1]
        for at, of in self._chunks(region, q_THD.shape[1]):
            q, grad, out = (_folded(x[at], n_kv, wide) for x in (q_THD, grad_THD, out_THD))
            lse_KR1 = _folded(lse_TH[at, :, None], n_kv, wide)
            p_KRM = _scores(q_THD[at], k_TKD[of], region, scale).sub_(lse_KR1).exp_()
            dv_TKD[of] += (p_KRM.mT @ grad).transpose(0, 1)
            ds_KRM = grad @ _by_head(v_TKD[of], wide).mT
            ds_KRM.sub_((grad * out).sum(-1, keepdim=True)).mul_(p_KRM).mul_(scale)
            dq_THD[at] = _unfolded(ds_KRM @ _by_head(k_TKD[of], wide), at.stop - at.start).to(dq_THD.dtype)
            dk_TKD[of] += (ds_KRM.mT @ q).transpose(0, 1)
        return dq_THD, dk_TKD.to(k_TKD.dtype), dv_TKD.to(v_TKD.dtype)

    def _chunks(self, region: Region, n_heads: int) -> Iterator[tuple[slice, slice]]:
        """Where the queries of each chunk and the keys they may attend to lie, within the region."""
        for q, k in region.pieces():
            n_keys = k.stop - k.start
            n = max(1, min(CHUNK_QUERIES, CHUNK_SCORES // (n_heads * n_keys)))
            for start in range(q.start, q.stop, n):
                stop = min(start + n, q.stop)
                last = k.start + stop - q.start if region.causal else k.stop
                yield slice(start, stop), slice(k.start, last)


def _scores(q_LHD: Tensor, k_MKD: Tensor, region: Region, scale: float) -> Tensor:
    """[K, R, M]; in a causal piece the chunk's own tokens are the last of the keys."""
    wide = torch.promote_types(q_LHD.dtype, torch.float32)
    n = len(q_LHD)
    scores_KRM = (_folded(q_LHD, k_MKD.shape[1], wide) @ _by_head(k_MKD, wide).mT).mul_(scale)
    if region.causal:
        later_LL = torch.ones(n, n, dtype=torch.bool, device=q_LHD.device).triu_(1)
        scores_KRM.unflatten(1, (-1, n))[..., -n:].masked_fill_(later_LL, -torch.inf)
    return scores_KRM


def _folded(x_LHD: Tensor, n_kv: int, dtype: torch.dtype) -> Tensor:
    """[K, R, D]: query heads that share a key-value head stand in the rows of one product."""
    return x_LHD.unflatten(1, (n_kv, -1)).permute(1, 2, 0, 3).flatten(1, 2).to(dtype)


def _unfolded(x_KRD: Tensor, n_queries: int) -> Tensor:
    """[K, R, D] back to [L, H, D]."""
    return x_KRD.unflatten(1, (-1, n_queries)).permute(2, 0, 1, 3).flatten(1, 2)


def _by_head(x_MKD: Tensor, dtype: torch.dtype) -> Tensor:
    """[K, M, D]."""
    return x_MKD.transpose(0, 1).to(dtype)


def kernel_for(q: Tensor) -> Kernel:
    """The kernel for queries [..., D] of this device, dtype and width."""
    kernel = kernel_on(q.device.type, q.dtype, q.shape[-1])
    if q.is_cuda and torch.cuda.get_device_capability(q.device) < CudaFlash.capability:
        kernel = Chunked()
    _log_once(type(kernel).__name__, str(q.device.type), str(q.dtype).removeprefix("torch."), q.shape[-1])
    return kernel


def kernel_on(device: str, dtype: torch.dtype, width: int) -> Kernel:
    """The kernel for a dtype and heads of a width on a type of device, as far as this PyTorch tells."""
    return _flash_on(device, dtype, width) or Chunked()


def _flash_on(device: str, dtype: torch.dtype, width: int) -> Kernel | None:
    """PyTorch's flash attention, where there is one."""
    match device:
        case "cpu" if dtype in CpuFlash.dtypes and _present(CpuFlash.operators):
            return CpuFlash()
        case "cuda" if dtype in CudaFlash.dtypes and width % 8 == 0 and width <= CudaFlash.max_width:
            known = _present(CudaFlash.operators) and torch.version.hip is None
            return CudaFlash() if known else None
        case _:
            return None


@lru_cache
def _log_once(kernel: str, device: str, dtype: str, width: int) -> None:
    LOG.info("shared-prefix attention: %s on %s, %s, heads of width %d", kernel, device, dtype, width)


@lru_cache
def _present(operators: tuple[str, ...]) -> bool:
    """Whether this build of PyTorch has them: they are not part of its public interface."""
    return {f"aten::{operator}" for operator in operators} <= set(torch._C._dispatch_get_all_op_names())
