"""V* in its four layouts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.benchmarks.conftest import base64_png, check_scores, check_wrong_letters, tasks_of, write_tsv
from pixelreasoner.core.errors import MissingExtraError, RecordError
from pixelreasoner.core.geometry import Box
from pixelreasoner.evals.benchmark import load_benchmark
from pixelreasoner.evals.benchmarks.vstar import vstar
from tasks.datasets.conftest import png

ASK = "\nAnswer with the option's letter from the given choices directly."
ROWS = [
    {"question_id": 0, "image": "direct_attributes/sa_1.jpg", "category": "direct_attributes", "label": "B",
     "text": f"What is the material of the glove?\n(A) rubber\n(B) cotton (woven)\n(C) kevlar\n(D) leather"
             f"{ASK}"},
    {"question_id": 1, "image": "relative_position/sa_2.jpg", "category": "relative_position", "label": "A",
     "text": f"Is the dog on the left or right side of the car?\n(A) left\n(B) right{ASK}"},
]  # fmt: skip
ANNOTATIONS = {
    "direct_attributes/sa_1.json": {
        "target_object": ["glove"], "bbox": [[2, 3, 4, 5]], "question": "What is the material of the glove?",
        "options": ["The material of the glove is cotton.", "The material of the glove is rubber.", "c", "d"],
    },
    "relative_position/sa_2.json": {
        "target_object": ["dog", "car"], "bbox": [[1, 1, 2, 2], [20, 10, 5, 4]],
        "question": "Is the dog on the left or right side of the car?",
        "options": ["The dog is on the left side.", "The dog is on the right side."],
    },
    # Not of the 191.
    "GPT4V-hard/0.json": {"question": "?", "options": ["a", "b"]},
}  # fmt: skip


def annotate(folder: Path) -> None:
    for name, value in ANNOTATIONS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(value))
    for name in ("direct_attributes/sa_1.jpg", "relative_position/sa_2.jpg"):
        (folder / name).write_bytes(png(0, 30, 20))


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    annotate(tmp_path)
    (tmp_path / "test_questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def test_the_layout_of_the_hub(hub: Path):
    benchmark = vstar(path=str(hub))
    tasks = check_scores(benchmark)
    check_wrong_letters(benchmark, tasks)
    first, second = tasks
    # The instruction of another harness is not a part of the last option, and brackets within one stay.
    assert first.options == ("rubber", "cotton (woven)", "kevlar", "leather")
    assert first.question == (
        "What is the material of the glove?\nA. rubber\nB. cotton (woven)\nC. kevlar\nD. leather"
    )
    assert (first.id, first.kind, first.answers) == ("vstar-direct_attributes-0", "direct_attributes", ("B",))
    assert second.options == ("left", "right")
    # Left, top, width, height in the annotations; the cue of two things is the box around both.
    assert first.cue is not None
    assert (first.cue.box, first.cue.boxes) == (Box(2, 3, 6, 8), ())
    assert second.cue is not None
    assert second.cue.box == Box(1, 1, 25, 14)
    assert second.cue.boxes == (Box(1, 1, 3, 3), Box(20, 10, 25, 14))


def test_the_original_layout_is_shuffled_with_a_seed(hub: Path):
    (hub / "test_questions.jsonl").unlink()
    orders = set()
    for seed in range(8):
        benchmark = vstar(path=str(hub), seed=seed)
        assert f"seed {seed}" in benchmark.source
        tasks = check_scores(benchmark)
        assert [t.id for t in tasks] == ["vstar-direct_attributes-sa_1", "vstar-relative_position-sa_2"]
        for task, annotation in zip(tasks, ANNOTATIONS.values(), strict=False):
            # The right option is the first one of the file, wherever it stands now.
            assert task.options["ABCD".index(task.answers[0])] == annotation["options"][0]
            assert sorted(task.options) == sorted(annotation["options"])
        assert tasks[1].cue is not None
        assert len(tasks[1].cue.boxes) == 2
        again = vstar(path=str(hub), seed=seed).tasks.take(0, 2)
        assert [t.options for t in again] == [t.options for t in tasks]
        orders.add(tuple(t.answers[0] for t in tasks))
    assert len(orders) > 2


def test_the_layout_of_lmms_eval(tmp_path: Path, parquet):
    pa = pytest.importorskip("pyarrow")
    text = pa.string()
    parquet(
        tmp_path / "data" / "test-00000-of-00001.parquet",
        [{**row, "question_id": str(row["question_id"]), "image": {"bytes": png(0, 30, 20), "path": None}}
         for row in ROWS],
        {"image": pa.struct([("bytes", pa.binary()), ("path", text)]), "text": text, "category": text,
         "label": text, "question_id": text},
    )  # fmt: skip
    tasks = check_scores(vstar(path=str(tmp_path)))
    assert [(t.id, t.answers, len(t.media)) for t in tasks] == [
        ("vstar-direct_attributes-0", ("B",), 1),
        ("vstar-relative_position-1", ("A",), 1),
    ]


def test_the_layout_of_vlmevalkit(tmp_path: Path):
    write_tsv(tmp_path / "VStarBench.tsv", [
        {"index": 0, "image": base64_png(0), "question": "What is it made of?", "A": "rubber", "B": "cotton",
         "C": "kevlar", "D": "leather", "answer": "B", "category": "direct_attributes"},
        {"index": 1, "image": base64_png(1), "question": "Left or right?", "A": "left", "B": "right",
         "C": None, "D": None, "answer": "A", "category": "relative_position"},
    ])  # fmt: skip
    benchmark = vstar(path=str(tmp_path))
    tasks = check_scores(benchmark)
    check_wrong_letters(benchmark, tasks)
    assert [t.options for t in tasks] == [("rubber", "cotton", "kevlar", "leather"), ("left", "right")]
    assert tasks[0].media[0].size == (30, 20)


def test_the_rows_are_counted(hub: Path):
    with pytest.raises(RecordError, match="1 rows of kind 'direct_attributes' instead of 115") as error:
        load_benchmark("vstar", {"path": str(hub)})
    assert "incomplete=true" in str(error.value)
    partial = load_benchmark("vstar", {"path": str(hub)}, incomplete=True)
    facts = partial.facts([])
    assert facts["complete"] is False
    assert facts["wrong_rows"] == {"direct_attributes": [1, 115], "relative_position": [1, 76]}
    rows = [{**ROWS[i >= 115], "question_id": i} for i in range(191)]
    (hub / "test_questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = load_benchmark("vstar", {"path": str(hub)})
    assert whole.tasks.size == 191
    assert whole.facts([])["complete"] is True


def test_pr_compat_may_be_left_out(hub: Path, monkeypatch: pytest.MonkeyPatch):
    def missing() -> None:
        raise MissingExtraError("math-verify", "math", "The score pr_compat")

    monkeypatch.setattr("pixelreasoner.evals.benchmarks.rows.math_verify", missing)
    with pytest.raises(MissingExtraError, match=r"pixelreasoner\[math\].*benchmark_options.pr_compat=false"):
        vstar(path=str(hub))
    assert vstar(path=str(hub), pr_compat=False).scores == {}


@pytest.mark.parametrize("box", [[["a", 1, 2, 3]], 5, [None], [[1, 2, 0, 4]]])
def test_a_box_of_another_form_leaves_its_row_out(tmp_path: Path, box: object):
    annotate(tmp_path)
    (tmp_path / "test_questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (annotation,) = (tmp_path / "direct_attributes").glob("*.json")
    annotation.write_text(json.dumps({**json.loads(annotation.read_text()), "bbox": box}))
    assert [t.kind for t in tasks_of(vstar(path=str(tmp_path)))] == ["relative_position"]


@pytest.mark.parametrize("options", [None, 5, list("abcdefghijklmnopqrstuvwxyz0")])
def test_options_of_another_form_leave_their_row_out(tmp_path: Path, options: object):
    annotate(tmp_path)
    (annotation,) = (tmp_path / "direct_attributes").glob("*.json")
    annotation.write_text(json.dumps({**json.loads(annotation.read_text()), "options": options}))
    assert [t.kind for t in tasks_of(vstar(path=str(tmp_path)))] == ["relative_position"]
