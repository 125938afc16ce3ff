"""LLaVA-CoT-100k: questions about pictures from ten sets, each with a reasoned answer (arXiv 2411.10440).

| field | what it holds |
|---|---|
| `id` | a name |
| `image` | a file under the folder of pictures |
| `conversations` | `{from, value}` in turn: a question of `human`, an answer of `gpt` in four parts |

The first question is the task; the text between `<CONCLUSION>` tags of its answer is the reference. A
conclusion of more than 300 characters is a passage, and its row is left out.

Source: the data set's card and file list (`train.jsonl`, `image.zip.part-aa` and so on). Not verified: the
folder that the archive unpacks to; the folder itself, `image/` and `images/` are looked through. The set
takes 171 GB, so nothing is fetched: join the parts of the archive, unpack it, and give the folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixelreasoner.tasks.datasets.answers import plain_question, read_answers
from pixelreasoner.tasks.datasets.reader import DatasetReader, DatasetTasks, NormalRow, normal_row


def read(row: Mapping[str, Any]) -> NormalRow:
    """What a row means."""
    question = plain_question(_first(row, "human"))
    image = row.get("image")
    return normal_row(
        read_answers(_first(row, "gpt"), question),
        id=row.get("id"),
        question=question,
        kind="image",
        images=[image] if image else [],
    )


def _first(row: Mapping[str, Any], speaker: str) -> Any:
    """What a speaker says first."""
    turns = row.get("conversations")
    said = [t for t in turns if isinstance(t, Mapping)] if isinstance(turns, list) else []
    return next((turn.get("value") for turn in said if turn.get("from") == speaker), None)


READER = DatasetReader(
    name="llava-cot",
    splits=("train",),
    files=("train.jsonl", "*.jsonl", "*.json"),
    columns=("id", "image", "conversations"),
    read=read,
    media_folders=("image", "images"),
)


def llava_cot(*, split: str, path: str = "") -> DatasetTasks:
    """The registered source "llava-cot"; all of one kind, "image".

    Args:
        split: "train".
        path: the data set's folder, or a file of its rows.

    Raises:
        ConfigError, RecordError: as `DatasetReader.open`.
    """
    return READER.open(split=split, path=path)
