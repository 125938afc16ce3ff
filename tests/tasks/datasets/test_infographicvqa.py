"""InfographicVQA in both of its forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.rewards.scorers import build_scorer
from pixelreasoner.tasks.datasets.infographicvqa import infographicvqa
from tasks.datasets.conftest import png, put, write_json

OFFICIAL = [
    {"questionId": 65718, "question": "Share?", "image_local_name": "1.png", "answers": ["45%", "45 percent"],
     "image_url": "unused", "ocr_output_file": "1.json", "data_split": "train"},
    {"questionId": 65719, "question": "Which year?", "image_local_name": "2.png", "answers": ["1984"]},
    {"questionId": 65720, "question": "Which?", "image_local_name": "1.png", "answers": []},
]  # fmt: skip


def test_the_official_files(tmp_path: Path):
    write_json(tmp_path / "infographicsVQA_train_v1.0.json", OFFICIAL, dataset_name="infographicVQA")
    put(tmp_path / "infographicsvqa_images", "1.png", "2.png")
    tasks = infographicvqa(split="train", path=str(tmp_path))
    assert tasks.report.forms == {"alternatives": 1, "number": 1}
    assert {r: e.rows for r, e in tasks.report.left_out.items()} == {"no answer": 1}
    first, second = tasks.take(0, 2)
    assert (first.id, first.answers, first.kind) == ("65718", ("45%", "45 percent"), "infographic")
    assert first.media != second.media
    assert build_scorer()("45", first.answers, first) == pytest.approx(1 - 1 / 3)  # ANLS: one letter of three


def test_the_parquet_of_the_hub(tmp_path: Path, parquet):
    """Pictures lie in the table; to open it, none is read."""
    import pyarrow as pa

    texts = pa.list_(pa.string())
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {
        "questionId": pa.string(), "question": pa.string(), "answers": texts, "answer_type": texts,
        "image": image, "image_url": pa.string(), "operation/reasoning": texts, "ocr": pa.string(),
        "data_split": pa.string(),
    }  # fmt: skip
    rows = [
        {"questionId": str(i), "question": f"Which {i}?", "answers": [f"a{i}"], 
         "image": {"bytes": png(i), "path": "x.png"}}
        for i in range(5)
    ]  # fmt: skip
    folder = tmp_path / "InfographicVQA"
    parquet(folder / "train-00000-of-00002.parquet", rows[:3], types)
    parquet(folder / "train-00001-of-00002.parquet", rows[3:], types)
    tasks = infographicvqa(split="train", path=str(tmp_path), scorer="exact")
    assert [task.id for task in tasks.take(0, 9)] == ["0", "1", "2", "3", "4"]
    (fourth,) = tasks.take(3, 1)
    assert (fourth.answers, fourth.scorer) == (("a3",), "exact")
    assert fourth.media[0] == next(iter(tasks.take(3, 1))).media[0]
    assert len({task.media[0].digest for task in tasks.take(0, 5)}) == 5
    with pytest.raises(RecordError, match="looked for: InfographicVQA/validation"):
        infographicvqa(split="validation", path=str(tmp_path))
