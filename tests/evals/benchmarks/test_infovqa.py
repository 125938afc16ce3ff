"""InfographicVQA in its three layouts, with answers and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.benchmarks.conftest import base64_png, check_scores, tasks_of, write_tsv
from pixelreasoner.core.errors import RecordError
from pixelreasoner.evals.benchmark import load_benchmark
from pixelreasoner.evals.benchmarks.infovqa import infovqa
from tasks.datasets.conftest import png, put, write_json


def test_the_official_layout(tmp_path: Path):
    put(tmp_path, "images/1.jpg")
    write_json(tmp_path / "infographicsVQA_val_v1.0.json", [
        {"questionId": 7, "question": "Which share?", "answers": ["45%", "45 percent"],
         "image_local_name": "1.jpg"},
    ], dataset_name="infographicVQA")  # fmt: skip
    benchmark = infovqa(path=str(tmp_path))
    (task,) = check_scores(benchmark)
    assert (task.id, task.answers, task.kind) == ("infovqa-7", ("45%", "45 percent"), "infographic")
    # The best of the references: 1 - 1/3 for one character of three.
    assert benchmark.scorer("45", task.answers, task) == pytest.approx(2 / 3)
    # ANLS is of the unboxed answer: a box in it costs its characters.
    assert benchmark.scorer(r"\boxed{45%}", task.answers, task) == 0.0


def test_the_layout_of_lmms_eval(tmp_path: Path, parquet):
    pa = pytest.importorskip("pyarrow")
    text = pa.string()
    parquet(
        tmp_path / "InfographicVQA" / "validation-00000.parquet",
        [{"questionId": "9", "question": "Who?", "answers": ["Ada", "Ada Lovelace"],
          "image": {"bytes": png(), "path": None}}],
        {"questionId": text, "question": text, "answers": pa.list_(text),
         "image": pa.struct([("bytes", pa.binary()), ("path", text)])},
    )  # fmt: skip
    (task,) = check_scores(infovqa(path=str(tmp_path)))
    assert task.answers == ("Ada", "Ada Lovelace")


def test_the_tables_of_vlmevalkit(tmp_path: Path):
    write_tsv(tmp_path / "InfoVQA_VAL.tsv", [
        {"index": 0, "image": base64_png(), "question": "Who?", "answer": "['Ada', 'Ada Lovelace']"},
        {"index": 1, "image": base64_png(1), "question": "How many?", "answer": "4"},
    ])  # fmt: skip
    write_tsv(tmp_path / "InfoVQA_TEST.tsv", [{"index": 0, "image": base64_png(), "question": "Who?"}])
    first, second = check_scores(infovqa(path=str(tmp_path)))
    assert (first.answers, second.answers) == (("Ada", "Ada Lovelace"), ("4",))
    # The answers of the test split are not public: whatever is said scores 0.
    hidden = infovqa(path=str(tmp_path), split="test")
    (task,) = tasks_of(hidden)
    assert task.answers == ()
    assert hidden.scorer("Ada", task.answers, task) == 0.0
    assert (hidden.expected_rows, hidden.name) == ({"infographic": 3_288}, "infovqa-test")


def test_the_rows_are_counted(tmp_path: Path):
    put(tmp_path, "1.jpg")
    row = {"questionId": 7, "question": "Who?", "answers": ["Ada"], "image_local_name": "1.jpg"}
    write_json(tmp_path / "validation.json", [row])
    with pytest.raises(RecordError, match="1 rows of kind 'infographic' instead of 2801"):
        load_benchmark("infovqa", {"path": str(tmp_path)})
