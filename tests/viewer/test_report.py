"""Rules of the report: the right cell is the best one, missing figures are dashes, every run has a curve."""

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from pixelreasoner.core.metrics_file import Curve
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.viewer.plots import COLOURS, Share, curve_svg, interval_svg, share_curve_svg, smoothed
from pixelreasoner.viewer.report import Example, HeldOut, headline, kind_tables, overview_table, write_report


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
        "interval95": {
            "accuracy": {
                "all": [0.4, 0.6],
                "needs_operation": [need - 0.1, need + 0.1],
                "by_kind": {
                    "attribute": {"all": [0.4, 0.6], "needs_operation": [need - 0.1, need + 0.1]},
                    "page": {"all": [0.4, 0.6], "needs_operation": None},
                },
            },
            "rapr": {"all": [rapr, rapr], "needs_operation": [rapr, rapr]},
        },
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
    assert {(c.text, c.interval) for c in need["page"]} == {("–", "")}
    assert [c.interval for c in need["attribute"]] == ["0–20", "20–40", "10–30", "70–90", "70–90"]
    assert [c.best for c in need["attribute"]] == [False, False, False, True, True]


def test_the_headline_says_what_was_measured():
    text = headline(MODELS)
    assert "RL with curiosity gets 80.0\u2009% right (RaPR 90.0\u2009%)" in text
    assert "RL without it 20.0\u2009% right (RaPR 5.0\u2009%)" in text
    assert headline({"ablation": model(0, 0, 0)}) == ""


def report(tmp_path: Path, zoomed: Trajectory, held_out: dict[str, Curve]) -> str:
    curves = {
        run: {"rapr": [0.5, 0.6], "reward": [0.1, math.nan]} for run in ("rl_no_curiosity", "rl_curiosity")
    }
    write_report(
        tmp_path / "demo" / "report.html",
        metrics={"wall_s": 125.4, "models": MODELS},
        curves=curves,
        held_out=HeldOut(held_out, 60),
        examples=[Example("RL with curiosity", replace(zoomed, task=replace(zoomed.task, id='a "#&1')))],
        pages="trajectories.html",
        meta={"seed": 0, "commit": "0123456789ab", "machine": "a processor"},
    )
    return (tmp_path / "demo" / "report.html").read_text()


def test_the_report_is_one_self_contained_file(zoomed: Trajectory, tmp_path: Path):
    page = report(tmp_path, zoomed, {})
    # Accuracy and RaPR of the models; RaPR and reward of training. Nothing recorded accuracy in training.
    assert page.count("<svg") == 4
    assert "2 min 5 s" in page
    assert "✓ right" in page
    assert all(s.startswith("data:") for s in re.findall(r'src="([^"]*)"', page))
    assert "<script" not in page


def test_the_report_names_machine_and_commit_and_links_to_all_attempts(zoomed: Trajectory, tmp_path: Path):
    page = report(tmp_path, zoomed, {})
    assert "<dt>commit</dt><dd>0123456789ab</dd>" in page
    assert "<dt>machine</dt><dd>a processor</dd>" in page
    assert re.findall(r'<a href="([^"]*)"', page) == [
        "trajectories.html", "trajectories.html#task=a%20%22%23%261",
    ]  # fmt: skip


def test_the_report_draws_held_out_accuracy_over_the_steps_where_it_was_evaluated(
    zoomed: Trajectory, tmp_path: Path
):
    page = report(
        tmp_path, zoomed, {"rl_curiosity": Curve((15, 30), (0.4, 0.75)), "rl_no_curiosity": Curve((), ())}
    )
    assert page.count("<svg") == 5
    assert 'aria-label="RaPR: RL with curiosity ends at' in page
    assert "Accuracy where needed, in training, %: RL with curiosity ends at 75" in page


def test_headings_of_the_report_leave_no_level_out(zoomed: Trajectory, tmp_path: Path):
    levels = [int(n) for n in re.findall(r"<h(\d)", report(tmp_path, zoomed, {}))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_figure_and_table_has_words(zoomed: Trajectory, tmp_path: Path):
    page = report(tmp_path, zoomed, {})
    assert page.count("<svg") == len(re.findall(r'<svg role="img" aria-label="[^"]+"', page))
    assert page.count("<table") == len(
        re.findall(r'role="region" aria-label="[^"]+" tabindex="0">\n<table', page)
    )
    assert "<th></th>" not in page


def test_shares_are_drawn_with_their_intervals():
    shares = {"A": Share(0.7, 0.62, 0.77), "B <i>": Share(0.2, 0.14, 0.28)}
    svg = interval_svg(shares, title="Accuracy", colours={"A": COLOURS[0]})
    assert 'aria-label="Accuracy, %: A 70 (62 to 77), B &lt;i&gt; 20 (14 to 28)"' in svg
    assert COLOURS[0] in svg
    assert "<i>" not in svg
    lines = share_curve_svg(
        {"A": [(10, shares["A"]), (20, shares["A"])]},
        title="t",
        colours={"A": COLOURS[1]},
        start=("warm", 0.4),
    )
    assert 'aria-label="t, %: A ends at 70"' in lines
    assert ">warm</text>" in lines
    assert "PolyCollection" in lines or "FillBetween" in lines


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
