"""HR-Bench: cycles of options, and pictures in base64."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from evals.benchmarks.conftest import base64_png, check_scores, check_wrong_letters, tasks_of, write_tsv
from pixelreasoner.core.errors import RecordError
from pixelreasoner.evals.aggregates import mean_of_cycles
from pixelreasoner.evals.benchmark import load_benchmark
from pixelreasoner.evals.benchmarks.hrbench import hrbench

OPTIONS = ["red", "blue", "green", "white"]


def rows(n_questions: int = 2) -> list[dict[str, object]]:
    """The right option, "red", moves on by one in each cycle."""
    made = []
    for question in range(n_questions):
        for cycle in range(4):
            options = OPTIONS[-cycle:] + OPTIONS[:-cycle]
            made.append({
                "index": 4 * question + cycle, "question": f"Which colour has thing {question}?",
                "answer": "ABCD"[cycle], "category": "cross" if question % 2 else "single",
                **dict(zip("ABCD", options, strict=True)), "cycle_category": f"cycle_{cycle}",
                "image": base64_png(question % 2),
            })  # fmt: skip
    return made


def test_the_table_of_the_hub(tmp_path: Path):
    write_tsv(tmp_path / "hr_bench_4k.tsv", rows())
    benchmark = hrbench(path=str(tmp_path))
    tasks = check_scores(benchmark)
    check_wrong_letters(benchmark, tasks)
    assert [t.kind for t in tasks[3:5]] == ["single/cycle_3", "cross/cycle_0"]
    assert {t.options["ABCD".index(t.answers[0])] for t in tasks} == {"red"}
    with pytest.raises(RecordError, match="holds no file of hrbench-8k"):
        hrbench(path=str(tmp_path), size="8k")


def test_the_parquet_of_the_hub_has_pictures_as_text(tmp_path: Path, parquet):
    pa = pytest.importorskip("pyarrow")
    text = dict.fromkeys(
        ("question", "answer", "category", "A", "B", "C", "D", "cycle_category", "image"), pa.string()
    )
    parquet(tmp_path / "hr_bench_8k.parquet", rows(), {"index": pa.int64(), **text})
    tasks = check_scores(hrbench(path=str(tmp_path), size="8k"))
    assert len(tasks) == 8
    assert tasks[0].media[0].size == (30, 20)


def test_the_rows_are_counted_by_category_and_by_cycle(tmp_path: Path):
    whole = rows(200)
    write_tsv(tmp_path / "hr_bench_4k.tsv", whole)
    benchmark = load_benchmark("hrbench", {"path": str(tmp_path)})
    assert benchmark.tasks.size == 800
    assert benchmark.facts([])["complete"] is True
    # As many rows, but one of a cycle too many.
    whole[5]["cycle_category"] = "cycle_0"
    write_tsv(tmp_path / "hr_bench_4k.tsv", whole)
    with pytest.raises(RecordError, match=r"rows of kind '\*/cycle_0' instead of 200"):
        load_benchmark("hrbench", {"path": str(tmp_path)})
    write_tsv(tmp_path / "hr_bench_4k.tsv", rows(199))
    with pytest.raises(RecordError, match=r"rows of kind 'cross/\*' instead of 400"):
        load_benchmark("hrbench", {"path": str(tmp_path)})


def test_the_figure_is_the_mean_of_the_cycles():
    # Cycle 0: single 1, cross 0; cycle 1: single 0 (of two rows), cross 1.
    scored = [("single/0", 1.0), ("cross/0", 0.0), ("single/1", 0.0), ("single/1", 0.0), ("cross/1", 1.0)]
    figures = mean_of_cycles(scored)
    assert figures["cycles"] == {"0": 0.5, "1": pytest.approx(1 / 3)}
    assert figures["all"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert (figures["single"], figures["cross"]) == (0.5, 0.5)


def test_a_picture_of_8k_is_shown_whole(tmp_path: Path):
    content = io.BytesIO()
    Image.new("L", (7680, 4320), 200).save(content, "JPEG")
    row = {**rows(1)[0], "image": base64.b64encode(content.getvalue()).decode()}
    write_tsv(tmp_path / "HRBench8K.tsv", [row])
    (task,) = hrbench(path=str(tmp_path), size="8k").tasks.take(0, 1)
    assert task.media[0].size == (7680, 4320)


def hr_row(**fields: Any) -> dict[str, Any]:
    options = {"A": "cat", "B": "dog", "C": "cow"}
    names = {
        "index": 1,
        "question": "What is it?",
        "answer": "B",
        "category": "single",
        "cycle_category": "0",
    }
    return {**names, **options, "image": base64_png(), **fields}


def test_nan_is_an_empty_field_and_a_data_uri_a_picture(tmp_path: Path):
    row = hr_row(D=float("nan"), image=f"data:image/png;base64,{base64_png()}")
    (tmp_path / "hr_bench_4k.jsonl").write_text(json.dumps(row) + "\n")
    (task,) = tasks_of(hrbench(path=str(tmp_path)))
    assert task.options == ("cat", "dog", "cow")
    assert task.media[0].size == (30, 20)
