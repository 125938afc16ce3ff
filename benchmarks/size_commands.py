"""The benchmarks of memory, of large and hostile inputs, and of checks on data, as commands."""

from __future__ import annotations

import sys

from benchmarks.records import Out, finish, write_lines


def bench_overlap(*, quick: bool = False, out: Out = None) -> None:
    """The check for overlap: copies of pictures that are found, others that are taken for copies, its time.

    Args:
        quick: 20 pictures instead of 200.
        out: Where the measurements go, a JSON object per line.
    """
    from benchmarks import overlap

    write_lines(overlap.run(20 if quick else 200), out)


def bench_ocr(*, quick: bool = False, pages: int = 300, out: Out = None) -> None:
    """The check that a crop shows its answer: boxes off the answer that are found, good ones turned down.

    Args:
        quick: 10 pages.
        pages: Drawn; seven crops of each are read.
        out: Where the measurements go, a JSON object per line.
    """
    from benchmarks import ocr

    write_lines(ocr.run(10 if quick else pages), out)


def bench_regions(*, quick: bool = False, n: int = 200, out: Out = None) -> None:
    """The check that a crop is the part of its picture that its box names: shifts seen, copies refused.

    Args:
        quick: 10 regions of each kind of picture.
        n: Regions of each kind of picture.
        out: Where the measurements go, a JSON object per line.
    """
    from benchmarks import regions

    write_lines(regions.run(10 if quick else n), out)


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
    finish(records, out, "memory", quick=quick, **sizes)


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
    finish(records, out, "eval-scale", quick=quick, videos=videos, images=images)


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
    finish(records, out, "synth", quick=quick, **given, sizes=" ".join(map(str, sizes)) or None)


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
    own: bool = False,
    in_a_row: int = 1,
    full_disks: int | None = None,
    seed: int = 0,
    out: Out = None,
) -> None:
    """SIGKILL at random moments and at every point of the disk; the same command goes on to the same bytes.

    Exit code 2 when one did not.

    Args:
        commands: Which ones.
        moments: Kills at random moments, for each command.
        every: A kill at every point at which the run touches its disk (1), or at every second one (2), ...
        own: Of these points, those alone at the run's folder and at what lies directly in it.
        in_a_row: Kills of one run at random, before it goes on to its end.
        full_disks: Sizes of files that a full disk refuses, spread over all there are; all when left out.
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
            own=own,
            in_a_row=in_a_row,
            full_disks=full_disks,
            seed=seed,
            out=out,
        )
    )
    if failures := [line for record in records for line in record["failures"]]:
        raise PixelReasonerError("\n".join(failures))
