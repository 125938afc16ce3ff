"""Steps of decoding at true sizes as CUDA graphs, beside the same kernel by kernel: milliseconds, memory."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from functools import partial
from statistics import median

import torch

from benchmarks.checks.graphs import captured, prompts_of, static_steps_of
from benchmarks.checks.outcome import Checks, Found, Setting, wait
from benchmarks.shapes import random_model
from pixelreasoner.models.graphs import CudaCapture
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.policy.base import CompletionRequest, Sampling
from pixelreasoner.policy.decode_steps import DYNAMIC, DecodeMode
from pixelreasoner.policy.group import GroupPolicy

SHAPES = ("Qwen2.5-VL-7B", "Qwen2.5-VL-3B", "Qwen3.5-9B")
TINY_SHAPES = ("tiny-qwen2.5", "tiny-qwen3.5")
ROWS = ((1, 8), (2, 8), (4, 8))
"""Tasks, and rollouts of each."""
PROMPT, TINY_PROMPT = 5500, 80
STEPS, TINY_STEPS = 24, 8
"""Tokens of a message."""
LEAST_SECONDS = 12.0


def checks(setting: Setting) -> Checks:
    end = time.monotonic() + setting.seconds
    shapes = TINY_SHAPES if setting.tiny else SHAPES
    return {f"{name}: ms of a step": partial(timed, setting, name, end) for name in shapes}


@torch.no_grad()
def timed(setting: Setting, name: str, end: float) -> Found:
    """Median milliseconds of a step, kernel by kernel and as graphs, in turn on the same weights."""
    if time.monotonic() + (0 if setting.tiny else LEAST_SECONDS) > end:
        return {"left out": "the time is nearly over"}
    dtype = torch.bfloat16 if setting.on_card else torch.float32
    model = random_model(name, device=setting.device, dtype=dtype).eval()
    model.requires_grad_(False)
    found: dict[str, object] = {}
    steps = TINY_STEPS if setting.tiny else STEPS
    for tasks, group in ROWS[:1] if setting.tiny or model.recurrent else ROWS:
        if time.monotonic() > end - 4:
            break
        prompts = prompts_of(model, tasks, TINY_PROMPT if setting.tiny else PROMPT)
        limit = Sampling(max_tokens=steps)
        requests = [
            CompletionRequest((prompt,), 100 * i + k, limit)
            for i, prompt in enumerate(prompts)
            for k in range(group)
        ]
        for way, mode in (("single", DYNAMIC), ("graphs", captured(setting))):
            ms, peak, held, n_captured = _timed_session(setting, model, mode, requests)
            found[f"{tasks} x {group}, {way}"] = {
                "ms": median(ms[len(ms) // 2 :]),
                "slowest ms": max(ms[2:]),
                "tokens per second": 1e3 * len(requests) / median(ms[len(ms) // 2 :]),
                "GiB at the highest": peak,
                "MiB of graphs": held,
                "shapes captured": n_captured,
            }
    del model
    gc.collect()
    if setting.on_card:
        torch.cuda.empty_cache()
    return found


def _timed_session(
    setting: Setting, model: VisionLanguageModel, mode: DecodeMode, requests: Sequence[CompletionRequest]
) -> tuple[list[float], float | None, float | None, int]:
    """Milliseconds of the steps in which all decode and none starts; GiB; MiB of graphs; shapes captured."""
    device = setting.device
    if setting.on_card:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    ms: list[float] = []
    done, n_captured, graphs = 0, 0, None
    with GroupPolicy(model, decode_mode=mode).session() as engine:
        for request in requests:
            engine.submit(request)
        while done < len(requests):
            decoding = len(engine._running)
            wait(device)
            start = time.perf_counter()
            done += len(engine.step())
            wait(device)
            if decoding == len(requests):
                ms.append(1e3 * (time.perf_counter() - start))
            steps = static_steps_of(engine)
            if steps is not None:
                n_captured = max(n_captured, steps.n_captured)
                if isinstance(steps._capture, CudaCapture):
                    graphs = max(graphs or 0.0, steps._capture.n_bytes / 2**20)
    peak = torch.cuda.max_memory_allocated(device) / 2**30 if setting.on_card else None
    return ms, peak, graphs, n_captured
