"""Profile of a step: the self time of its operators, by family."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

FAMILIES = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::_addmm", "aten::bmm", "aten::baddbmm", "aten::mv"),
    "attention": ("aten::_scaled_dot_product", "aten::_flash_attention", "aten::_efficient_attention"),
    "softmax of the vocabulary": ("aten::_log_softmax", "aten::logsumexp", "aten::exp", "aten::gather"),
    "copies": ("aten::copy_", "aten::cat", "aten::index", "aten::clone", "aten::fill_", "aten::zero_"),
}
"""Prefixes of operator names, by family."""
OTHER = "other operators"
OUTSIDE = "outside operators"
"""Python, the autograd engine, image processing, waiting."""


def where_time_goes(step: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Return shares of the time of one `step` under the profiler; they add up to one.

    On an accelerator they are the times of its kernels, and `OUTSIDE` is its idle time. The result is empty
    where the driver permits no profiling.
    """
    on_device = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_device else [])]
    with profile(activities=activities) as recorded:
        start = time.perf_counter()
        step()
        if on_device:
            torch.cuda.synchronize(device)
        total = time.perf_counter() - start
    seconds = dict.fromkeys((*FAMILIES, OTHER), 0.0)
    for event in recorded.key_averages():
        if event.key.startswith("aten::"):
            own = event.self_device_time_total if on_device else event.self_cpu_time_total
            seconds[family(event.key)] += own * 1e-6
    if on_device and not any(seconds.values()):
        return {}
    # Intra-operator threads can make the parts of a short step a little longer than the whole.
    total = max(total, sum(seconds.values()))
    shares = {name: part / total for name, part in seconds.items()}
    return shares | {OUTSIDE: 1.0 - sum(shares.values())}


def family(operator: str) -> str:
    """Return the family of an operator such as `aten::addmm`."""
    found = (name for name, starts in FAMILIES.items() if operator.startswith(starts))
    return next(found, OTHER)
