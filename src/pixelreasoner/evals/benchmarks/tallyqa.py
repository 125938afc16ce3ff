"""TallyQA: how many things of a kind a photograph shows (M. Acharya et al., AAAI 2019).

| layout | rows |
|---|---|
| original `test.json` | `image, answer, issimple, image_id, question_id, question, data_source` |
| `vikhyatk/tallyqa-test` | a picture each: `image`, `qa`: a list of `{question, answer, is_simple}` |
| VLMEvalKit `tallyqa_data.tsv` | `index, image, question, answer`, and one of `issimple`, `is_simple` |

Complex questions are those that are not simple ("How many dogs are eating?"). Simple and complex are never
mixed in one figure. The paper evaluates 3,200 complex ones, chosen by a rule that is not published
(`pixelreasoner-eval` reads that set). Counts are compared exactly, without a tolerance
(`rewards.scorers.integer`).

Source: the field names of the original files as their readers use them, the card of
`vikhyatk/tallyqa-test`, VLMEvalKit. Not verified: 22,991 simple and 15,598 complex questions of 38,589, and
whether the TSV has the flag. Licence: not verified; the photographs are of Visual Genome.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from pixelreasoner.evals.aggregates import micro_and_kinds
from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.benchmarks.rows import Row, compat, picture
from pixelreasoner.rewards.scorers import integer
from pixelreasoner.tasks.datasets.answers import plain_question, read_answers
from pixelreasoner.tasks.datasets.reader import DatasetReader, NormalRow, normal_row
from pixelreasoner.tasks.datasets.report import UnusableError

HUB_ID = "vikhyatk/tallyqa-test"
EXPECTED = {"simple": 22_991, "complex": 15_598}
Subset = Literal["complex", "simple", "all"]
_UNKNOWN = "unknown"


def questions(row: Row, *, subset: Subset) -> Sequence[Row]:
    """The questions of a row that are of the subset; one whose kind is not known is left to `read`."""
    asked = row.get("qa")
    rows = [{**row, **one} for one in asked] if isinstance(asked, list) else [row]
    wanted = ("simple", "complex") if subset == "all" else (subset,)
    return [one for one in rows if _kind(one) in (*wanted, _UNKNOWN)]


def read(row: Row) -> NormalRow:
    """What a question means."""
    question = plain_question(row.get("question"))
    if (kind := _kind(row)) == _UNKNOWN:
        raise UnusableError("nothing says whether the question is simple; take another copy of the data")
    image, identity = row.get("image"), row.get("question_id")
    return normal_row(
        read_answers(row.get("answer"), question)._replace(scorer="integer"),
        id=None if identity is None else f"tallyqa-{identity}",
        question=question,
        kind=kind,
        images=[picture(image)] if image else [],
    )


def _kind(row: Row) -> str:
    flag = row.get("is_simple", row.get("issimple"))
    names = {"true": "simple", "1": "simple", "false": "complex", "0": "complex"}
    return names.get(str(flag).lower(), _UNKNOWN)


def tallyqa(*, path: str = HUB_ID, subset: Subset = "complex", pr_compat: bool = True) -> Benchmark:
    """The registered benchmark "tallyqa"; its kinds are "simple" and "complex".

    Args:
        path: the data set's folder, a file of its rows, or its name on the hub.
        subset: "complex", "simple" or "all".
        pr_compat: whether to give that score too.

    Raises:
        RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    reader = DatasetReader(
        name="tallyqa",
        splits=("test",),
        files=(
            "test.json",
            "data/test-*.parquet",
            "test-*.parquet",
            "*.parquet",
            "tallyqa*.tsv",
            "*.tsv",
            "*.jsonl",
        ),
        columns=("question", "answer", "image", "qa", "question_id", "issimple", "is_simple"),
        read=read,
        hub_files=("data/*.parquet",),
        large=("image",),
        expand=partial(questions, subset=subset),
    )
    return Benchmark(
        name=f"tallyqa-{subset}",
        tasks=reader.open(split="test", path=path),
        scorer=integer,
        expected_rows=EXPECTED if subset == "all" else {subset: EXPECTED[subset]},
        scores=compat(pr_compat),
        aggregate=micro_and_kinds,
        metric="share of right counts, no tolerance",
        source=path,
        licence="not verified; photographs: Visual Genome",
    )
