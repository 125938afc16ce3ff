"""`python -m benchmarks ...`: how fast, and how exact, against straightforward ways and against TRL."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import tyro

from benchmarks import size_commands
from benchmarks.records import Out, finish

if TYPE_CHECKING:
    from benchmarks.rollout import RolloutPlan
    from benchmarks.train import TrainPlan

    Plan = TypeVar("Plan", RolloutPlan, TrainPlan)


def bench_train(
    *,
    quick: bool = False,
    model: str | None = None,
    frozen: bool = False,
    rows: int | None = None,
    out: Out = None,
) -> None:
    """A forward and backward pass over a group: shared prefix, padded rows, plain transformers, TRL.

    Args:
        quick: One case, a minute instead of ten.
        model: Only this one of the small models: small-qwen3, small-qwen2.5, or small-qwen3.5, which is
            measured only where it is named.
        frozen: Without gradients of the vision tower.
        rows: Attempts per padded micro-batch; all of a group when left out.
        out: Where the measurements go, a JSON object per line.
    """
    from benchmarks import train
    from benchmarks.methods.base import Settings
    from benchmarks.shapes import RECURRENT

    plan = _only(model, train.QUICK if quick else train.TrainPlan(), also=(RECURRENT,))
    records = train.run(replace(plan, settings=Settings(frozen=frozen, rows=rows)))
    finish(records, out, "train", quick=quick, model=model, frozen=frozen, rows=rows)


def bench_rollout(
    *, quick: bool = False, model: str | None = None, tasks: int | None = None, out: Out = None
) -> None:
    """Rollouts of groups with crops: the group engine, the reference engine, TRL's generation and tool loop.

    Args:
        quick: One case, a minute instead of ten.
        model: Only this one of the small models: small-qwen3 or small-qwen2.5.
        tasks: Only the cases with so many tasks together (1 or 4).
        out: Where the measurements go, a JSON object per line.
    """
    from benchmarks import rollout
    from pixelreasoner.core.errors import ConfigError

    plan = _only(model, rollout.QUICK if quick else rollout.RolloutPlan())
    if tasks is not None:
        chosen = tuple(case for case in plan.cases if case.tasks == tasks)
        if not chosen:
            raise ConfigError(f"no case plays {tasks} tasks together; --tasks is 1 or 4, without --quick")
        plan = replace(plan, cases=chosen)
    finish(rollout.run(plan), out, "rollout", quick=quick, model=model, tasks=tasks)


def bench_step(*, quick: bool = False, model: str | None = None, out: Out = None) -> None:
    """A whole step of reinforcement learning on a group: roll out, score, take the gradient, update.

    Args:
        quick: One case, a minute instead of ten.
        model: Only this one of the small models: small-qwen3 or small-qwen2.5.
        out: Where the measurements go, a JSON object per line.
    """
    from benchmarks import step

    plan = _only(model, step.QUICK if quick else step.PLAN)
    finish(step.run(plan), out, "step", quick=quick, model=model)


def bench_gpu(
    model: str = "Qwen2.5-VL-7B",
    *,
    minutes: float = 9.0,
    frozen: bool = False,
    out: Out = None,
) -> None:
    """Training at true sizes on one accelerator, random weights: time, memory, utilisation.

    Args:
        model: Which one: Qwen2.5-VL-3B, Qwen2.5-VL-7B or Qwen3-VL-8B.
        minutes: For everything; what does not fit any more is left out.
        frozen: Without gradients of the vision tower.
        out: Where the measurements go, a JSON object per line.
    """
    from benchmarks import gpu
    from benchmarks.methods.base import Settings

    settings = Settings(frozen=frozen, rows=1, recompute=True)
    plan = gpu.GpuPlan(model=model, minutes=minutes, settings=settings)
    finish(gpu.run(plan), out, "gpu", model=model, minutes=minutes, frozen=frozen)


def bench_gpu_checks(
    *,
    device: str = "cuda",
    tiny: bool = False,
    part: Literal["checks", "figures", "all"] = "checks",
    only: tuple[str, ...] = (),
    at_once: int = 4,
    minutes: float = 20.0,
    out: Out = None,
) -> None:
    """What the package computes on a GPU against a CPU in float64, and what true sizes take of it.

    Each check is printed as it is done. Exit code 2 when one has failed.

    Args:
        device: Where; `--device cpu --tiny` tries the checks themselves.
        tiny: Sizes for a processor of two cores.
        part: checks compares, figures measures steps of training and decoding at true sizes.
        only: Only these groups of checks, such as kernels or commands.
        at_once: Groups that compare side by side, each in its own process.
        minutes: For everything; what does not fit any more is ended, and has failed.
        out: Where the records go, a JSON object per line, each at once.
    """
    import json

    from benchmarks.checks import driver
    from pixelreasoner.core.errors import ConfigError, PixelReasonerError

    if unknown := [name for name in only if name not in driver.GROUPS]:
        raise ConfigError(f"no group of checks is called {unknown[0]}; there are {', '.join(driver.GROUPS)}")
    groups = (
        only
        or {
            "checks": tuple(g for g in driver.GROUPS if g not in driver.FIGURES),
            "figures": driver.FIGURES,
            "all": tuple(driver.GROUPS),
        }[part]
    )
    failed: list[str] = []
    for record in driver.run(driver.Plan(device, tiny, groups, at_once, minutes)):
        sys.stdout.write(f"{driver.line_of(record)}\n")
        sys.stdout.flush()
        if out is not None:
            with out.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(record)}\n")
        if record.get("passed") is False:
            failed.append(record["name"])
    if failed:
        raise PixelReasonerError(f"{len(failed)} failed: {'; '.join(failed)}")


def bench_report(
    files: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FILE.jsonl ...")],
    *,
    out: Annotated[Path | None, tyro.conf.arg(metavar="DOCUMENT.md")] = None,
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE.svg")] = None,
) -> None:
    """Tables, and a picture, of measurements that were written with --out.

    Args:
        files: The measurements.
        out: A document that takes the tables between its marks (as docs/performance.md has them); the
            terminal takes them when left out.
        plot: Where a picture of memory over group size goes.
    """
    from rich.console import Console

    from benchmarks import report
    from pixelreasoner.core.errors import ConfigError

    if not files:
        raise ConfigError("name the files that `python -m benchmarks ... --out FILE.jsonl` wrote")
    runs = [report.read(path) for path in files]
    if plot is not None:
        report.plot_memory([record for run in runs for record in run], plot)
    if out is not None:
        report.fill(out, runs, plot)
        return
    for run in runs:
        report.show(Console(), run)


def _only(model: str | None, plan: Plan, also: tuple[str, ...] = ()) -> Plan:
    """The plan with one of its models, or of those that are measured only where they are named; or as it is.

    Raises:
        ConfigError: none of them has that name.
    """
    from pixelreasoner.core.errors import ConfigError

    if model is None:
        return plan
    if model not in (choices := (*plan.models, *also)):
        raise ConfigError(f"nothing is measured with {model!r} here; --model is {' or '.join(choices)}")
    return replace(plan, models=(model,))


COMMANDS = {
    "train": bench_train,
    "rollout": bench_rollout,
    "step": bench_step,
    "gpu": bench_gpu,
    "gpu-checks": bench_gpu_checks,
    "memory": size_commands.bench_memory,
    "eval-scale": size_commands.bench_eval_scale,
    "synth": size_commands.bench_synth,
    "hostile-media": size_commands.bench_hostile_media,
    "kills": size_commands.bench_kills,
    "overlap": size_commands.bench_overlap,
    "ocr": size_commands.bench_ocr,
    "regions": size_commands.bench_regions,
    "report": bench_report,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark; the process's exit code, 2 for a mistake of the user's."""
    from pixelreasoner.core.errors import PixelReasonerError

    args = list(sys.argv[1:] if argv is None else argv)
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="python -m benchmarks",
            description="Speed, memory and exactness against plain transformers and TRL; hostile media.",
            args=args or ["--help"],
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except PixelReasonerError as e:
        sys.stderr.write(f"error: {e}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
