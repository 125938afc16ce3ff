"""Mini-o3/VisualProbe_train: visual search in large photographs, with open answers (arXiv 2509.07969).

| field | what it holds |
|---|---|
| `doc_id` | a name or a number |
| `problem` | the question, after `<image>` |
| `solution` | the answer |
| `images` | a list of files under the folder, or of pictures in a table |
| `data_source` | where the row comes from |

Source: the data set's file list (`train.json`, `data/`) and the field names of its evaluation sets. Not
verified: that the training rows have the same fields, and how `images` names its files. The authors judge
answers with a language model; here they are compared, which makes scores lower than theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixelreasoner.tasks.datasets.answers import plain_question, read_answers
from pixelreasoner.tasks.datasets.reader import DatasetReader, DatasetTasks, NormalRow, normal_row

HUB_ID = "Mini-o3/VisualProbe_train"


def read(row: Mapping[str, Any]) -> NormalRow:
    """What a row means."""
    question = plain_question(row.get("problem"))
    images = row.get("images")
    return normal_row(
        read_answers(row.get("solution"), question),
        id=row.get("doc_id"),
        question=question,
        kind="visual search",
        images=[image for image in (images if isinstance(images, list) else [images]) if image],
    )


READER = DatasetReader(
    name="visualprobe",
    splits=("train",),
    files=("train.json", "*.json", "*.jsonl", "train*.parquet", "data/train*.parquet"),
    columns=("doc_id", "problem", "solution", "images"),
    read=read,
    hub_files=("*.json", "data/**"),
    media_folders=("data", "images"),
)


def visualprobe(*, split: str, path: str = HUB_ID) -> DatasetTasks:
    """The registered source "visualprobe"; all of one kind, "visual search".

    Args:
        split: "train".
        path: the data set's folder, a file of its rows, or its name on the hub.

    Raises:
        ConfigError, RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    return READER.open(split=split, path=path)
