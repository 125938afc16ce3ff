"""TIGER-Lab/PixelReasoner-RL-Data: the queries of the paper's reinforcement learning (15.4 thousand).

| column | what it holds |
|---|---|
| `qid` | a name |
| `question` | the text; options of a multiple-choice question stand in it |
| `image` | a list of files; of a video, its frames; some entries may be null or empty |
| `answer` | a list with one `\\boxed{...}`, in which a list of texts may stand |
| `is_video` | true, false or null |

Source: the data set's card and file list (`release.parquet`, `images.zip`, `videos.zip`), and the loader of
the authors (`curiosity_driven_rl/openrlhf/datasets/prompts_dataset.py`), which reads `question`, `image`,
`is_video` and `qid`. Not verified, since the files could not be read: whether the archives hold the names of
the folders, `images/` and `videos/` (both are understood), and whether all `qid` differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixelreasoner.core.media_io import N_FRAMES
from pixelreasoner.tasks.datasets.answers import plain_question, read_answers
from pixelreasoner.tasks.datasets.reader import DatasetReader, DatasetTasks, NormalRow, normal_row

HUB_ID = "TIGER-Lab/PixelReasoner-RL-Data"


def read(row: Mapping[str, Any]) -> NormalRow:
    """What a row means."""
    question = plain_question(row.get("question"))
    files = row.get("image")
    files = [f for f in (files if isinstance(files, list) else [files]) if f]
    is_video = row.get("is_video") is True
    return normal_row(
        read_answers(row.get("answer"), question),
        id=row.get("qid"),
        question=question,
        kind="video" if is_video else "image",
        images=[] if is_video else files,
        video=files if is_video else None,
    )


READER = DatasetReader(
    name="pixelreasoner-rl",
    splits=("train",),
    files=("release.parquet", "*.parquet", "*.jsonl", "*.json"),
    columns=("qid", "question", "is_video", "image", "answer"),
    read=read,
)


def pixelreasoner_rl(*, split: str, path: str = HUB_ID, n_frames: int = N_FRAMES) -> DatasetTasks:
    """The registered source "pixelreasoner-rl"; its kinds are "image" and "video".

    Args:
        split: "train".
        path: the data set's folder, a file of its rows, or its name on the hub.
        n_frames: taken from a video that is one file; the data set's own videos are lists of frames.

    Raises:
        ConfigError, RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    return READER.open(split=split, path=path, n_frames=n_frames)
