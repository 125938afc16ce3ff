"""The dry run of an evaluation in miniature: every row looks once, and the numbers exist."""

from __future__ import annotations

import json

import pytest

from benchmarks import report
from benchmarks.eval_scale import measure


@pytest.mark.parametrize(("part", "pixels"), [("videos", 16 * 320 * 240), ("images", 2448 * 1632)])
def test_a_part_gives_a_record_that_the_tables_show(part: str, pixels: int):
    record = json.loads(json.dumps(measure({"part": part, "rows": 2})))
    assert record["pixel_bytes"] == 2 * pixels * 3
    assert 0 < record["start_bytes"] <= record["peak_bytes"]
    assert record["rows_per_second"] == pytest.approx(2 / record["seconds"])
    ((title, _, rows),) = report.tables([record])
    assert title == "Evaluation of a policy that costs nothing"
    assert len(rows) == 1
