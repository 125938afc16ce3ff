"""InfographicVQA: the official JSON with its folder of pictures, and the Parquet of the hub.

| field | official JSON (`{"data": [...]}`) | `lmms-lab/DocVQA`, configuration InfographicVQA |
|---|---|---|
| `questionId` | a number | a text |
| `question` | the text | the text |
| `answers` | a list of texts; none in the test split | the same |
| `image_local_name` | a file in the folder of pictures | absent |
| `image` | absent | `{bytes, path}` |

Source: the feature list of the card of lmms-lab/DocVQA (23,946 rows for training, 2,801 for validation; its
train split is listed and commented out, and files `InfographicVQA/train-*.parquet` are in its history), and
the field names of the official files as readers of DocVQA use them. Not verified: the name of the official
folder of pictures; the folder itself, `infographicsvqa_images/` and `images/` are looked through.

References are compared by ANLS, as in the paper's evaluation; `options = { scorer = "exact" }` gives the
binary reward of the paper's training.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pixelreasoner.tasks.datasets.answers import plain_question, read_answers
from pixelreasoner.tasks.datasets.reader import DatasetReader, DatasetTasks, NormalRow, normal_row

HUB_ID = "lmms-lab/DocVQA"


def read(row: Mapping[str, Any], *, scorer: str = "anls") -> NormalRow:
    """What a row means."""
    question = plain_question(row.get("question"))
    answers = read_answers(row.get("answers"), question)
    image = row.get("image") or row.get("image_local_name")
    return normal_row(
        answers._replace(scorer=scorer),
        id=row.get("questionId"),
        question=question,
        kind="infographic",
        images=[image] if image else [],
    )


def _reader(scorer: str) -> DatasetReader:
    return DatasetReader(
        name="infographicvqa",
        splits=("train", "validation", "test"),
        files=(
            "InfographicVQA/{split}-*.parquet",
            "{split}-*.parquet",
            "data/{split}-*.parquet",
            "infographicsVQA_{split:.3}*.json",
            "{split}.parquet",
            "{split}.jsonl",
            "{split}.json",
        ),
        columns=("questionId", "question", "answers", "image", "image_local_name"),
        read=partial(read, scorer=scorer),
        hub_files=("InfographicVQA/*.parquet",),
        media_folders=("infographicsvqa_images", "images"),
    )


READER = _reader("anls")


def infographicvqa(*, split: str, path: str = HUB_ID, scorer: str = "anls") -> DatasetTasks:
    """The registered source "infographicvqa"; all of one kind, "infographic".

    Args:
        split: "train" or "validation"; the references of "test" are not public.
        path: the data set's folder, a file of its rows, or a data set of the hub with its files.
        scorer: what compares the references.

    Raises:
        ConfigError, RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    return _reader(scorer).open(split=split, path=path)
