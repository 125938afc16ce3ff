"""STAR: questions about what happens in videos, each with the stretch of time that answers it (NeurIPS 2021).

| field | what it holds |
|---|---|
| `question_id` | "Interaction_T1_13": its first part is the kind of question |
| `question`, `answer` | texts; the answer is one of the choices |
| `choices` | a list of `{choice_id, choice}` |
| `video_id` | the video is `{video_id}.mp4`, of Charades |
| `start`, `end` | the stretch, in seconds |

The cue of a task is the frames within that stretch, among those taken from the video; the one nearest to its
middle where none is within it. Where they are more than the eight that one operation shows, an operation on
the cue shows some of them; one that is wrong on purpose shows none (`synth.regions`). Frames are taken from
the middles of equal stretches of the video: of n frames of a video of D seconds, frame i is the one shown at
D (i - 1/2) / n. Which frames are within is decided by the times at which they really are shown, and those are
kept with the video of every task and every trajectory (`Video.times_s`).

Letters follow the order of `choice_id`. With `choices_seed` the choices of each question come in a random
order, which depends on the seed and the question's id alone.

Source: the field names of `STAR_train.json` and `STAR_val.json` as readers of STAR use them, and the README
of the data set, by which the videos are those of Charades, scaled to 480p. Not verified: the name of the
folder of videos (the folder itself, `Charades_v1_480/` and `videos/` are looked through). The test split has
no answers. Nothing is fetched: give the folder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeGuard
from zlib import crc32

import numpy as np

from pixelreasoner.core.config import Seed
from pixelreasoner.core.media import Video
from pixelreasoner.core.media_io import N_FRAMES
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.tasks.datasets.answers import plain_question, read_answers
from pixelreasoner.tasks.datasets.reader import DatasetReader, DatasetTasks, NormalRow, normal_row
from pixelreasoner.tasks.datasets.report import UnusableError

SLACK_S = 1.0
"""By which a stretch may begin behind the end of its video: annotations and containers round."""


def read(row: Mapping[str, Any], *, choices_seed: int | None = None) -> NormalRow:
    """What a row means."""
    question = plain_question(row.get("question"))
    choices = [c for c in row.get("choices") or () if isinstance(c, Mapping)]
    choices.sort(key=lambda c: int(c.get("choice_id", 0)))
    if choices_seed is not None:
        rng = np.random.default_rng([choices_seed, crc32(str(row.get("question_id")).encode())])
        rng.shuffle(choices)
    options = [str(c.get("choice", "")).strip() for c in choices]
    start, end = row.get("start"), row.get("end")
    if not (_is_time(start) and _is_time(end) and max(start, 0) <= end):
        raise UnusableError("no stretch of time", f"start {start!r}, end {end!r}")
    video = row.get("video_id")
    return normal_row(
        read_answers(row.get("answer"), question, options),
        id=row.get("question_id"),
        question=question,
        kind=str(row.get("question_id")).partition("_")[0].lower(),
        options=options,
        video=f"{video}.mp4" if video else None,
        needs_operation=None,
    )


def _is_time(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def with_cue(task: Task, row: Mapping[str, Any]) -> Task:
    """The task with the frames of its evidence, whose times are known now.

    Raises:
        UnusableError: the evidence is beyond the end of the video, which is cut short or another one.
    """
    (video,) = task.media
    assert isinstance(video, Video)
    # Frames are from the middles of equal stretches.
    end_s = video.times_s[0] + video.times_s[-1]
    if row["start"] > end_s + SLACK_S:
        raise UnusableError(
            "the stretch of time is beyond the end of the video",
            f"{row['start']:g} to {row['end']:g} s, of {end_s:.1f} s",
        )
    return replace(task, cue=Cue(frames=evidence(video.times_s, row["start"], row["end"])))


def evidence(times_s: Sequence[float], start: float, end: float) -> tuple[int, ...]:
    """The frames, from 1, within a stretch of time; the one nearest to its middle where none is."""
    inside = [i for i, t in enumerate(times_s, start=1) if start <= t <= end]
    if not inside:
        middle = (start + end) / 2
        return (min(range(1, len(times_s) + 1), key=lambda i: abs(times_s[i - 1] - middle)),)
    return tuple(inside)


def _reader(choices_seed: int | None) -> DatasetReader:
    return DatasetReader(
        name="star",
        splits=("train", "val"),
        files=("STAR_{split}.json", "{split}.json"),
        columns=("question_id", "video_id", "choices", "question", "answer", "start", "end"),
        read=partial(read, choices_seed=choices_seed),
        media_folders=("Charades_v1_480", "videos"),
        finish=with_cue,
    )


READER = _reader(None)


def star(
    *, split: str, path: str = "", n_frames: int = N_FRAMES, choices_seed: Seed | None = None
) -> DatasetTasks:
    """The registered source "star"; its kinds are interaction, sequence, prediction and feasibility.

    Args:
        split: "train" or "val".
        path: the data set's folder, or a file of its rows.
        n_frames: taken from each video.
        choices_seed: of the order of the choices; None keeps that of the data set.

    Raises:
        ConfigError, RecordError: as `DatasetReader.open`.
    """
    return _reader(choices_seed).open(split=split, path=path, n_frames=n_frames)
