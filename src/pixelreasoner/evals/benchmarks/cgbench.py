"""CG-Bench: questions about long videos, each with the time that answers it (G. Chen et al., ICLR 2025).

`cgbench_mini.json` (3,000 questions) or `cgbench.json` (12,129), a list of `qid, video_uid, question,
choices, answer, right_answer, clue_intervals, duration, domain, sub_category`; videos
`cg_videos_720p/{video_uid}.mp4`. `right_answer` is a letter, `clue_intervals` a list of [start, end] in
seconds.

It is the benchmark here that needs zooming in time: videos are half an hour long on average, and a clue is
seconds. The cue of a task is the frames within its clues, among those taken (`n_frames`); the nearest one
where none is, and eight at most, which is what one operation shows. Published is the accuracy over the whole
video (long-acc.), with frames of the whole video and no subtitles.

Source: the repository CG-Bench/CG-Bench, VLMEvalKit's reader of it, and the card: the annotations are MIT;
the data are behind a form (gated), and the copyright of the videos is with their makers. Not verified: 1,219
videos of `cgbench.json` are all still there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pixelreasoner.core.media import Video
from pixelreasoner.core.media_io import N_FRAMES
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.evals.aggregates import micro_and_kinds
from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.benchmarks.rows import Row, choice_row, compat
from pixelreasoner.ops.frames import MAX_FRAMES
from pixelreasoner.rewards.scorers import choice
from pixelreasoner.tasks.datasets.reader import DatasetReader, NormalRow
from pixelreasoner.tasks.datasets.report import UnusableError

HUB_ID = "CG-Bench/CG-Bench"
FILES = {"mini": "cgbench_mini.json", "full": "cgbench.json"}
EXPECTED = {"mini": 3_000, "full": 12_129}
Subset = Literal["mini", "full"]


def read(row: Row) -> NormalRow:
    """What a row means."""
    if not (uid := row.get("video_uid")):
        raise UnusableError("no video")
    _intervals(row)
    return choice_row(
        row.get("question"),
        row.get("choices") or (),
        row.get("right_answer"),
        id=f"cgbench-{row.get('qid')}",
        kind=str(row.get("sub_category") or "open"),
        video=f"{uid}.mp4",
    )


def _intervals(row: Row) -> list[tuple[float, float]]:
    try:
        return [(float(start), float(end)) for start, end in row.get("clue_intervals") or ()]
    except (TypeError, ValueError) as e:
        raise UnusableError("a clue is no start and end", str(row.get("clue_intervals"))[:60]) from e


def with_cue(task: Task, row: Row) -> Task:
    """The task with the frames of its clues, whose times are known now."""
    (video,) = task.media
    assert isinstance(video, Video)
    frames = clue_frames(video.times_s, _intervals(row))
    return replace(task, cue=Cue(frames=frames) if frames else None)


def clue_frames(times_s: Sequence[float], intervals: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """The frames, from 1, within any of some intervals, as many as one operation shows.

    Of each interval that holds none the nearest one counts. Of too many, evenly spread ones are taken.
    """
    found: set[int] = set()
    for start, end in intervals:
        inside = [i for i, t in enumerate(times_s, start=1) if start <= t <= end]
        middle = (start + end) / 2
        found |= set(inside) or {min(range(1, len(times_s) + 1), key=lambda i: abs(times_s[i - 1] - middle))}
    frames = sorted(found)
    n = min(MAX_FRAMES, len(frames))
    return tuple(frames[(2 * i + 1) * len(frames) // (2 * n)] for i in range(n))


def cgbench(
    *, path: str = HUB_ID, subset: Subset = "mini", n_frames: int = N_FRAMES, pr_compat: bool = True
) -> Benchmark:
    """The registered benchmark "cgbench".

    Args:
        path: the data set's folder, with its videos unpacked, or its name on the hub.
        subset: "mini" or "full".
        n_frames: taken of each video.
        pr_compat: whether to give that score too.

    Raises:
        RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    reader = DatasetReader(
        name=f"cgbench-{subset}",
        splits=("test",),
        files=(FILES[subset],),
        columns=("qid", "video_uid", "question", "choices", "right_answer", "clue_intervals", "sub_category"),
        read=read,
        hub_files=(FILES[subset], "video*.zip"),
        media_folders=("cg_videos_720p", "videos"),
        finish=with_cue,
    )
    return Benchmark(
        name=f"cgbench-{subset}",
        tasks=reader.open(split="test", path=path, n_frames=n_frames),
        scorer=choice,
        expected_rows={"*": EXPECTED[subset]},
        scores=compat(pr_compat),
        aggregate=micro_and_kinds,
        metric=f"share of right letters (long-acc.), {n_frames} frames of the whole video",
        source=path,
        licence="MIT (annotations), gated; videos: of their makers, for research",
    )
