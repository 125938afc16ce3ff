r"""TreeBench: 405 questions about small things in photographs full of objects, with boxes of the evidence.

`TreeBench.tsv`: `image` (base64)`, question, A, B, ..., answer, category, target_instances, multi-choice
options`. A category is "Perception/OCR" and the like; the OCR rows list their options in the question.
`target_instances` holds [left, top, right, bottom] boxes in pixels: they become the cue, and the reference of
mIoU. The score "box_iou" is that of a rollout that writes `<box>[x1,y1,x2,y2]</box>`, in pixels of the
picture, as TreeVGR does; a rollout without boxes has none, and counts as 0 in the published mIoU
(`all_rows`).

Published extractors take "A" for an empty answer, and the first capital letter of "Based on ..."; here
neither chooses anything.

Source: `HaochenWang/TreeBench` and the repository of TreeVGR (arXiv 2507.07999). Licence: Apache-2.0, as its
card says; the photographs are of SA-1B.
"""

from __future__ import annotations

import re

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.evals.aggregates import mean_best_iou, mean_over_all_rows
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
from pixelreasoner.rewards.choices import listed_options
from pixelreasoner.rewards.scorers import choice
from pixelreasoner.tasks.datasets.answers import plain_question, read_answers
from pixelreasoner.tasks.datasets.reader import DatasetReader, NormalRow, normal_row

HUB_ID = "HaochenWang/TreeBench"
EXPECTED = {
    "Perception/Attributes": 29,
    "Perception/Material": 13,
    "Perception/Physical State": 23,
    "Perception/Object Retrieval": 16,
    "Perception/OCR": 68,
    "Reasoning/Perspective Transform": 85,
    "Reasoning/Ordering": 57,
    "Reasoning/Contact and Occlusion": 41,
    "Reasoning/Spatial Containment": 29,
    "Reasoning/Comparison": 44,
}
_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_BOX = re.compile(rf"<box>\s*\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]\s*</box>")


def read(row: Row) -> NormalRow:
    """What a row means."""
    question = plain_question(row.get("question"))
    options = lettered(row) or listed(row.get("multi-choice options"))
    fields = {
        "id": f"treebench-{row['index']}" if "index" in row else None,
        "kind": row.get("category"),
        "images": [picture(row["image"])] if row.get("image") else [],
        "cue": boxes_cue([_sides(box) for box in listed(row.get("target_instances"))]),
    }
    if not options and not listed_options(question):
        question, options = inline_options(question)
    if options:
        return choice_row(question, options, row.get("answer"), **fields)
    # The options stand in the question line by line, and it stays as it is.
    answers = read_answers(row.get("answer"), question)
    return normal_row(answers._replace(scorer="choice"), question=question, **fields)


def _sides(box: object) -> object:
    """The four numbers of an instance, which may stand under a name."""
    return box["bbox"] if isinstance(box, dict) and "bbox" in box else box


def box_iou(trajectory: Trajectory) -> float | None:
    """The mean over reference boxes of the best IoU with one that the rollout wrote; None without boxes."""
    cue = trajectory.task.cue
    if cue is None or cue.box is None:
        return None
    text = "".join(turn.text for turn in trajectory.turns)
    sides = (map(float, match.groups()) for match in _BOX.finditer(text))
    found = [Box(left, top, right, bottom) for left, top, right, bottom in sides]
    return mean_best_iou(found, cue.boxes or (cue.box,)) if found else None


def treebench(*, path: str = HUB_ID, pr_compat: bool = True) -> Benchmark:
    """The registered benchmark "treebench".

    Args:
        path: the data set's folder, a file of its rows, or its name on the hub.
        pr_compat: whether to give that score too.

    Raises:
        RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    reader = DatasetReader(
        name="treebench",
        splits=("test",),
        files=("TreeBench.tsv", "*.tsv", "*.parquet", "*.jsonl"),
        columns=(
            *("index", "question", "answer", "category", "A", "B", "C", "D", "E", "F"),
            *("target_instances", "multi-choice options", "image"),
        ),
        read=read,
        hub_files=("*.tsv",),
        large=("image",),
    )
    return Benchmark(
        name="treebench",
        tasks=reader.open(split="test", path=path),
        scorer=choice,
        expected_rows=EXPECTED,
        scores={**compat(pr_compat), "box_iou": box_iou},
        aggregate=mean_over_all_rows,
        metric="share of right letters",
        source=path,
        licence="Apache-2.0 (rows); photographs: SA-1B",
    )
