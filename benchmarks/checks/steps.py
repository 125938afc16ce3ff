"""Updates at true sizes through the learner: seconds, and the memory they take against what `doctor` says.

Weights are random. A group is a typical conversation of `doctor`: a picture, and attempts with a crop.
"""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.cases import Case, random_group
from benchmarks.checks.outcome import Checks, Found, Setting, wait
from benchmarks.methods.base import loss_tokens, with_behavior
from benchmarks.shapes import random_model, shape_named, write_description
from pixelreasoner.cli.estimate import CROP_SHARE, PROMPT_WORDS, Conversation, Estimate, estimate
from pixelreasoner.cli.machine import Device, device_for
from pixelreasoner.core.recipe import find_recipe, load_recipe
from pixelreasoner.learn.learner import LearnerConfig
from pixelreasoner.learn.local import LocalLearner
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.loader import dtype_of, make_trainable
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.grpo import GrpoObjective
from pixelreasoner.objectives.objective import Objective
from pixelreasoner.objectives.scored_group import ScoredGroup, imitation
from pixelreasoner.objectives.sft import SftObjective
from pixelreasoner.train.rl import RLConfig
from pixelreasoner.train.sft import SFTConfig

GROUPS = 4
"""Of an RL step; as many conversations as in them are an SFT step."""
LEAST_SECONDS = 25.0
"""That a case needs; what does not fit any more is left out."""


@dataclass(frozen=True)
class Run:
    """What is trained, as a recipe and changes of it."""

    shape: str
    command: str
    recipe: str | None
    """None: the defaults, with `overrides` alone."""
    tokens: int
    """Of a question's picture."""
    completion: int
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        how = self.recipe or "all weights, adamw_8bit"
        lengths = f"picture of {self.tokens} tokens, {self.completion} after it"
        return f"{self.shape}, {self.command} ({how}), {lengths}"


FULL = (
    'model.dtype="bf16"', "model.gradient_checkpointing=true", 'optim.kind="adamw_8bit"',
    "micro_batch_tokens=12288",
)  # fmt: skip
RUNS = (
    Run("Qwen2.5-VL-3B", "rl", "qwen2_5_vl_3b_lora_1gpu/rl", 1000, 1000),
    Run("Qwen3-VL-4B", "rl", None, 1000, 1000, FULL),
    Run("Qwen2.5-VL-3B", "sft", "qwen2_5_vl_3b_lora_1gpu/sft", 1000, 1000),
    Run("Qwen3-VL-4B", "rl", "qwen3_vl_4b_1gpu/rl", 4000, 800),
    Run("Qwen3-VL-4B", "sft", None, 1000, 1000, FULL),
    Run("Qwen2.5-VL-7B", "rl", "qwen2_5_vl_3b_lora_1gpu/rl", 5100, 600),
    Run("Qwen3.5-9B", "rl", "qwen3_5_4b_1gpu/rl", 1000, 600),
)
TINY = (
    Run("tiny-qwen2.5", "rl", "qwen2_5_vl_3b_lora_1gpu/rl", 48, 60),
    Run("tiny-qwen3", "sft", None, 48, 60, FULL),
    Run("tiny-qwen3.5", "rl", "qwen3_5_4b_1gpu/rl", 48, 60),
)
"""Of adapters and of all weights, so that every way to make a learner is gone."""


