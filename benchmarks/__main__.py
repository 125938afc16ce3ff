"""`python -m benchmarks ...`: how fast, and how exact, against straightforward ways and against TRL."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import tyro

if TYPE_CHECKING:
    from benchmarks.rollout import RolloutPlan
    from benchmarks.train import TrainPlan

    Plan = TypeVar("Plan", RolloutPlan, TrainPlan)

Out = Annotated[Path | None, tyro.conf.arg(metavar="FILE.jsonl")]


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
    _finish(records, out, "train", quick=quick, model=model, frozen=frozen, rows=rows)


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
    _finish(rollout.run(plan), out, "rollout", quick=quick, model=model, tasks=tasks)


def bench_step(*, quick: bool = False, model: str | None = None, out: Out = None) -> None:
    """A whole step of reinforcement learning on a group: roll out, score, take the gradient, update.

    Args:
        quick: One case, a minute instead of ten.
        model: Only this one of the small models: small-qwen3 or small-qwen2.5.
        out: Where the measurements go, a JSON object per line.
    """
    from benchmarks import step

    plan = _only(model, step.QUICK if quick else step.PLAN)
    _finish(step.run(plan), out, "step", quick=quick, model=model)


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
    _finish(gpu.run(plan), out, "gpu", model=model, minutes=minutes, frozen=frozen)


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


def bench_overlap(*, quick: bool = False, out: Out = None) -> None:
    """The check for overlap: copies of pictures that are found, others that are taken for copies, its time.

    Args:
        quick: 20 pictures instead of 200.
        out: Where the measurements go, a JSON object per line.
    """
    from benchmarks import overlap

    _write_lines(overlap.run(20 if quick else 200), out)


def bench_ocr(*, quick: bool = False, pages: int = 300, out: Out = None) -> None:
    """The check that a crop shows its answer: boxes off the answer that are found, good ones turned down.

    Args:
        quick: 10 pages.
        pages: Drawn; seven crops of each are read.
        out: Where the measurements go, a JSON object per line.
    """
    from benchmarks import ocr

    _write_lines(ocr.run(10 if quick else pages), out)


def bench_regions(*, quick: bool = False, n: int = 200, out: Out = None) -> None:
    """The check that a crop is the part of its picture that its box names: shifts seen, copies refused.

    Args:
        quick: 10 regions of each kind of picture.
        n: Regions of each kind of picture.
        out: Where the measurements go, a JSON object per line.
    """
    from benchmarks import regions

    _write_lines(regions.run(10 if quick else n), out)


def bench_memory(
    *,
    quick: bool = False,
    rows: int = 10_000,
    read: int = 256,
    groups: int = 512,
    batch: int = 32,
    steps: int = 300,
    out: Out = None,
) -> None:
    """Host memory: SFT data, a replay buffer, an RL batch of 12-megapixel JPEGs; a few hundred steps of RL.

    Args:
        quick: 200 rows, 8 groups and 20 steps, a minute instead of an hour.
        rows: Of the SFT file; 0 leaves the part out. 10,000 take 10 GB of disk.
        read: Of them, laid out for training.
        groups: In the replay buffer; 0 leaves the part out.
        batch: Groups of 8 rollouts that are learned from in one step; 0 leaves the part out.
        steps: Of RL; 0 leaves the part out.
        out: Where the measurements go, a JSON object per line.
    """
    from benchmarks import host

    if quick:
        rows, read, groups = min(rows, 200), min(read, 16), min(groups, 8)
        batch, steps = min(batch, 2), min(steps, 20)
    every = max(1, steps // 6)
    records = host.run(rows=rows, read=read, groups=groups, batch=batch, steps=steps, state_every=every)
    sizes = {"rows": rows, "read": read, "groups": groups, "batch": batch, "steps": steps}
    _finish(records, out, "memory", quick=quick, **sizes)


def bench_eval_scale(*, quick: bool = False, videos: int = 4000, images: int = 191, out: Out = None) -> None:
    """An evaluation of full size with a scripted policy: memory, and rows per second.

    Args:
        quick: 40 rows of frames and 4 of images.
        videos: Rows of 16 small frames, as of MVBench; 0 leaves the part out. 4,000 take 2 GB of disk.
        images: Rows of an image of 4 megapixels, as of V*; 0 leaves the part out.
        out: Where the measurements go, a JSON object per line.
    """
    from benchmarks import eval_scale

    if quick:
        videos, images = min(videos, 40), min(images, 4)
    records = eval_scale.measure_all(videos=videos, images=images)
    _finish(records, out, "eval-scale", quick=quick, videos=videos, images=images)


def bench_synth(
    *,
    quick: bool = False,
    items: int = 4000,
    concurrency: int = 64,
    latency: float = 1.0,
    sizes: tuple[int, ...] = (1_000, 10_000, 100_000),
    out: Out = None,
) -> None:
    """Synthesis with a scripted teacher on a server: throughput against the ideal, and memory by size.

    Args:
        quick: 64 trajectories of each part.
        items: Trajectories whose making is timed; 0 leaves the part out.
        concurrency: Requests under way together.
        latency: Seconds of each reply.
        sizes: Numbers of trajectories whose memory is measured, with a server that answers at once.
        out: Where the measurements go, a JSON object per line.
    """
    from benchmarks import synth_scale

    if quick:
        items, latency, sizes = min(items, 64), min(latency, 0.2), (64,)
    records = synth_scale.measure_all(items=items, concurrency=concurrency, latency_s=latency, sizes=sizes)
    given = {"items": items, "concurrency": concurrency, "latency": latency}
    _finish(records, out, "synth", quick=quick, **given, sizes=" ".join(map(str, sizes)) or None)


def bench_hostile_media(*, changed: int = 16, seed: int = 0, only: str = "", out: Out = None) -> None:
    """Load over a thousand damaged, disguised and far too large files, each in a process with budgets.

    Args:
        changed: How many changed files are made of each seed file, of which there are some sixty.
        seed: Of the changes.
        only: Only files whose group and name contain this, such as bombs or .png.
        out: Where the outcomes go, a JSON object per line.
    """
    from rich.console import Console

    from benchmarks import hostile
    from pixelreasoner.core.errors import ConfigError

    outcomes: list[hostile.Outcome] = []
    console = Console(stderr=True)
    with console.status("loading") as status:
        for outcome in hostile.run(changed, seed, only):
            outcomes.append(outcome)
            status.update(f"{len(outcomes)} files, {outcome.group}")
            if outcome.faults:
                console.print(f"{', '.join(outcome.faults)}: {outcome}", markup=False)
    if not outcomes:
        raise ConfigError(f"no file's group and name contain {only!r}")
    if out is not None:
        hostile.write(outcomes, out)
    sys.stdout.write(f"{hostile.table(outcomes)}\n")


def bench_kills(
    commands: tuple[str, ...] = ("synth", "sft", "rl", "eval", "demo"),
    *,
    moments: int = 20,
    every: int = 1,
    in_a_row: int = 1,
    skip_full_disks: bool = False,
    seed: int = 0,
    out: Out = None,
) -> None:
    """SIGKILL at random moments and at every point of the disk; the same command goes on to the same bytes.

    Exit code 2 when one did not.

    Args:
        commands: Which ones.
        moments: Kills at random moments, for each command.
        every: A kill at every point at which the run touches its disk (1), or at every second one (2), ...
        in_a_row: Kills of one run at random, before it goes on to its end.
        skip_full_disks: Kill only; refuse no file for its size.
        seed: Of the moments.
        out: Where the results go, a JSON object per line.
    """
    from benchmarks import kills
    from pixelreasoner.core.errors import ConfigError, PixelReasonerError

    if unknown := [name for name in commands if name not in kills.COMMANDS]:
        raise ConfigError(f"{', '.join(unknown)}: there are {', '.join(kills.COMMANDS)}")
    records = list(
        kills.run(
            commands=commands,
            moments=moments,
            every=every,
            in_a_row=in_a_row,
            skip_full_disks=skip_full_disks,
            seed=seed,
            out=out,
        )
    )
    if failures := [line for record in records for line in record["failures"]]:
        raise PixelReasonerError("\n".join(failures))


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


def _finish(records: Iterator[dict[str, Any]], out: Path | None, what: str, **options: object) -> None:
    """Write what is measured while it is, then show all of it."""
    from rich.console import Console

    from benchmarks import report

    kept: list[dict[str, Any]] = []
    with Console(stderr=True).status("measuring") as status:
        for record in records:
            if record["kind"] == "machine":
                record["command"] = _command(what, options)
            kept.append(record)
            status.update(f"{len(kept)} measurements")
            if out is not None:
                # After each, so that an interruption loses nothing.
                report.write(out, kept)
    report.show(Console(), kept)


def _write_lines(records: Iterator[dict[str, Any]], out: Path | None) -> None:
    """Print records as they come, a JSON object per line, and keep them in a file."""
    import json

    lines: list[str] = []
    for record in records:
        lines.append(f"{json.dumps(record)}\n")
        sys.stdout.write(lines[-1])
        sys.stdout.flush()
    if out is not None:
        out.write_text("".join(lines), encoding="utf-8")


def _command(what: str, options: Mapping[str, object]) -> str:
    """How the command is given; options that are off are left out."""
    chosen = (f"--{k}" if v is True else f"--{k} {v}" for k, v in options.items() if v not in (False, None))
    return " ".join(["python -m benchmarks", what, *chosen])


COMMANDS = {
    "train": bench_train,
    "rollout": bench_rollout,
    "step": bench_step,
    "gpu": bench_gpu,
    "gpu-checks": bench_gpu_checks,
    "memory": bench_memory,
    "eval-scale": bench_eval_scale,
    "synth": bench_synth,
    "hostile-media": bench_hostile_media,
    "kills": bench_kills,
    "overlap": bench_overlap,
    "ocr": bench_ocr,
    "regions": bench_regions,
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
