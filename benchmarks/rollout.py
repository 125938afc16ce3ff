"""Groups of rollouts by every method: model messages and crops in turn.

The model's weights make it call `crop_image` at the end of every message (`bench.script`), so that all
methods sample equally many tokens and carry out equally many operations, and still sample every token.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from transformers import PreTrainedModel

from benchmarks.cases import AROUND_IMAGE, Case, grid
from benchmarks.memory import measured_in_child
from benchmarks.methods.base import Settings
from benchmarks.methods.rollouts import (
    POLICIES,
    Ours,
    RolloutMethod,
    ScriptedGroups,
    TokenCounts,
    TrlGeneration,
    crop_toolbox,
)
from benchmarks.methods.stock import Stock
from benchmarks.methods.trl_trainer import dealt_rewards
from benchmarks.profile import where_time_goes
from benchmarks.script import crop_script, teach
from benchmarks.shapes import SMALL, random_model, stock_model
from benchmarks.timing import MatrixProducts, interleaved
from benchmarks.train import CPU, MATRIX_PRODUCTS, Record, available, machine, quiet, timed_record
from pixelreasoner.chat.prompting import task_messages
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.models.roofline import DecoderSize, VisionSize, Work, rollout_flops
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.loss_mask import behavior_logprobs
from pixelreasoner.objectives.scored_group import score_group

METHODS = ("group", "local", "trl")
STEP_CASES = (Case(466, 122, 49, crops=1, spread=0.0), Case(466, 202, 89, crops=2, spread=0.0))
CASES = (*STEP_CASES, replace(STEP_CASES[0], tasks=4))


@dataclass(frozen=True)
class RolloutPlan:
    """What `python -m benchmarks rollout` and `step` measure."""

    models: tuple[str, ...] = SMALL
    cases: tuple[Case, ...] = CASES
    methods: tuple[str, ...] = METHODS
    rounds: int = 10
    minutes: float = 6.0
    """For all cases together, model making apart; a case gets at least two rounds."""


QUICK = RolloutPlan(models=SMALL[:1], cases=CASES[:1], rounds=3, minutes=0.5)


def run(plan: RolloutPlan) -> Iterator[Record]:
    """Records as they are made: the machine, then each case by each method."""
    return each_case(plan, _measure)


Measure = Callable[[str, Case, Sequence[str], int, float], Iterator[Record]]
"""Of the model's name, the case, the methods, the most rounds and seconds."""


def each_case(plan: RolloutPlan, measure: Measure) -> Iterator[Record]:
    """The machine, then what is measured of each model and case, in equal shares of the time."""
    quiet()
    methods = available_methods(plan.methods)
    yield machine(CPU) | {"left_out": sorted(set(plan.methods) - set(methods))}
    seconds = 60 * plan.minutes / (len(plan.models) * len(plan.cases))
    for name in plan.models:
        for case in plan.cases:
            yield from measure(name, case, methods, plan.rounds, seconds)


def _measure(name: str, case: Case, methods: Sequence[str], rounds: int, seconds: float) -> Iterator[Record]:
    with tempfile.TemporaryDirectory(prefix="pixelreasoner-bench-") as folder:
        model, groups = scripted(name, case)
        save_checkpoint(model, Path(folder))
        made = {m: rollout_method(m, model, Path(folder), groups) for m in methods}
        exact = stock_model(Path(folder), dtype=torch.float64)
    decoder, vision = DecoderSize.of(model.decoder.config), VisionSize.of(model.vision.config)
    # Prompts and crops are read in long rows; so are the products that give the rate.
    products = MatrixProducts(decoder, case.prompt, device=CPU, dtype=torch.float32)
    products()
    counts = {m: method.run() for m, method in made.items()}
    differences = {
        m: largest_logp_difference(method.roll_out()[: case.group], exact, model)
        for m, method in made.items()
        if isinstance(method, Ours)
    }
    del exact
    tasks: dict[str, Callable[[], object]] = {m: method.run for m, method in made.items()}
    taken = interleaved(tasks | {MATRIX_PRODUCTS: products}, rounds=rounds, seconds=seconds, device=CPU)
    rate = products.flops / median(taken.pop(MATRIX_PRODUCTS))
    for method, times in taken.items():
        n = counts[method]
        needed = case.tasks * rollout_flops(rollout_work(n, case, model), decoder, vision)
        yield timed_record(times, taken[methods[0]]) | {
            "kind": "rollout", "model": name, "method": method, "case": case.name, **asdict(case),
            **asdict(n), "peak_bytes": peak_in_child("rollout", name, method, case),
            "largest_logp_difference": differences.get(method),
            "profile": where_time_goes(made[method].run, CPU),
            "sampled_per_second": n.sampled / median(times), "flops_needed": needed,
            "matrix_flops_per_second": rate, "bound_seconds": needed / rate,
            "utilisation": needed / rate / median(times),
        }  # fmt: skip


