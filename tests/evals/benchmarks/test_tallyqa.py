"""TallyQA in its three layouts; simple and complex questions are kept apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.benchmarks.conftest import base64_png, check_scores, tasks_of, write_tsv
from pixelreasoner.core.errors import RecordError
from pixelreasoner.evals.benchmark import load_benchmark
from pixelreasoner.evals.benchmarks.tallyqa import tallyqa
from tasks.datasets.conftest import png, put, write_json


def original(folder: Path) -> None:
    put(folder, "VG_100K/1.jpg", "VG_100K_2/2.jpg")
    write_json(folder / "test.json", [
        {"image": "VG_100K/1.jpg", "answer": 3, "issimple": False, "image_id": 1, "question_id": 11,
         "question": "How many dogs are eating?", "data_source": "imported_genome"},
        {"image": "VG_100K/1.jpg", "answer": 1, "issimple": True, "image_id": 1, "question_id": 12,
         "question": "How many cats?", "data_source": "amt"},
        {"image": "VG_100K_2/2.jpg", "answer": 0, "issimple": False, "image_id": 2, "question_id": 13,
         "question": "How many men wear hats?", "data_source": "amt"},
    ])  # fmt: skip


def test_the_original_layout(tmp_path: Path):
    original(tmp_path)
    benchmark = tallyqa(path=str(tmp_path))
    assert benchmark.name == "tallyqa-complex"
    tasks = check_scores(benchmark)
    assert [(t.id, t.kind, t.answers) for t in tasks] == [
        ("tallyqa-11", "complex", ("3",)),
        ("tallyqa-13", "complex", ("0",)),
    ]
    three, none = tasks
    # A count is compared exactly: no tolerance, no first number of several, words are numbers.
    answers = {"three": 1.0, "3.0": 1.0, "3.1": 0.0, "2, 3": 0.0, "3-4": 0.0, "-3": 0.0, "about 3": 0.0}
    assert {a: benchmark.scorer(a, three.answers, three) for a in answers} == answers
    assert benchmark.scorer("none", none.answers, none) == 1.0
    assert [t.id for t in check_scores(tallyqa(path=str(tmp_path), subset="simple"))] == ["tallyqa-12"]
    both = tallyqa(path=str(tmp_path), subset="all")
    assert [t.kind for t in check_scores(both)] == ["complex", "simple", "complex"]
    assert both.expected_rows == {"simple": 22_991, "complex": 15_598}


def test_a_row_of_a_picture_stands_for_its_questions(tmp_path: Path, parquet):
    pa = pytest.importorskip("pyarrow")
    text = pa.string()
    qa = [
        [{"question": "How many dogs?", "answer": "2", "is_simple": True},
         {"question": "How many dogs run?", "answer": "1", "is_simple": False}],
        [{"question": "How many red cars?", "answer": "4", "is_simple": False},
         {"question": "How many blue cars?", "answer": "5", "is_simple": False}],
    ]  # fmt: skip
    parquet(
        tmp_path / "data" / "test-00000.parquet",
        [{"image": {"bytes": png(i), "path": None}, "qa": asked} for i, asked in enumerate(qa)],
        {"image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
         "qa": pa.list_(pa.struct([("question", text), ("answer", text), ("is_simple", pa.bool_())]))},
    )  # fmt: skip
    tasks = check_scores(tallyqa(path=str(tmp_path)))
    assert [(t.question, t.answers) for t in tasks] == [
        ("How many dogs run?", ("1",)),
        ("How many red cars?", ("4",)),
        ("How many blue cars?", ("5",)),
    ]
    assert len({t.id for t in tasks}) == 3
    assert tasks[1].media == tasks[2].media != tasks[0].media
    # Any order, and one question of a picture without the others.
    source = tallyqa(path=str(tmp_path)).tasks
    assert [t.id for at in (2, 0, 1) for t in source.take(at, 1)] == [tasks[at].id for at in (2, 0, 1)]


def test_a_table_with_pictures_of_other_rows(tmp_path: Path):
    write_tsv(tmp_path / "tallyqa_data.tsv", [
        {"index": "0", "image": base64_png(3), "question": "How many dogs run?", "answer": 1,
         "issimple": False},
        {"index": "1", "image": "0", "question": "How many dogs sit?", "answer": 2, "issimple": False},
        {"index": "2", "image": "0", "question": "How many dogs?", "answer": 3, "issimple": True},
    ])  # fmt: skip
    first, second = check_scores(tallyqa(path=str(tmp_path)))
    assert first.media == second.media


def test_a_table_that_does_not_say_what_is_complex_is_refused(tmp_path: Path):
    write_tsv(tmp_path / "tallyqa_data.tsv", [
        {"index": "0", "image": base64_png(3), "question": "How many dogs run?", "answer": 1},
    ])  # fmt: skip
    with pytest.raises(RecordError, match="nothing says whether the question is simple"):
        tallyqa(path=str(tmp_path))


def test_the_rows_are_counted(tmp_path: Path):
    original(tmp_path)
    with pytest.raises(RecordError, match="2 rows of kind 'complex' instead of 15598"):
        load_benchmark("tallyqa", {"path": str(tmp_path)})


def test_questions_of_another_form_leave_their_picture_out(tmp_path: Path):
    good = {"question": "How many dogs?", "answer": "2", "is_simple": False}
    rows = [{"image": base64_png(), "qa": qa} for qa in ([None], [good])]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (task,) = tasks_of(tallyqa(path=str(tmp_path)))
    assert task.answers == ("2",)


def test_a_set_without_a_row_of_the_subset_says_so(tmp_path: Path):
    row = {"image": base64_png(), "question": "How many dogs?", "answer": "2", "is_simple": True}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(RecordError, match="no row of what is asked for; check its files and options"):
        tallyqa(path=str(tmp_path))
