"""A whole step of reinforcement learning on one group, by every method that can do one.

`group` is this package's fast path (group engine, shared prefix), `local` its plain one (a batch per turn,
padded rows), `trl` the training step of GRPOTrainer. All roll out the same script (`benchmarks.rollout`) and
end with the same optimiser.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

import torch

from benchmarks.cases import Case
from benchmarks.methods.ours import Padded, Shared
from benchmarks.methods.rollouts import POLICIES, Ours, ScriptedGroups
from benchmarks.methods.steps import OurStep, StepMethod, TrlStep
from benchmarks.rollout import (
    STEP_CASES,
    RolloutPlan,
    each_case,
    peak_in_child,
    rollout_work,
    scripted,
)
from benchmarks.shapes import SMALL, stock_model
from benchmarks.timing import MatrixProducts, interleaved
from benchmarks.train import CPU, MATRIX_PRODUCTS, Record, timed_record
from pixelreasoner.models.roofline import DecoderSize, VisionSize, rollout_flops, training_flops
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel

PLAN = RolloutPlan(cases=STEP_CASES, rounds=8, minutes=7.0)
QUICK = RolloutPlan(models=SMALL[:1], cases=STEP_CASES[:1], rounds=2, minutes=0.5)


def run(plan: RolloutPlan) -> Iterator[Record]:
    """Records as they are made: the machine, then each case by each method."""
    return each_case(plan, _measure)


def _measure(name: str, case: Case, methods: Sequence[str], rounds: int, seconds: float) -> Iterator[Record]:
    with tempfile.TemporaryDirectory(prefix="pixelreasoner-bench-") as folder:
        model, groups = scripted(name, case)
        save_checkpoint(model, Path(folder))
        made = {m: step_method(m, model, Path(folder), groups) for m in methods}
    decoder, vision = DecoderSize.of(model.decoder.config), VisionSize.of(model.vision.config)
    # All methods roll out the same script: one of them counts the tokens of all.
    counts = Ours(model, groups, POLICIES["local"]).run()
    work = rollout_work(counts, case, model)
    needed = rollout_flops(work, decoder, vision)
    needed += training_flops(work, decoder, vision, shared=True, frozen=False)
    products = MatrixProducts(decoder, work.tokens, device=CPU, dtype=torch.float32)
    products()
    for method in made.values():
        method.run()
        method.rollout_seconds.clear()
    tasks: dict[str, Callable[[], object]] = {m: method.run for m, method in made.items()}
    taken = interleaved(tasks | {MATRIX_PRODUCTS: products}, rounds=rounds, seconds=seconds, device=CPU)
    rate = products.flops / median(taken.pop(MATRIX_PRODUCTS))
    for method, times in taken.items():
        yield timed_record(times, taken[methods[0]]) | {
            "kind": "step", "model": name, "method": method, "case": case.name, **asdict(case),
            **asdict(counts), "rollout_seconds": median(made[method].rollout_seconds),
            "peak_bytes": peak_in_child("step", name, method, case), "flops_needed": needed,
            "matrix_flops_per_second": rate, "bound_seconds": needed / rate,
            "utilisation": needed / rate / median(times),
        }  # fmt: skip


def step_method(name: str, model: VisionLanguageModel, folder: Path, groups: ScriptedGroups) -> StepMethod:
    """The method of that name, on weights of its own read from `folder`: they are updated.

    Raises:
        MissingExtraError: its package is not installed.
    """
    if name == "trl":
        return TrlStep(stock_model(folder), model.renderer, groups)
    own = VisionLanguageModel.load(folder)
    return OurStep(own, groups, POLICIES[name], Shared if name == "group" else Padded)