def scripted(name: str, case: Case) -> tuple[VisionLanguageModel, ScriptedGroups]:
    """A model that has learned the case's messages, and the rollouts they belong to."""
    model = random_model(name)
    image, crop = grid(round(case.image * case.prompt)), grid(case.crop // case.crops)
    message = (case.completion - case.crop - case.crops * AROUND_IMAGE) // (case.crops + 1)
    teach(model, crop_script(model.renderer, tokens=message, image=image, crop=crop))
    tasks = tuple(_task(model, case, image, seed) for seed in range(case.tasks))
    return model, ScriptedGroups(tasks, case.group, case.crops, message)


def rollout_method(
    name: str, model: VisionLanguageModel, folder: Path, groups: ScriptedGroups
) -> RolloutMethod:
    """The method of that name; those that bring a model of their own load it from `folder`.

    Raises:
        MissingExtraError: its package is not installed.
    """
    if name == "trl":
        return TrlGeneration(stock_model(folder), model.renderer, groups)
    return Ours(model, groups, POLICIES[name])


def available_methods(methods: Sequence[str]) -> list[str]:
    """Those that this installation has; the first of them is what the others are compared with."""
    return available(methods)


def largest_logp_difference(
    group: Sequence[Trajectory], exact: PreTrainedModel, model: VisionLanguageModel
) -> float:
    """Between what the sampler recorded and what transformers gives the trajectories, one at a time."""
    scored = score_group(tuple(group), {"reward": dealt_rewards(group)}, scale="std")
    recorded = np.concatenate([behavior_logprobs(trajectory) for trajectory in group])
    wanted = Stock(exact, model.renderer, scored, Settings(rows=1)).log_probs()
    return float(np.abs(recorded - wanted.numpy()).max())


def peak_in_child(of: str, model: str, method: str, case: Case) -> int:
    """Bytes that a rollout or a step needs beyond those before it."""
    request = {
        "of": of, "model": model, "method": method, "cases": [asdict(case)],
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    return measured_in_child(request)[0]["peak_bytes"]


def rollout_work(counts: TokenCounts, case: Case, model: VisionLanguageModel) -> Work:
    """One group, as its tokens were counted; every sampled token has its vocabulary scores computed."""
    merge = model.renderer.vision.merge**2
    image, crop = grid(round(case.image * case.prompt)), grid(case.crop // case.crops)
    return Work(
        prompt=counts.prompt,
        attempts=((counts.sampled + counts.observed) // (case.group * case.tasks),) * case.group,
        loss_tokens=counts.sampled // case.tasks,
        prompt_images=(image[0] * image[1] * merge,),
        attempt_images=((crop[0] * crop[1] * merge,) * case.crops,) * case.group,
    )


def _task(model: VisionLanguageModel, case: Case, image: tuple[int, int], seed: int) -> Task:
    """A picture of noise, and a question as long as makes the prompt as long as it should be."""
    renderer, side = model.renderer, model.renderer.vision.factor
    shape = (image[0] * side, image[1] * side, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    task = Task(f"bench-{seed}", "What is it?", (Picture(pixels),), ())
    tools = crop_toolbox(renderer).schemas
    missing = case.prompt - len(
        renderer.layout(
            [renderer.prompt(task_messages(task, renderer.chat_format, tools=bool(tools)), tools)]
        )
    )
    words = task.question + " card" * max(0, missing)
    return Task(task.id, words, task.media, task.answers)
