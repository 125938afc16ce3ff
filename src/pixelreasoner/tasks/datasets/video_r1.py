"""Video-R1-data: questions about images and videos, with several forms of answers (arXiv 2503.21776).

| field | what it holds |
|---|---|
| `problem_id` | a number |
| `problem` | the question |
| `data_type` | "image" or "video" |
| `problem_type` | "multiple choice", "numerical", "OCR", "free-form", "regression" |
| `options` | texts that begin with their letters; empty where there are none |
| `solution` | `<answer>B</answer>` |
| `path` | a file, `./CLEVRER/train_videos/video_00000.mp4` |
| `data_source` | where the row comes from |

Source: the data set's card and file list. The rows are those of `Video-R1-260k.json`; the card shows those
of `Video-R1-COT-165k.json`, which have a `process` besides. Not verified: the tags around `solution`, which
may be there or not. The archives take 309 GB, so nothing is fetched: give the folder. Videos have to be
unpacked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixelreasoner.core.media_io import N_FRAMES
from pixelreasoner.tasks.datasets.answers import plain_options, plain_question, read_answers
from pixelreasoner.tasks.datasets.reader import DatasetReader, DatasetTasks, NormalRow, normal_row

SCORERS = {"OCR": "anls", "regression": "numeric"}
"""Where an answer that is nearly right counts; the others are the recipe's."""


def read(row: Mapping[str, Any]) -> NormalRow:
    """What a row means."""
    question, options = plain_question(row.get("problem")), plain_options(row.get("options"))
    answers = read_answers(row.get("solution"), question, options)
    what, form = str(row.get("data_type")), str(row.get("problem_type"))
    path = row.get("path")
    return normal_row(
        answers._replace(scorer=answers.scorer or SCORERS.get(form, "")),
        id=row.get("problem_id"),
        question=question,
        kind=f"{what}, {form}",
        options=list(options),
        images=[path] if path and what == "image" else [],
        video=path if what == "video" else None,
    )


READER = DatasetReader(
    name="video-r1",
    splits=("train",),
    files=("Video-R1-260k.json", "*.json", "*.jsonl"),
    columns=("problem_id", "problem", "problem_type", "data_type", "options", "solution", "path"),
    read=read,
)


def video_r1(*, split: str, path: str = "", n_frames: int = N_FRAMES) -> DatasetTasks:
    """The registered source "video-r1"; its kinds are "video, multiple choice" and the like.

    Args:
        split: "train".
        path: the data set's folder, or a file of its rows.
        n_frames: taken from each video.

    Raises:
        ConfigError, RecordError: as `DatasetReader.open`.
    """
    return READER.open(split=split, path=path, n_frames=n_frames)
