"""V*: small things in photographs of some two thousand pixels, 191 questions (P. Wu and S. Xie, CVPR 2024).

| layout | files | options | boxes |
|---|---|---|---|
| `craigwu/vstar_bench` | `test_questions.jsonl`: `question_id, image, text, category, label` | in `text`, shuffled | in the JSON beside each picture |
| lmms-eval | `data/test-*.parquet`: the same columns, `image` a picture | in `text` | none |
| VLMEvalKit | `VStarBench.tsv`: `index, image, question, A, B, C, D, answer, category` | in columns | none |
| original | `direct_attributes/*.json`, `relative_position/*.json`: `target_object, bbox, question, options` | the first is right | `bbox` [left, top, width, height] |

In the original layout `options[0]` is always the right one: they are shuffled here, with a seed. The folders
`GPT4V-hard` and `OCR` of the first layout are not of the 191. Boxes become the cue: the one around all things
that are asked about. Published is the mean over all 191, beside both categories.

Source: the repository and the data set of V*, the task "vstar_bench" of lmms-eval, VLMEvalKit. Licence: its
card names none; the photographs are of SA-1B, which has a licence of its own.
"""  # noqa: E501

from __future__ import annotations

import json
import random
from functools import partial
from pathlib import Path
from typing import Any

from pixelreasoner.evals.aggregates import micro_and_kinds
from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.benchmarks.rows import (
    Row,
    boxes_cue,
    choice_row,
    compat,
    inline_options,
    lettered,
    listed,
    picture,
)
from pixelreasoner.rewards.choices import LETTERS
from pixelreasoner.rewards.scorers import choice
from pixelreasoner.tasks.datasets.data_files import FILE_COLUMN
from pixelreasoner.tasks.datasets.reader import DatasetReader, NormalRow
from pixelreasoner.tasks.datasets.report import UnusableError

HUB_ID = "craigwu/vstar_bench"
EXPECTED = {"direct_attributes": 115, "relative_position": 76}


def read(row: Row, *, seed: int) -> NormalRow:
    """What a row of any layout means; `seed` is of the order of options that are not shuffled yet."""
    if "options" in row:
        return _original(row, seed)
    identity = row.get("question_id", row.get("index"))
    fields = {
        # Copies of the data number the questions of each category from 0, or all of them.
        "id": None if identity is None else f"vstar-{row.get('category')}-{identity}",
        "kind": row.get("category"),
        "images": [picture(row["image"])] if row.get("image") else [],
    }
    if "text" in row:
        question, options = inline_options(str(row["text"]))
        return choice_row(question, options, row.get("label"), cue=_cue_beside(row), **fields)
    return choice_row(row.get("question"), lettered(row), row.get("answer"), **fields)


def _original(row: Row, seed: int) -> NormalRow:
    file = Path(row[FILE_COLUMN])
    options = [str(option) for option in listed(row["options"])]
    if not options:
        raise UnusableError("no options")
    if len(options) > len(LETTERS):
        raise UnusableError(f"more than {len(LETTERS)} options")
    order = random.Random(f"{seed}/{file.parent.name}/{file.stem}").sample(range(len(options)), len(options))
    pictures = [p for suffix in (".jpg", ".jpeg", ".png") if (p := file.with_suffix(suffix)).exists()]
    return choice_row(
        row.get("question"),
        [options[i] for i in order],
        LETTERS[order.index(0)],
        id=f"vstar-{file.parent.name}-{file.stem}",
        kind=file.parent.name,
        images=[f"{file.parent.name}/{pictures[0].name if pictures else f'{file.stem}.jpg'}"],
        cue=_cue(row),
    )


def _cue_beside(row: Row) -> dict[str, Any] | None:
    """The cue from the JSON that lies beside the picture, where there is one."""
    if not isinstance(name := row.get("image"), str):
        return None
    annotation = Path(row[FILE_COLUMN]).parent / Path(name).with_suffix(".json")
    try:
        found = json.loads(annotation.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return _cue(found) if isinstance(found, dict) else None


def _cue(row: Row) -> dict[str, Any] | None:
    """The boxes of a row, which are left, top, width and height there."""
    boxes: list[tuple[float, ...]] = []
    for box in listed(row.get("bbox")):
        try:
            x, y, w, h = map(float, box)
        except (TypeError, ValueError) as e:
            raise UnusableError("a box is no four numbers", str(box)[:60]) from e
        boxes.append((x, y, x + w, y + h))
    return boxes_cue(boxes)


def vstar(*, path: str = HUB_ID, seed: int = 0, pr_compat: bool = True) -> Benchmark:
    """The registered benchmark "vstar".

    Args:
        path: the data set's folder, a file of its rows, or its name on the hub.
        seed: of the order of the options, in the original layout.
        pr_compat: whether to give that score too.

    Raises:
        RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    reader = DatasetReader(
        name="vstar",
        splits=("test",),
        files=("test_questions.jsonl", "data/test-*.parquet", "*.parquet", "*.tsv", "[dr]*_*/*.json"),
        columns=("question_id", "text", "label", "image", "category", FILE_COLUMN),
        read=partial(read, seed=seed),
        hub_files=("*.jsonl", "data/*.parquet", "direct_attributes/*", "relative_position/*"),
        large=("image",),
        objects=True,
    )
    return Benchmark(
        name="vstar",
        tasks=reader.open(split="test", path=path),
        scorer=choice,
        expected_rows=EXPECTED,
        scores=compat(pr_compat),
        aggregate=micro_and_kinds,
        metric="share of right letters, mean over all questions",
        source=f"{path}; options of the original layout shuffled with seed {seed}",
        licence="none named on the card; photographs: SA-1B",
    )
