"""Rules of the report: the right cell is the best one, missing figures are dashes, every run has a curve."""

import math
import re
from pathlib import Path

import pytest

from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.viewer.plots import COLOURS, curve_svg, smoothed
from pixelreasoner.viewer.report import headline, kind_tables, overview_table, write_report


def model(need: float, rapr: float, error: float | None, page: float | None = None) -> dict:
    kinds = {
        "attribute": {"all": 0.5, "needs_operation": need},
        "page": {"all": 0.5, "needs_operation": page},
    }
    return {
        "n": 40,
        "accuracy": {"all": 0.5, "needs_operation": need, "by_kind": kinds},
        "rapr": {"all": rapr, "needs_operation": rapr},
        "op_error_rate": error,
    }


MODELS = {
    "base": model(0.1, 0.0, None),
    "warm_start": model(0.3, 0.5, 0.25),
    "rl_no_curiosity": model(0.2, 0.05, 0.5),
    "rl_curiosity": model(0.8, 0.9, 0.125),
    "rl_no_warm_start": model(0.8, 0.4, math.nan),
}


def best(rows) -> dict[str, list[int]]:
    return {name: [i for i, cell in enumerate(cells) if cell.best] for name, cells in rows}


def test_the_best_of_a_column_is_marked_and_a_low_error_rate_is_the_best():
    table = overview_table(MODELS)
    # Column 0 is equal for all, so nothing is best there; columns 1 has two equals.
    assert best(table.rows) == {
        "Base": [],
        "Warm start": [],
        "RL without curiosity": [],
        "RL with curiosity": [1, 2, 3, 4],
        "Rl no warm start": [1],
    }
    assert table.caption == "All held-out tasks (n = 40)"


def test_what_was_not_measured_is_a_dash():
    rows = dict(overview_table(MODELS).rows)
    assert [rows[m][4].text for m in ("Base", "Warm start", "Rl no warm start")] == ["–", "25.0\u2009%", "–"]
    need = dict(kind_tables(MODELS)[0].rows)
    assert {c.text for c in need["page"]} == {"–"}
    assert [c.best for c in need["attribute"]] == [False, False, False, True, True]


def test_the_headline_says_what_was_measured():
    text = headline(MODELS)
    assert "RL with curiosity gets 80.0\u2009% right (RaPR 0.90)" in text
    assert "RL without it 20.0\u2009% right (RaPR 0.05)" in text
    assert headline({"ablation": model(0, 0, 0)}) == ""


def test_the_report_is_one_self_contained_file(zoomed: Trajectory, tmp_path: Path):
    curves = {
        run: {"rapr": [0.5, 0.6], "reward": [0.1, math.nan]} for run in ("rl_no_curiosity", "rl_curiosity")
    }
    write_report(
        tmp_path / "demo" / "report.html",
        metrics={"wall_s": 125.4, "models": MODELS},
        curves=curves,
        examples=[("RL with curiosity", zoomed)],
        meta={"seed": 0},
    )
    page = (tmp_path / "demo" / "report.html").read_text()
    assert page.count("<svg") == 2, "RaPR and reward; nothing recorded accuracy"
    assert "2 min 5 s" in page
    assert "✓ right" in page
    assert all(s.startswith("data:") for s in re.findall(r'src="([^"]*)"', page))


def test_a_curve_draws_each_run_raw_and_smoothed_in_the_pages_ink():
    svg = curve_svg({"a": [0, 1, 0], "b": [1, 1, 1]}, title="RaPR")
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert svg.count(f"stroke: {COLOURS[0]}") == 2
    assert svg.count(f"stroke: {COLOURS[1]}") == 2
    assert svg == curve_svg({"a": [0, 1, 0], "b": [1, 1, 1]}, title="RaPR")


def test_smoothing_halves_the_weight_every_half_life():
    assert smoothed([1, 1, 1], 5) == pytest.approx([1, 1, 1])
    # Weights 1/2 and 1 after one half-life of one step: (0.5 * 0 + 1) / 1.5.
    assert smoothed([0, 1], 1) == pytest.approx([0, 2 / 3])
    assert smoothed([2, math.nan, 2], 1) == pytest.approx([2, 2, 2])
    assert math.isnan(smoothed([math.nan, 1], 1)[0])
