"""Rules of what is made of measurements: files, tables, documents, pictures."""

import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import report
from pixelreasoner.core.errors import MissingExtraError, RecordError

CASE = {"prompt": 466, "completion": 122, "crops": 1, "group": 8, "case": "P466 C122 G8 crops1"}
MACHINE = {
    "kind": "machine", "device": "a processor", "threads": 2, "load": 0.25, "torch": "2.13.0", "trl": None,
    "transformers": "5.19.0", "date": "2026-11-21", "left_out": ["trl"],
    "command": "python -m benchmarks train",
}  # fmt: skip
TRAIN = CASE | {
    "kind": "train", "model": "m", "method": "shared", "tokens": 1442, "seconds": 0.5, "times_ours": 1.0,
    "times_ours_least": 1.0, "times_ours_most": 1.0, "flops_needed": 2e9, "matrix_flops_per_second": 1e10,
    "bound_seconds": 0.2, "utilisation": 0.4, "largest_logp_difference": 1e-6,
    "largest_gradient_difference": 2e-6, "profile": {"matrix products": 0.75, "outside operators": 0.25},
}  # fmt: skip


def memory(group: int, mebibytes: float, method: str = "shared") -> dict:
    own = {"kind": "memory", "model": "m", "method": method, "unique_tokens": 1, "tokens": 2}
    size = {"group": group, "case": f"P466 C122 G{group} crops1"}
    return CASE | own | size | {"peak_bytes": int(mebibytes * 2**20)}


RECORDS = [MACHINE, TRAIN, memory(8, 64), memory(2, 16)]


def test_records_survive_the_file(tmp_path: Path):
    report.write(tmp_path / "new" / "x.jsonl", RECORDS)
    assert report.read(tmp_path / "new" / "x.jsonl") == RECORDS


def test_a_file_of_something_else_is_the_users_mistake(tmp_path: Path):
    (tmp_path / "x").write_text("no")
    (tmp_path / "y").write_text('{"kind": "note"}\n{"check": 1}')
    (tmp_path / "z").write_text("[1]")
    for name in ("x", "y", "z", "missing"):
        with pytest.raises(RecordError, match=name):
            report.read(tmp_path / name)


def test_tables_say_what_was_measured():
    training, sizes, profile = report.tables(RECORDS)
    row = dict(zip(training[1], training[2][0], strict=True))
    assert row == {
        "model": "m", "P : C, crops": "466 : 122, 1", "method": "shared prefix (ours)", "positions": "1442",
        "seconds": "0.5", "times ours (rounds)": "1.00 (1.00–1.00)", "GFLOP needed": "2",
        "GFLOP/s of products": "10", "times the bound": "2.50", "utilisation": "40%",
        "peak MiB": "64", "max |Δ log p|": "1.0e-06", "max |Δ grad|": "2.0e-06",
    }  # fmt: skip
    assert [(r[3], r[-1]) for r in sizes[2]] == [("2", "16"), ("8", "64")]
    assert profile[2] == [["m", "466 : 122, 1", "shared prefix (ours)", "75%", "25%"]]


def test_what_was_not_measured_is_a_dash():
    ((_, header, rows), *_) = report.tables([TRAIN | {"largest_logp_difference": None}])
    assert dict(zip(header, rows[0], strict=True))["peak MiB"] == "–"
    assert dict(zip(header, rows[0], strict=True))["max |Δ log p|"] == "–"


def test_a_document_takes_the_tables_between_its_marks_and_keeps_the_rest(tmp_path: Path):
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    for _ in range(2):
        report.fill(document, [RECORDS], tmp_path / "images" / "memory.svg")
    text = document.read_text()
    assert text.startswith(f"before\n{report.BEGIN}\n")
    assert text.endswith(f"{report.END}\nafter\n")
    assert "old" not in text
    assert text.count("`python -m benchmarks train`") == text.count("**Training**") == 1
    assert "](images/memory.svg)" in text


def test_all_lines_of_a_table_have_as_many_cells():
    lines = [line for line in report.markdown(RECORDS).splitlines() if line.startswith("| ")]
    training = [line.replace("\\|", "").count("|") for line in lines[:3]]
    assert training == [14, 14, 14]


def test_a_document_without_marks_is_left_alone(tmp_path: Path):
    document = tmp_path / "x.md"
    document.write_text("words\n")
    with pytest.raises(RecordError, match="measured: begin"):
        report.fill(document, [RECORDS])
    assert document.read_text() == "words\n"


def test_the_terminal_names_what_is_missing():
    out = StringIO()
    report.show(Console(file=out, width=200), RECORDS)
    assert "Left out: TRL GRPOTrainer" in out.getvalue()
    assert "Training" in out.getvalue()


METHODS = ("shared", "padded", "stock", "trl")


@pytest.mark.parametrize("width", [80, 160])
def test_the_terminal_has_a_row_for_each_fact_and_a_column_for_each_method(width):
    records = [MACHINE, *(TRAIN | {"method": method, "tokens": 1000 + i} for i, method in enumerate(METHODS))]
    out = StringIO()
    report.show(Console(file=out, width=width), records)
    lines = out.getvalue().splitlines()
    measured = lines[lines.index(next(line for line in lines if line.startswith("Training"))) :]
    assert max(len(line.rstrip()) for line in measured) <= width
    [positions] = [line.split() for line in lines if line.split()[:1] == ["positions"]]
    assert positions[1:] == ["1000", "1001", "1002", "1003"]
    assert sum(line.count("(1.00–1.00)") for line in lines) == 4
    assert "model m, P : C, crops 466 : 122, 1" in " ".join(measured[:2])


def test_what_tells_the_rows_of_a_method_apart_gets_a_table_each():
    header = ["model", "method", "attempts", "peak MiB"]
    rows = [
        ["m", "ours", "2", "16"],
        ["m", "ours", "8", "64"],
        ["m", "TRL", "2", "30"],
        ["m", "TRL", "8", "90"],
    ]
    two, eight = report.turned("Memory", header, rows)
    assert (two.title, eight.title) == ("Memory, model m, attempts 2", "Memory, model m, attempts 8")
    assert [column.header for column in two.columns] == ["", "ours", "TRL"]
    assert [list(column.cells) for column in eight.columns] == [["peak MiB"], ["64"], ["90"]]


def test_a_table_without_methods_has_a_column_for_each_row():
    [table] = report.turned("Host memory", ["what", "seconds"], [["SFT data", "3"], ["replay", "4"]])
    assert [column.header for column in table.columns] == ["", "SFT data", "replay"]
    assert [list(column.cells) for column in table.columns] == [["seconds"], ["3"], ["4"]]


def test_memory_is_drawn_for_the_length_with_the_most_group_sizes(tmp_path: Path):
    other = memory(4, 1) | {"completion": 50}
    chosen = report.group_sizes([other, *RECORDS, memory(4, 90, "trl"), memory(2, 30, "trl")])
    assert [(r["method"], r["group"]) for r in chosen] == [
        ("shared", 2), ("shared", 8), ("trl", 2), ("trl", 4),
    ]  # fmt: skip
    report.plot_memory(RECORDS, tmp_path / "images" / "memory.svg")
    assert "<svg" in (tmp_path / "images" / "memory.svg").read_text()


def test_a_single_group_size_is_no_picture(tmp_path: Path):
    with pytest.raises(RecordError, match="benchmarks train"):
        report.plot_memory([MACHINE, memory(8, 1)], tmp_path / "x.svg")


def test_drawing_needs_matplotlib(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="bench"):
        report.plot_memory(RECORDS, tmp_path / "x.svg")
