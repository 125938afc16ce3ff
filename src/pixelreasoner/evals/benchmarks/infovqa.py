"""InfographicVQA: questions about infographics, compared by ANLS (M. Mathew et al., WACV 2022).

| layout | rows |
|---|---|
| official JSON | `{"data": [...]}`: `questionId, question, answers, image_local_name` |
| `lmms-lab/DocVQA`, Parquet, configuration InfographicVQA | `questionId, question, answers, image` |
| VLMEvalKit `InfoVQA_VAL.tsv`, `InfoVQA_TEST.tsv` | `index, image, question, answer` (a list as text; none in the test split) |

The test split has no public answers: every answer to it scores 0 here, and only the organisers can score it.
What the paper calls "InfoVQA-test" has answers, so it is another set (`pixelreasoner-eval`). The reproducible
figure is that of the validation split. Infographics may be longer than 200 times their width: a question whose
picture the model cannot be shown is named as it passes, and scores 0.

Source: the cards of lmms-lab/DocVQA and VLMEvalKit. Licence: for research, as the organisers say (not
verified).
"""  # noqa: E501

from __future__ import annotations

from typing import Literal

from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.benchmarks.rows import Row, compat, listed, picture
from pixelreasoner.rewards.anls import anls
from pixelreasoner.tasks.datasets.answers import Answers, plain_question, read_answers
from pixelreasoner.tasks.datasets.reader import DatasetReader, NormalRow, normal_row
from pixelreasoner.tasks.datasets.report import UnusableError

HUB_ID = "lmms-lab/DocVQA"
EXPECTED = {"validation": 2_801, "test": 3_288}


def read(row: Row) -> NormalRow:
    """What a row means; without answers, one that nobody here can score."""
    question = plain_question(row.get("question"))
    values = row.get("answers", row.get("answer"))
    try:
        references = listed(values)
    except UnusableError:
        references = [values]  # one answer, as it stands
    answers = read_answers(references, question) if references else Answers((), "unknown", "anls")
    image = row.get("image") or row.get("image_local_name")
    identity = row.get("questionId", row.get("index"))
    return normal_row(
        answers._replace(scorer="anls"),
        id=None if identity is None else f"infovqa-{identity}",
        question=question,
        kind="infographic",
        images=[picture(image)] if image else [],
    )


def infovqa(
    *, path: str = HUB_ID, split: Literal["validation", "test"] = "validation", pr_compat: bool = True
) -> Benchmark:
    """The registered benchmark "infovqa".

    Args:
        path: the data set's folder, a file of its rows, or its name on the hub.
        split: "validation", or "test", which has no public answers.
        pr_compat: whether to give that score too.

    Raises:
        ConfigError, RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    short = {"validation": "VAL", "test": "TEST"}
    reader = DatasetReader(
        name="infovqa",
        splits=tuple(EXPECTED),
        files=(
            "InfographicVQA/{split}-*.parquet",
            "data/{split}-*.parquet",
            "{split}*.parquet",
            "infographicsVQA_{split:.3}*.json",
            f"InfoVQA_{short.get(split, split)}.tsv",
            "{split}.jsonl",
            "{split}.json",
        ),
        columns=("questionId", "question", "answers", "image", "image_local_name"),
        read=read,
        hub_files=(f"InfographicVQA/{split}-*.parquet",),
        media_folders=("infographicsvqa_images", "images"),
        large=("image",),
    )
    return Benchmark(
        name=f"infovqa-{split}",
        tasks=reader.open(split=split, path=path),
        scorer=anls,
        expected_rows={"infographic": EXPECTED[split]},
        scores=compat(pr_compat),
        metric="ANLS, threshold 0.5, as lmms-eval and VLMEvalKit",
        source=f"{path}, split {split}",
        licence="for research, as the organisers say (not verified)",
    )
