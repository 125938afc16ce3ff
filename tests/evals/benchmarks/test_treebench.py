"""TreeBench: boxes are the cue, and the reference of mIoU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evals.benchmarks.conftest import base64_png, check_scores, check_wrong_letters, spoken, write_tsv
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.task import Cue
from pixelreasoner.evals.aggregates import mean_best_iou, mean_over_all_rows
from pixelreasoner.evals.benchmark import load_benchmark
from pixelreasoner.evals.benchmarks.treebench import EXPECTED, box_iou, treebench


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tsv(tmp_path / "TreeBench.tsv", [
        {"index": 0, "image": base64_png(), "question": "What is it made of?", "A": "rubber", "B": "cotton",
         "C": "kevlar", "D": "leather", "answer": "D", "category": "Perception/Material",
         "target_instances": "[[2.0, 3.0, 12.0, 13.0]]"},
        {"index": 1, "image": base64_png(1), "question": "Which is nearer?", "A": "the dog", "B": "the car",
         "answer": "A", "category": "Reasoning/Comparison",
         "target_instances": "[[0, 0, 10, 10], [20, 10, 30, 20]]"},
        {"index": 2, "image": base64_png(2), "question": "What is written there?\nA. EXIT\nB. TAXI",
         "answer": "B", "category": "Perception/OCR", "target_instances": "[[1, 1, 5, 5]]"},
        {"index": 3, "image": base64_png(3), "question": "What does it say? (A) GO (B) STOP", "answer": "B",
         "category": "Perception/OCR", "target_instances": "[]"},
    ])  # fmt: skip
    return tmp_path


def test_the_table_of_the_hub(folder: Path):
    benchmark = treebench(path=str(folder))
    tasks = check_scores(benchmark)
    check_wrong_letters(benchmark, tasks)
    assert [t.cue for t in tasks] == [
        Cue(Box(2, 3, 12, 13)),
        Cue(Box(0, 0, 30, 20), boxes=(Box(0, 0, 10, 10), Box(20, 10, 30, 20))),
        Cue(Box(1, 1, 5, 5)),
        None,
    ]
    written = tasks[2]
    assert (written.question, written.options) == ("What is written there?\nA. EXIT\nB. TAXI", ())
    assert benchmark.scorer("TAXI", written.answers, written) == 1.0
    assert tasks[3].options == ("GO", "STOP")
    # Published extractors read the first capital letter.
    assert benchmark.scorer("Based on the picture", written.answers, written) == 0.0


def test_the_boxes_a_rollout_writes(folder: Path):
    one, two, *_ = treebench(path=str(folder)).tasks.take(0, 4)
    assert box_iou(spoken(one, "<box>[2,3,12,13]</box> \\boxed{D}", "D")) == 1.0
    # Half of a box of 100 pixels, which is in view with no more: 50 / 100.
    assert box_iou(spoken(one, "<box> [2, 3, 7, 13] </box>", None)) == 0.5
    # For each of two references the best box: 1 and 25 / (100 + 100 - 25).
    text = "<box>[0,0,10,10]</box><box>[25,15,35,25]</box>"
    assert box_iou(spoken(two, text, None)) == pytest.approx((1 + 25 / 175) / 2)
    assert box_iou(spoken(one, "no box \\boxed{D}", "D")) is None
    assert box_iou(spoken(replace(one, cue=None), "<box>[2,3,12,13]</box>", None)) is None
    assert mean_best_iou([], [Box(0, 0, 1, 1)]) == 0.0


def test_the_figures_count_rows_without_boxes_as_nothing():
    scored = [("Perception/OCR", 0.8), ("Perception/OCR", None), ("Reasoning/Ordering", 0.4)]
    figures = mean_over_all_rows(scored)
    assert figures["all"] == pytest.approx(0.6)
    assert figures["all_rows"] == pytest.approx(0.4)
    assert figures["rows_with_score"] == 2
    assert figures["protocols"] == {"Perception": 0.8, "Reasoning": 0.4}
    assert figures["subtasks"]["Perception/OCR"] == 0.8


def test_the_rows_are_counted(folder: Path):
    assert sum(EXPECTED.values()) == 405
    with pytest.raises(RecordError, match="0 rows of kind 'Perception/Attributes' instead of 29"):
        load_benchmark("treebench", {"path": str(folder)})
