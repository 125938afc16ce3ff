"""Means and deviations over seeds, by hand."""

from __future__ import annotations

import json

import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.evals.seeds import read_metrics, seeds_table


def run(seed: int, accuracy: float) -> dict:
    part = {"all": accuracy, "needs_operation": 0.5}
    summary = {
        "accuracy": {**part, "by_kind": {"clip": {"all": 1.0, "needs_operation": accuracy}}},
        "rapr": {"all": 0.25, "needs_operation": 1.0},
        "op_error_rate": 0.0,
    }
    return {"seed": seed, "models": {"base": summary}}


def test_mean_and_sample_deviation():
    table = seeds_table([run(0, 0.2), run(1, 0.4), run(2, 0.6)]).splitlines()
    assert table[0] == "| % (seeds 0, 1, 2) | base |"
    assert table[2] == "| accuracy | 40.0 ± 20.0 |"
    assert "| where the operation is needed | 50.0 ± 0.0 |" in table
    assert "| … clip | 40.0 ± 20.0 |" in table
    assert "| RaPR | 25.0 ± 0.0 |" in table


def test_one_seed_has_no_deviation():
    assert "| accuracy | 20.0 |" in seeds_table([run(7, 0.2)])


def test_files_that_are_none_are_named(tmp_path):
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in paths:
        path.write_text(json.dumps(run(0, 0.2)))
    with pytest.raises(RecordError, match=r"b\.json has seed 0"):
        read_metrics(paths)
    paths[1].write_text("[]")
    with pytest.raises(RecordError, match=r"b\.json is not the metrics"):
        read_metrics(paths)
    with pytest.raises(RecordError, match=r"c\.json is not the metrics"):
        read_metrics([tmp_path / "c.json"])
