"""One forward and backward pass over a group, by every method: time, memory, and how far apart they are.

All methods get the same weights, the same group and the same loss, and take turns in one process. Their
numbers are compared with those of transformers' own forward pass in float64, one trajectory at a time.
"""

from __future__ import annotations

import logging
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from torch import Tensor

from benchmarks.cases import CPU_CASES, QUICK_CASES, Case, random_group, smaller, work_of
from benchmarks.memory import measured_in_child
from benchmarks.methods.base import Method, Settings, largest_differences, layouts_of, with_behavior
from benchmarks.methods.ours import Padded, Shared
from benchmarks.methods.stock import Stock
from benchmarks.methods.trl_trainer import Trl
from benchmarks.profile import where_time_goes
from benchmarks.shapes import SMALL, stock_model, write_checkpoint
from benchmarks.timing import MatrixProducts, Ratio, interleaved
from pixelreasoner.core.provenance import package_version, processor
from pixelreasoner.models.roofline import DecoderSize, VisionSize, Work, training_flops
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.scored_group import ScoredGroup

OURS = "shared"
METHODS = (OURS, "padded", "stock", "trl")
MATRIX_PRODUCTS = "matrix products"
CPU = torch.device("cpu")
Record = dict[str, Any]


@dataclass(frozen=True)
class TrainPlan:
    """What `python -m benchmarks train` measures."""

    models: tuple[str, ...] = SMALL
    cases: tuple[Case, ...] = CPU_CASES
    methods: tuple[str, ...] = METHODS
    settings: Settings = field(default_factory=Settings)
    rounds: int = 10
    minutes: float = 6.0
    """For all cases together, memory apart; a case gets at least two rounds."""
    groups: tuple[int, ...] = (2, 4, 16)
    """Group sizes whose memory is measured too, for the first case of the first model."""


QUICK = TrainPlan(models=SMALL[:1], cases=QUICK_CASES, rounds=3, minutes=0.5, groups=())


def run(plan: TrainPlan) -> Iterator[Record]:
    """Records as they are made: the machine, then each case by each method, then memory over group size."""
    quiet()
    methods = available(plan.methods)
    yield machine(CPU) | {"left_out": sorted(set(plan.methods) - set(methods))}
    seconds = 60 * plan.minutes / (len(plan.models) * len(plan.cases))
    for index, name in enumerate(plan.models):
        groups = [smaller(plan.cases[0], g) for g in (plan.groups if index == 0 else ())]
        with tempfile.TemporaryDirectory(prefix="pixelreasoner-bench-") as scratch:
            folder = write_checkpoint(name, Path(scratch))
            for case in plan.cases:
                yield from _measure(name, folder, case, methods, plan, seconds)
            for method in methods:
                yield from _memory(name, folder, [*plan.cases, *groups], method, plan.settings)


def _measure(
    name: str, folder: Path, case: Case, methods: Sequence[str], plan: TrainPlan, seconds: float
) -> Iterator[Record]:
    model = VisionLanguageModel.load(folder)
    end = time.perf_counter() + seconds
    group, reference = _with_reference(folder, model, case, plan.settings)
    work = work_of(group, layouts_of(group, model.renderer))
    decoder, vision = DecoderSize.of(model.decoder.config), VisionSize.of(model.vision.config)
    made = {m: training_method(m, folder, model, group, plan.settings) for m in methods}
    products = MatrixProducts(decoder, work.tokens, device=CPU, dtype=torch.float32)
    products()
    differences = {
        name: largest_differences(method.run(), method.gradients(), *reference)
        for name, method in made.items()
    }
    tasks: dict[str, Callable[[], object]] = {m: method.run for m, method in made.items()}
    left = end - time.perf_counter()
    taken = interleaved(tasks | {MATRIX_PRODUCTS: products}, rounds=plan.rounds, seconds=left, device=CPU)
    rate = products.flops / median(taken.pop(MATRIX_PRODUCTS))
    for method, times in taken.items():
        yield timed_record(times, taken[methods[0]]) | {
            "kind": "train", "model": name, "method": method, "case": case.name, **asdict(case),
            **asdict(plan.settings), "tokens": made[method].tokens, "loss_tokens": work.loss_tokens,
            "largest_logp_difference": differences[method][0],
            "largest_gradient_difference": differences[method][1],
            "profile": where_time_goes(made[method].run, CPU),
            **efficiency(work, decoder, vision, plan.settings, method, median(times), rate),
        }  # fmt: skip


