"""Sampling at true sizes by the group engine: seconds of a step, tokens per second, memory.

Weights are random: hardly a message ends before its limit, so that all rollouts are sampled side by side.
"""

from __future__ import annotations

import gc
import time
from functools import partial
from statistics import median

import torch

from benchmarks.cases import Case, random_group
from benchmarks.checks.outcome import Checks, Found, Setting, wait
from benchmarks.shapes import random_model
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.loss_mask import prompt_of
from pixelreasoner.policy.base import CompletionRequest, Sampling
from pixelreasoner.policy.group import GroupPolicy

SHAPES = ("Qwen2.5-VL-3B", "Qwen2.5-VL-7B", "Qwen3-VL-4B", "Qwen3.5-9B")
TINY_SHAPES = ("tiny-qwen2.5", "tiny-qwen3.5")
ROWS = ((1, 8), (2, 8), (4, 8))
"""Tasks, and rollouts of each."""
PROMPT, TINY_PROMPT = 5500, 80
SAMPLED, TINY_SAMPLED = 64, 12
LEAST_SECONDS = 20.0


def checks(setting: Setting) -> Checks:
    end = time.monotonic() + setting.seconds
    shapes = TINY_SHAPES if setting.tiny else SHAPES
    return {f"{name}: sampling": partial(sampling, setting, name, end) for name in shapes}


@torch.no_grad()
def sampling(setting: Setting, name: str, end: float) -> Found:
    """One session for each number of rows."""
    if time.monotonic() + (0 if setting.tiny else LEAST_SECONDS) > end:
        return {"left out": "the time is nearly over"}
    device = setting.device
    dtype = torch.bfloat16 if setting.on_card else torch.float32
    model = random_model(name, device=device, dtype=dtype).eval()
    model.requires_grad_(False)
    layers = model.decoder.config.num_hidden_layers
    weights = sum(p.numel() * p.element_size() for p in model.decoder.layers.parameters())
    found: dict[str, object] = {"layers": layers, "GB of layers": weights / 1e9}
    _session(model, setting, 1, 2)  # the first run is never like the others
    for tasks, group in ROWS[:1] if setting.tiny else ROWS:
        if time.monotonic() > end - 5:
            break
        found[f"{tasks} x {group}"] = _session(model, setting, tasks, group)
    del model
    gc.collect()
    if setting.on_card:
        torch.cuda.empty_cache()
    return found


def _session(model: VisionLanguageModel, setting: Setting, tasks: int, group: int) -> dict[str, object]:
    device, layers = setting.device, model.decoder.config.num_hidden_layers
    if setting.on_card:
        torch.cuda.reset_peak_memory_stats(device)
    case = Case(TINY_PROMPT if setting.tiny else PROMPT, 300, 30, group=1, image=0.9)
    limit = Sampling(max_tokens=TINY_SAMPLED if setting.tiny else SAMPLED)
    prompts = [prompt_of(random_group(case, model.renderer, seed=s).trajectories[0]) for s in range(tasks)]
    requests = [
        CompletionRequest((prompt,), 100 * i + k, limit)
        for i, prompt in enumerate(prompts)
        for k in range(group)
    ]
    reading: list[float] = []
    steps: list[float] = []
    n_done, n_tokens = 0, 0
    with GroupPolicy(model).session() as engine:
        for request in requests:
            engine.submit(request)
        wait(device)
        start = before = time.perf_counter()
        while n_done < len(requests):
            done = engine.step()
            wait(device)
            now = time.perf_counter()
            n_done += len(done)
            n_tokens += sum(len(completion.ids) for _, completion in done)
            # Prompts are read in the first steps: as many as hold 16,384 tokens in each.
            (steps if len(reading) >= -(-tasks * PROMPT // 16_384) else reading).append(now - before)
            before = now
        whole = time.perf_counter() - start
    step = median(steps)
    return {
        "ms of a step": 1e3 * step,
        "ms per layer": 1e3 * step / layers,
        "tokens per second": len(requests) / step,
        "with the prompts read": n_tokens / whole,
        "seconds of reading": sum(reading),
        "GiB at the highest": torch.cuda.max_memory_allocated(device) / 2**30 if setting.on_card else None,
    }
