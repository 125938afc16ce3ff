"""HR-Bench: pictures of 4K and 8K, each question in four orders of its options (W. Wang et al., AAAI 2025).

200 questions, each with its options in four cyclic orders: 800 rows. Columns of the TSV and of the Parquet:
`index, question, answer, category, A, B, C, D, cycle_category, image` (base64). `category` is "single" or
"cross". A task's kind is "CATEGORY/CYCLE". Published is the mean of the four cycles' accuracies, for single,
cross and all; it is not the share of questions right in all four orders.

A picture of 8K may be shown with fewer pixels than it has: state `max_pixels` beside the score (it is in the
protocol of `summary.json`); an issue of HR-Bench's repository traces 47 instead of 78 to it.

Source: the repository of HR-Bench, the task "hrbench" of lmms-eval, VLMEvalKit. Not verified: the names of
the cycles, which are taken as they are. Licence: "other" on the card, with an empty file of the licence.
"""

from __future__ import annotations

from typing import Literal

from pixelreasoner.evals.aggregates import mean_of_cycles
from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.benchmarks.rows import Row, choice_row, compat, lettered, picture
from pixelreasoner.rewards.scorers import choice
from pixelreasoner.tasks.datasets.reader import DatasetReader, NormalRow

HUB_ID = "DreamMr/HR-Bench"
ROWS_OF_A_CATEGORY = 400
N_CYCLES, ROWS_OF_A_CYCLE = 4, 200


def read(row: Row) -> NormalRow:
    """What a row means."""
    return choice_row(
        row.get("question"),
        lettered(row),
        row.get("answer"),
        id=f"hrbench-{row.get('index')}",
        kind=f"{row.get('category')}/{row.get('cycle_category')}",
        images=[picture(row["image"])] if row.get("image") else [],
    )


def hrbench(*, path: str = HUB_ID, size: Literal["4k", "8k"] = "4k", pr_compat: bool = True) -> Benchmark:
    """The registered benchmark "hrbench".

    Args:
        path: the data set's folder, a file of its rows, or its name on the hub.
        size: "4k" or "8k".
        pr_compat: whether to give that score too.

    Raises:
        RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    reader = DatasetReader(
        name=f"hrbench-{size}",
        splits=("test",),
        files=(
            f"hr_bench_{size}.parquet",
            f"*hrbench_{size}*.parquet",
            f"*/hrbench_{size}*.parquet",
            f"HRBench{size.upper()}.tsv",
            f"hr_bench_{size}.tsv",
            f"hr_bench_{size}.jsonl",
        ),
        columns=("index", "question", "answer", "category", "A", "B", "C", "D", "cycle_category", "image"),
        read=read,
        hub_files=(f"*{size}*.parquet", f"*/*{size}*.parquet"),
        large=("image",),
    )
    tasks = reader.open(split="test", path=path)
    cycles = sorted({kind.partition("/")[2] for kind in tasks.kinds})
    return Benchmark(
        name=f"hrbench-{size}",
        tasks=tasks,
        scorer=choice,
        expected_rows={
            **{f"{category}/*": ROWS_OF_A_CATEGORY for category in ("single", "cross")},
            **{f"*/{cycle}": ROWS_OF_A_CYCLE for cycle in cycles},
            "*": N_CYCLES * ROWS_OF_A_CYCLE,
        },
        scores=compat(pr_compat),
        aggregate=mean_of_cycles,
        metric="share of right letters, mean of the four cycles",
        source=path,
        licence='"other" on the card',
    )