def _with_reference(
    folder: Path, model: VisionLanguageModel, case: Case, settings: Settings
) -> tuple[ScoredGroup, tuple[Tensor, dict[str, Tensor]]]:
    """The group as if the reference had sampled it, and the reference's log-probabilities and gradients."""
    group = random_group(case, model.renderer)
    exact = stock_model(folder, dtype=torch.float64)
    one_by_one = Settings(frozen=settings.frozen, rows=1)
    group = with_behavior(group, Stock(exact, model.renderer, group, one_by_one).log_probs())
    reference = Stock(exact, model.renderer, group, one_by_one)
    return group, (reference.run(), reference.gradients())


def _memory(
    name: str, folder: Path, cases: Sequence[Case], method: str, settings: Settings
) -> Iterator[Record]:
    request = {
        "of": "train", "folder": str(folder), "method": method, "cases": [asdict(case) for case in cases],
        "settings": asdict(settings), "threads": torch.get_num_threads(),
    }  # fmt: skip
    for case, found in zip(cases, measured_in_child(request), strict=True):
        yield {
            "kind": "memory", "model": name, "method": method, "case": case.name, **asdict(case),
            **asdict(settings), "unique_tokens": case.unique_tokens, **found,
        }  # fmt: skip


def training_method(
    name: str, folder: Path, model: VisionLanguageModel, group: ScoredGroup, settings: Settings
) -> Method:
    """The method of that name on the weights of `folder`, which `model` holds too.

    Raises:
        MissingExtraError: its package is not installed.
    """
    match name:
        case "shared":
            return Shared(model, group, settings)
        case "padded":
            return Padded(model, group, settings)
        case "stock":
            return Stock(stock_model(folder), model.renderer, group, settings)
        case _:
            assert name == "trl", name
            return Trl(stock_model(folder), model.renderer, group, settings)


def available(methods: Sequence[str]) -> list[str]:
    """Those whose packages are installed."""
    return [m for m in methods if m != "trl" or package_version("trl")]


def timed_record(times: list[float], ours: list[float]) -> Record:
    """The times, and how many times as long they are as ours."""
    ratio = Ratio.of(times, ours)
    return {
        "seconds": median(times), "seconds_of_rounds": times,
        "times_ours": ratio.of_medians, "times_ours_least": ratio.least, "times_ours_most": ratio.most,
    }  # fmt: skip


def efficiency(
    work: Work,
    decoder: DecoderSize,
    vision: VisionSize,
    settings: Settings,
    method: str,
    seconds: float,
    rate: float,
) -> Record:
    """Operations, the time they would take at `rate` per second, and the share of it that was needed.

    `utilisation` counts only what the work needs: a method that computes a prompt eight times gains nothing.
    """
    frozen = settings.frozen
    needed = training_flops(work, decoder, vision, shared=True, frozen=frozen)
    computed = training_flops(
        work, decoder, vision, shared=method == OURS, frozen=frozen, recompute=settings.recompute
    )
    return {
        "flops_needed": needed, "flops_computed": computed, "matrix_flops_per_second": rate,
        "bound_seconds": needed / rate, "utilisation": needed / rate / seconds,
    }  # fmt: skip


def machine(device: torch.device) -> Record:
    """Where it is measured, and with which versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "kind": "machine", "device": name, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0], "python": platform.python_version(), "torch": torch.__version__,
        "transformers": transformers.__version__, "trl": package_version("trl"),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }  # fmt: skip


def quiet() -> None:
    """No progress bars and no advice from the libraries that are compared."""
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    logging.getLogger("trl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(trl|accelerate|transformers|torch)\..*")
