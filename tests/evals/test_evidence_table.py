"""Rules of the table of several evidences."""

from __future__ import annotations

import json

import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.evals.evidence_table import evidence_table, read_evidence


def found(plain: float, call: tuple[int, int] | None = None) -> dict:
    figure = {"n": 20, "mean": plain, "interval95": [plain - 0.1, plain + 0.1]}
    counts = None if call is None else {"n": 20, "gain": call[0], "harm": call[1]}
    return {
        "n": 20,
        "all": {"accuracy": {"plain": figure}, "call": counts},
        "needs_operation": None,
        "over_base": None,
        "localisation": {"cue_iou": None},
    }


def test_a_row_per_figure_that_any_has_and_a_column_per_model():
    table = evidence_table({"reads": found(0.8, (12, 3)), "does not": found(0.5)})
    assert table.splitlines() == [
        "| % (n = 20) | reads | does not |",
        "| --- | --- | --- |",
        "| accuracy | 80.0 (70 to 90) | 50.0 (40 to 60) |",
        "| call: right only with / only without | 12 / 3 of 20 | – |",
    ]


def test_files_are_named_by_their_folders_and_others_are_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "evidence.json").write_text(json.dumps(found(0.5)))
    assert list(read_evidence([tmp_path / "a", tmp_path / "b" / "evidence.json"])) == ["a", "b"]
    with pytest.raises(RecordError, match="two folders are called a"):
        read_evidence([tmp_path / "a", tmp_path / "a"])
    with pytest.raises(RecordError, match="holds no evidence"):
        read_evidence([tmp_path])
