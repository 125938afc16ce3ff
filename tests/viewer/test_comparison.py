"""Rules of the report of several evaluations: what is known is shown, what is not is left out."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.viewer.comparison import EvaluatedRun, write_comparison
from pixelreasoner.viewer.comparison_tables import (
    evidence_tables,
    overlap_lines,
    overview,
    paired_table,
    protocol_tables,
)

OLD = {
    "n": 4,
    "accuracy": {
        "all": 0.5, "needs_operation": 0.25, "by_kind": {"clip": {"all": 0.5, "needs_operation": None}}
    },
    "rapr": {"all": 0.75, "needs_operation": 1.0}, "op_error_rate": 0.0,
    "interval95": {
        "accuracy": {
            "all": [0.15, 0.85], "needs_operation": [0.05, 0.7],
            "by_kind": {"clip": {"all": [0.1, 0.9], "needs_operation": None}},
        },
        "rapr": {"all": [0.3, 0.95], "needs_operation": [0.5, 1.0]},
    },
}  # fmt: skip
"""A summary without tokens, as earlier versions wrote it."""
EVIDENCE = {
    "verdict": "What the operations showed was worth 20 points.",
    "sentences": ["It called in 50 % of 4 tasks."],
    "all": {
        "call": {"n": 2, "gain": 7, "harm": 3, "net": {"mean": 0.2, "interval95": [0.05, 0.4]}},
        "schema": None,
        "pixels": {
            "random_crop": {"n": 2, "gain": 1, "harm": 1, "net": {"mean": 0.0, "interval95": [-0.5, 0.5]}}
        },
    },
}  # fmt: skip


def with_tokens(summary: dict[str, Any], tokens: float) -> dict[str, Any]:
    return {**summary, "per_rollout": {"visual_tokens": {"mean": tokens, "stderr": 1.0, "total": 9}}}


def runs(right: Trajectory, wrong: Trajectory, **protocols: dict[str, Any]) -> list[EvaluatedRun]:
    """Three runs on the same tasks; the first is right at the first task only."""
    wrong = replace(wrong, task=right.task)
    second = [replace(t, task=replace(t.task, id="u")) for t in (right, wrong)]
    return [
        EvaluatedRun("one", OLD, [right, second[1]], protocols.get("one", {})),
        EvaluatedRun("two", with_tokens(OLD, 1234.0), [right, second[0]], protocols.get("two", {})),
        EvaluatedRun("three", OLD, [wrong, second[1]], protocols.get("three", {})),
    ]


def test_the_page_holds_the_figures_and_the_list_comes_wrong_first(
    zoomed: Trajectory, clip: Trajectory, tmp_path: Path
):
    path = tmp_path / "report.html"
    budget = {"vision": {"image": {"max_pixels": 3_000_000}}}
    n = write_comparison(
        path,
        runs=runs(zoomed, clip, two=budget),
        comparison={
            "pairs": [{"a": "one", "b": "two", "n": 2, "difference": 0.5, "bootstrap95": [0.1, 0.9]}]
        },
        evidence={"two": EVIDENCE},
        overlap={"a": {"name": "mine"}, "b": {"name": "test", "tasks": 9}, "found": {"any": 2, "near": 2}},
        meta={"folder": "runs/<one>"},
    )
    assert n == 2
    page = path.read_text()
    titles = (
        "Accuracy, all tasks",
        "Accuracy and RaPR",
        "Accuracy and pixel budget",
        "Accuracy and visual tokens",
    )
    assert [page.count(f'aria-label="{title}') for title in titles] == [1, 1, 1, 1]
    assert "two 50 at 1,234" in page
    assert "two 50 at 3" in page
    assert "two − one" in page
    assert EVIDENCE["verdict"] in page
    assert "2 of 9 tasks of test overlap with mine." in page
    assert "runs/&lt;one&gt;" in page
    assert page.count('<details class="trajectory" open') == 1  # the one of `one` that is wrong
    assert not re.search(r"(src|href)=.?(https?:|//)|url\(.?https?:", page)
    script = (tmp_path / "report_files" / "index.js").read_text()
    index = json.loads(script.removeprefix("pixelreasoner.index(").removesuffix(");\n"))
    assert (index["sort"], index["all"]) == ("wrong|up", True)
    assert [model["name"] for model in index["models"]] == ["one", "two", "three"]


def test_what_no_run_has_is_left_out(zoomed: Trajectory, clip: Trajectory, tmp_path: Path):
    one, _, three = runs(zoomed, clip)
    write_comparison(tmp_path / "report.html", runs=[one, three])
    page = (tmp_path / "report.html").read_text()
    assert page.count('<svg role="img"') == 2  # by kind, all tasks; and RaPR
    for heading in ("Differences", "What the operations were worth", "Protocol", "Overlap", "visual tokens"):
        assert heading not in page


def test_runs_need_names_of_their_own(zoomed: Trajectory, clip: Trajectory, tmp_path: Path):
    one, *_ = runs(zoomed, clip)
    with pytest.raises(RecordError, match="different names"):
        write_comparison(tmp_path / "report.html", runs=[one, one])


def test_paired_cells_are_marked_where_the_interval_leaves_out_zero():
    pairs = [
        {
            "a": "x", "b": "y", "n": 40, "difference": 0.125, "bootstrap95": [0.02, 0.23],
            "only_a": 1, "only_b": 6, "test": "mcnemar", "p": 0.0001, "p_holm": 0.0002,
        },
        {"a": "x", "b": "z", "difference": -0.05, "bootstrap95": [-0.2, 0.1], "test": "mcnemar", "p": 0.25},
    ]  # fmt: skip
    table = paired_table({"pairs": pairs})
    assert table is not None
    assert [name for name, _ in table.rows] == ["y − x", "z − x"]
    assert table.columns[-2:] == ("p, McNemar", "p after Holm")
    cells = [[(cell.text, cell.interval, cell.best) for cell in cells] for _, cells in table.rows]
    assert cells[0][:2] == [("40", "", False), ("+12.5", "+2.0 to +23.0", True)]
    assert [text for text, _, _ in cells[0][2:]] == ["1", "6", "< 0.001", "< 0.001"]
    assert cells[1][1] == ("−5.0", "−20.0 to +10.0", False)
    assert [text for text, _, _ in cells[1][2:]] == ["–", "–", "0.250", "–"]
    only = paired_table({"pairs": pairs[:1]})
    assert only is not None
    assert only.columns[-1] == "p, McNemar"
    assert len(only.rows[0][1]) == len(only.columns)
    assert paired_table({}) is None


def test_evidence_is_its_sentences_and_a_row_per_count():
    (part,) = evidence_tables({"run": EVIDENCE})
    assert (part.name, part.verdict) == ("run", EVIDENCE["verdict"])
    assert part.table is not None
    rows = {name: [cell.text for cell in cells] for name, cells in part.table.rows}
    assert rows == {
        "calling, where it called": ["2", "7", "3", "+20.0"],
        "its results instead of random crop": ["2", "1", "1", "+0.0"],
    }


def test_protocols_are_split_into_what_differs_and_what_does_not():
    found = protocol_tables(
        {"a": {"n": 5, "model": {"x": [1, 2], "y": "s"}}, "b": {"n": 5, "model": {"x": [1, 3]}}, "c": {}}
    )
    assert found.differing is not None
    assert found.same is not None
    differing = {name: [cell.text for cell in cells] for name, cells in found.differing.rows}
    assert differing == {"model.x": ["[1, 2]", "[1, 3]"], "model.y": ["s", "–"]}
    assert [(name, cells[0].text) for name, cells in found.same.rows] == [("n", "5")]


def test_the_overview_has_columns_for_what_is_there():
    table = overview({"one": OLD, "two": with_tokens(OLD, 1234.0)})
    assert table.columns[-1] == "visual tokens per rollout"
    assert [cells[-1].text for _, cells in table.rows] == ["–", "1,234.0"]
    assert "visual" not in "".join(overview({"one": OLD}).columns)


def test_no_check_for_overlap_says_nothing():
    assert overlap_lines({}) == []
