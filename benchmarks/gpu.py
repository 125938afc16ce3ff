"""Training on groups of true size with a model of true size, on one accelerator, within its minutes.

Weights are random and in bfloat16; optimiser states are left out. The prompt is shared (`shared`), or every
attempt is a row of its own (`padded`, one attempt at a time, so without padding). Both run on the same
weights, with gradient checkpointing. Utilisation counts what the work needs, at the rate of matrix products
measured between the runs. A peak is what is held beside the weights and their gradients: those are as large
for everyone.

A case is begun only if what it needs fits the minutes that are left, by the time of its first pass.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from statistics import median

import torch
from torch import Tensor

from benchmarks.cases import TRUE_CASES, Case, random_group, work_of
from benchmarks.memory import peak_of
from benchmarks.methods.base import Settings, largest_differences, layouts_of, with_behavior
from benchmarks.methods.ours import Padded, Shared
from benchmarks.profile import where_time_goes
from benchmarks.shapes import random_model
from benchmarks.timing import MatrixProducts, interleaved
from benchmarks.train import MATRIX_PRODUCTS, OURS, Record, efficiency, machine, quiet, timed_record
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.models.roofline import DecoderSize, VisionSize
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.scored_group import ScoredGroup

PASSES = 4
"""Passes over padded rows that a case takes at least after its first, as shared ones take less: one for the
differences, one that is timed, and the shared ones of both and of the profile."""
PRODUCT_ROWS = 8192
"""Rows of the products that give the rate: enough to fill an accelerator."""


@dataclass(frozen=True)
class GpuPlan:
    """What `python -m benchmarks gpu` measures."""

    model: str = "Qwen2.5-VL-7B"
    cases: tuple[Case, ...] = TRUE_CASES
    settings: Settings = field(default_factory=lambda: Settings(rows=1, recompute=True))
    device: str = "cuda"
    rounds: int = 3
    minutes: float = 9.0
    """For everything; what does not fit any more is left out, and said so."""


def run(plan: GpuPlan) -> Iterator[Record]:
    """Records as they are made.

    Raises:
        ConfigError: there is no such device.
    """
    quiet()
    device = torch.device(plan.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no CUDA device here; run this where there is one")
    name, end = plan.model, time.perf_counter() + 60 * plan.minutes
    yield machine(device) | {"left_out": []}
    model = None
    for n_done, case in enumerate(plan.cases):
        left = end - time.perf_counter()
        if left <= 0:
            yield _note(f"{name}, {case.name}: left out, the time is over")
            continue
        share = left / (len(plan.cases) - n_done)
        try:
            model = model or random_model(name, device=device, dtype=_dtype(device))
            yield from _measure(name, model, case, plan, share, end)
        except torch.OutOfMemoryError:
            yield _note(f"{name}, {case.name}: left out, it does not fit the device's memory")
            if model is not None:
                model.zero_grad(set_to_none=True)
        _free(device)


def _measure(
    name: str, model: VisionLanguageModel, case: Case, plan: GpuPlan, seconds: float, end: float
) -> Iterator[Record]:
    """The records of a case, in about `seconds`; a note, if it cannot be done until `end`."""
    start = time.perf_counter()
    settings, device = plan.settings, torch.device(plan.device)
    group = random_group(case, model.renderer)
    # Whatever the first pass gives is taken for the sampler's log-probabilities; it also warms the device up.
    first = time.perf_counter()
    group = with_behavior(group, Padded(model, group, settings).run())
    taken_first = time.perf_counter() - first
    if time.perf_counter() + PASSES * taken_first > end:
        yield _note(
            f"{name}, {case.name}: left out, a pass takes {taken_first:.0f} s and the time is nearly over"
        )
        return
    made = {"shared": Shared(model, group, settings), "padded": Padded(model, group, settings)}
    work = work_of(group, layouts_of(group, model.renderer))
    decoder, vision = DecoderSize.of(model.decoder.config), VisionSize.of(model.vision.config)
    differences, peaks = _differences_and_peaks(model, group, settings, device)
    model.zero_grad(set_to_none=True)
    profile = where_time_goes(made[OURS].run, device)
    model.zero_grad(set_to_none=True)
    products = MatrixProducts(
        decoder, min(work.tokens, PRODUCT_ROWS), device=device, dtype=_dtype(device), repeats=4
    )
    products()
    tasks: dict[str, Callable[[], object]] = {m: method.run for m, method in made.items()}
    left = min(start + seconds, end) - time.perf_counter()
    taken = interleaved(
        tasks | {MATRIX_PRODUCTS: products}, rounds=plan.rounds, least=1, seconds=left, device=device
    )
    rate = products.flops / median(taken.pop(MATRIX_PRODUCTS))
    for method, times in taken.items():
        yield timed_record(times, taken[OURS]) | {
            "kind": "gpu", "model": name, "method": method, "case": case.name, **asdict(case),
            **asdict(settings), "dtype": str(_dtype(device)).removeprefix("torch."),
            "tokens": made[method].tokens, "loss_tokens": work.loss_tokens, **peaks[method],
            "largest_logp_difference": differences[0], "largest_gradient_difference": differences[1],
            "profile": profile if method == OURS else {},
            **efficiency(work, decoder, vision, settings, method, median(times), rate),
        }  # fmt: skip


def _differences_and_peaks(
    model: VisionLanguageModel, group: ScoredGroup, settings: Settings, device: torch.device
) -> tuple[tuple[float, float], dict[str, dict[str, int]]]:
    """How far the two methods are apart in this precision, and the bytes each needs beside weights and
    gradients, and for the gradients.
    """
    found: dict[str, tuple[Tensor, dict[str, Tensor]]] = {}
    peaks: dict[str, dict[str, int]] = {}
    for name, kind in (("padded", Padded), ("shared", Shared)):
        method = kind(model, group, settings)
        model.zero_grad(set_to_none=True)
        kept: list[Tensor] = []
        peak = peak_of(lambda: kept.append(method.run()), device)  # noqa: B023 (called at once)
        gradients = sum(g.nbytes for g in method.gradients().values())
        # On a processor pages that were freed before may have been used again.
        peaks[name] = {"peak_bytes": max(0, peak - gradients), "gradient_bytes": gradients}
        few = {n: g.cpu() for n, g in method.gradients().items() if n in _compared(model)}
        found[name] = kept[0], few
    return largest_differences(*found["shared"], *found["padded"]), peaks


def _compared(model: VisionLanguageModel) -> set[str]:
    """Matrices at both ends of the decoder; all of them would have to be held twice."""
    last = len(model.decoder.layers) - 1
    parts = ("self_attn.k_proj.weight", "self_attn.v_proj.weight", "mlp.down_proj.weight")
    return {f"model.language_model.layers.{i}.{part}" for i in (0, last) for part in parts}


def _dtype(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _note(text: str) -> Record:
    return {"kind": "note", "text": text}
