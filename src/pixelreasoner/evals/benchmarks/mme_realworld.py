"""MME-RealWorld: multiple choice about large pictures of five domains (Y. Zhang et al., ICLR 2025).

| layout | rows |
|---|---|
| lmms-eval, Parquet | `index, question, multi-choice options, answer, category, l2-category, bytes` (base64) |
| VLMEvalKit, TSV | `index, image` (base64)`, question, multi-choice options` or `A` to `E`, `answer, category, l2-category` |
| official JSON | `Question_id, Image, Text, Answer choices, Ground truth, Category, Subtask, Task` |

Five options, of which the last one, (E), says that the picture does not show what is asked. A kind is a
category, "Perception/Remote Sensing" and the like. Sets: "en" (23,609 rows), "lite" (1,919), "cn" (5.9
thousand: its copies differ, and no number is asserted).

Source: the task "mme_realworld" of lmms-eval, the hub's file lists of `yifanzhang114/MME-RealWorld*`. Not
verified: the numbers of rows, and the field names of the official JSON. Licence: Apache-2.0, as its card says.
"""  # noqa: E501

from __future__ import annotations

from typing import Literal

from pixelreasoner.evals.aggregates import mean_over_all_rows
from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.benchmarks.rows import Row, choice_row, compat, lettered, listed, picture
from pixelreasoner.rewards.scorers import choice
from pixelreasoner.tasks.datasets.reader import DatasetReader, NormalRow

HUB_IDS = {
    "en": "yifanzhang114/MME-RealWorld-Lmms-eval",
    "lite": "yifanzhang114/MME-RealWorld-lite-lmms-eval",
    "cn": "yifanzhang114/MME-RealWorld-CN-Lmms-eval",
}
EXPECTED = {"en": {"*": 23_609}, "lite": {"*": 1_919}, "cn": {}}
Subset = Literal["en", "lite", "cn"]


def read(row: Row) -> NormalRow:
    """What a row means."""
    if "Answer choices" in row:
        kind = "/".join(str(row[name]) for name in ("Task", "Subtask") if row.get(name))
        identity, image, question = row.get("Question_id"), row.get("Image"), row.get("Text")
        options, answer = listed(row["Answer choices"]), row.get("Ground truth")
    else:
        kind = str(row.get("category") or "open")
        identity, image, question = row.get("index"), row.get("bytes", row.get("image")), row.get("question")
        options, answer = listed(row.get("multi-choice options")) or lettered(row), row.get("answer")
    return choice_row(
        question,
        options,
        answer,
        id=None if identity is None else f"mme-realworld-{identity}",
        kind=kind or "open",
        images=[picture(image)] if image else [],
    )


def mme_realworld(*, subset: Subset = "lite", path: str = "", pr_compat: bool = True) -> Benchmark:
    """The registered benchmark "mme-realworld".

    Args:
        subset: "lite", "en" or "cn".
        path: the data set's folder, a file of its rows, or its name on the hub; that of the set by default.
        pr_compat: whether to give that score too.

    Raises:
        RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    path = path or HUB_IDS[subset]
    reader = DatasetReader(
        name=f"mme-realworld-{subset}",
        splits=("test",),
        files=("data/*.parquet", "*.parquet", "*.tsv", "MME_RealWorld*.json", "*.json", "*.jsonl"),
        columns=(
            *("index", "question", "multi-choice options", "answer", "category", "l2-category"),
            *("bytes", "image", "A", "B", "C", "D", "E"),
        ),
        read=read,
        hub_files=("data/*.parquet",),
        media_folders=("imgs", "images", "data", "data/imgs"),
        large=("bytes", "image"),
    )
    return Benchmark(
        name=f"mme-realworld-{subset}",
        tasks=reader.open(split="test", path=path),
        scorer=choice,
        expected_rows=EXPECTED[subset],
        scores=compat(pr_compat),
        aggregate=mean_over_all_rows,
        metric="share of right letters over all questions",
        source=path,
        licence="Apache-2.0 (rows); pictures: of their sources",
    )
