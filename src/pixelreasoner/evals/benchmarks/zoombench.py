"""ZoomBench: fine detail in six respects, with the crop that shows it, 845 questions (arXiv 2602.11858).

Parquet of `inclusionAI/ZoomBench`, split test: a question (`query`, or `prompt` in the card's words), an
answer (`response` or `answer`), `image`, `crop_image`, `question_type` ("mcq" or open), and a box of the
evidence, `bbox`, in pixels. 621 questions list their options, line by line, and have a letter for an answer;
224 are open. `view = "crop"` asks about the crop instead: the difference of the two is the "zooming gap" of
its authors.

Open answers are judged by a language model there; here they are compared (`rewards.answers`), and with a
section [judge] the score "judge" is given beside it.

Source: the card and the scripts of the repository inclusionAI/Zooming-without-Zooming. Not verified: the
column that names the respect, and whether `bbox` is in the released file. Licence: Apache-2.0, as its card
says.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from pixelreasoner.evals.aggregates import micro_and_kinds
from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.benchmarks.rows import Row, boxes_cue, compat, picture
from pixelreasoner.rewards.scorers import build_scorer
from pixelreasoner.tasks.datasets.answers import plain_question, read_answers
from pixelreasoner.tasks.datasets.reader import DatasetReader, NormalRow, normal_row

HUB_ID = "inclusionAI/ZoomBench"
N_ROWS = 845
KINDS = ("category", "dimension", "sub_task", "question_type")
"""Columns that may name what is asked; the first that is there counts."""
View = Literal["full", "crop"]


def _first(row: Row, *names: str) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def read(row: Row, *, view: View) -> NormalRow:
    """What a row means."""
    question = plain_question(_first(row, "query", "prompt", "question"))
    identity = row.get("id")
    image = row.get("image" if view == "full" else "crop_image")
    answers = read_answers(_first(row, "response", "answer"), question)
    box = row.get("bbox") if view == "full" else None
    return normal_row(
        # A letter whose options stand in the question in another form is compared as a letter too.
        answers._replace(scorer="choice") if answers.form == "letter" else answers,
        id=None if identity is None else f"zoombench-{identity}",
        question=question,
        kind=str(_first(row, *KINDS) or "open"),
        images=[picture(image)] if image else [],
        cue=boxes_cue([box]) if box else None,
    )


def zoombench(*, path: str = HUB_ID, view: View = "full", pr_compat: bool = True) -> Benchmark:
    """The registered benchmark "zoombench".

    Args:
        path: the data set's folder, a file of its rows, or its name on the hub.
        view: "full", or "crop" for the crop that shows the evidence.
        pr_compat: whether to give that score too.

    Raises:
        RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    reader = DatasetReader(
        name="zoombench",
        splits=("test",),
        files=("data/test*.parquet", "test*.parquet", "*.parquet", "*.tsv", "*.jsonl", "*.json"),
        columns=(
            *("id", "query", "prompt", "question", "response", "answer", "image", "crop_image", "bbox"),
            *KINDS,
        ),
        read=partial(read, view=view),
        hub_files=("data/test*.parquet",),
        large=("image", "crop_image"),
    )
    return Benchmark(
        name="zoombench" if view == "full" else "zoombench-crop",
        tasks=reader.open(split="test", path=path),
        scorer=build_scorer(),
        expected_rows={"*": N_ROWS},
        scores=compat(pr_compat),
        aggregate=micro_and_kinds,
        metric="share of right letters and of equal open answers; the published ones are judged",
        source=path,
        licence="Apache-2.0",
    )