def checks(setting: Setting) -> Checks:
    end = time.monotonic() + setting.seconds
    runs = TINY if setting.tiny else RUNS
    device = device_for(str(setting.device), lambda kind: kind == "cuda")
    # An estimate takes seconds of Python, which the card need not wait for.
    workers = max(1, min(len(runs), (os.cpu_count() or 1) // 3))
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    return {
        run.name: partial(measured, setting, run, pool.submit(estimated, setting, run, device), end)
        for run in runs
    }


def estimated(setting: Setting, run: Run, device: Device) -> Estimate:
    """What `doctor` says of a run."""
    folder = write_description(run.shape, setting.folder / str(abs(hash(run.name))))
    conversation = Conversation(run.tokens * _factor(run) ** 2, run.completion)
    return estimate(_config(setting, run, folder), device, conversation)


def measured(setting: Setting, run: Run, doctor: Future[Estimate], end: float) -> Found:
    """Two updates, of which the second is measured; the first makes the optimiser's states."""
    if time.monotonic() + (0 if setting.tiny else LEAST_SECONDS) > end:
        return {"left out": "the time is nearly over"}
    try:
        with _alone(setting.device):
            found = _updates(setting, run, _config(setting, run, setting.folder / run.shape))
    except torch.OutOfMemoryError as e:
        found = {"left out": f"out of memory: {str(e).splitlines()[0]}"}
    told = doctor.result()
    return {**found, **_told(told), "longest row, doctor": told.row}


def _updates(setting: Setting, run: Run, config: RLConfig | SFTConfig) -> Found:
    device, began = setting.device, time.perf_counter()
    model = random_model(run.shape, device=device, dtype=dtype_of(config.model, device))
    wait(device)
    made = time.perf_counter() - began
    make_trainable(model, config.model)
    model.train()
    objective: Objective = GrpoObjective(config.grpo) if isinstance(config, RLConfig) else SftObjective()
    learner = LocalLearner(
        model,
        objective,
        LearnerConfig(optim=config.optim, total_updates=10, max_row_tokens=config.micro_batch_tokens),
        features=FeatureStore(model, max_bytes=config.model.feature_bytes),
        precision=config.model.precision,
    )
    groups = _groups(run, model)
    found: dict[str, object] = {"seconds to make it": made}
    _reset_peak(device)
    before = _allocated(device)
    learner.update(groups)
    found["GiB at the highest, first update"] = _peak(device)
    _reset_peak(device)
    rows = [len(row) for row in learner.rows(groups)]
    seconds: list[float] = []
    with _timed_step(learner, device, seconds):
        wait(device)
        start = time.perf_counter()
        metrics = learner.update(groups)
        wait(device)
        whole = time.perf_counter() - start
    return {
        **found,
        "GiB before": before,
        "GiB at the highest": _peak(device),
        "seconds of an update": whole,
        "of which the optimiser": sum(seconds),
        "rows": rows,
        "loss tokens": metrics.get("loss_tokens"),
        "grad_norm": metrics["grad_norm"],
        "trained, in millions": sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6,
    }


def _config(setting: Setting, run: Run, folder: Path) -> RLConfig | SFTConfig:
    """The recipe as `doctor` is told it, with a step of a few groups."""
    path = None if run.recipe is None else find_recipe(Path(run.recipe))
    more = (f'model.checkpoint="{folder}"', f'model.device="{setting.device}"', f'out="{setting.folder}/out"')
    if run.command == "sft":
        size = (f"batch_size={GROUPS * 8}", 'data="nowhere.jsonl"')
        return load_recipe(SFTConfig, path, (*run.overrides, *more, *size))
    # Rows of one group each, for the learner as for `doctor`.
    row = run.tokens + PROMPT_WORDS + 8 * run.completion
    size = (f"tasks_per_step={GROUPS}", "group_size=8", f"micro_batch_tokens={row}")
    return load_recipe(RLConfig, path, (*run.overrides, *more, *size))


def _groups(run: Run, model: VisionLanguageModel) -> list[ScoredGroup]:
    prompt = run.tokens + PROMPT_WORDS
    crop = round(CROP_SHARE * run.completion)
    case = Case(prompt, run.completion, crop, group=8, spread=0.0, image=run.tokens / prompt)
    made = [random_group(case, model.renderer, seed=seed) for seed in range(GROUPS)]
    if run.command == "sft":
        return [imitation(y) for group in made for y in group.trajectories]
    # As if random weights had sampled it: about an even choice.
    logp = -math.log(model.decoder.config.vocab_size)
    return [with_behavior(group, torch.full((sum(loss_tokens(group)),), logp)) for group in made]


def _told(told: Estimate) -> Found:
    """What `doctor` says of an update; rollouts are another matter."""
    highest = sum(told.device.values()) + sum(told.update.values())
    parts = {name: size / 2**30 for name, size in {**told.device, **told.update}.items() if size}
    return {
        "GiB at the highest, doctor": highest / 2**30,
        "seconds of an update, doctor": told.seconds["update"],
        "GiB by part, doctor": {name: round(size, 3) for name, size in parts.items()},
    }


def _factor(run: Run) -> int:
    """Pixels of a token's side."""
    return 2 * int(shape_named(run.shape).vision["patch_size"])


@contextmanager
def _alone(device: torch.device) -> Iterator[None]:
    """Nothing of the case before is held, nor of this one after it."""
    _free(device)
    try:
        yield
    finally:
        _free(device)


@contextmanager
def _timed_step(learner: LocalLearner, device: torch.device, seconds: list[float]) -> Iterator[None]:
    step = learner.optimizer.step

    def timed() -> None:
        wait(device)
        start = time.perf_counter()
        step()
        wait(device)
        seconds.append(time.perf_counter() - start)

    vars(learner.optimizer)["step"] = timed
    try:
        yield
    finally:
        vars(learner.optimizer).pop("step")


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _allocated(device: torch.device) -> float | None:
    return torch.cuda.memory_allocated(device) / 2**30 if device.type == "cuda" else None


def _peak(device: torch.device) -> float | None:
    """GiB of tensors; None on a processor, where nobody counts them."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
