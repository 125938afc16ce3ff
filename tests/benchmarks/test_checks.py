"""The checks of a device find what is wrong, say so, and go on; on a processor they pass."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.checks import child, driver, kernels, recurrent
from benchmarks.checks.outcome import Bound, Setting, carried_out, gap
from pixelreasoner.core.errors import MissingExtraError

CPU = torch.device("cpu")
HEADS = (4, 2, 16)


@pytest.fixture
def setting(tmp_path) -> Setting:
    return Setting(CPU, True, tmp_path)


def verdict(check) -> dict:
    return json.loads(json.dumps(carried_out("a check", check, CPU)))


@pytest.mark.parametrize(
    ("value", "passed"),
    [(0.5, True), (1.0, True), (1.5, False), (float("nan"), False), (float("inf"), False)],
)
def test_a_number_beyond_its_limit_fails(value, passed):
    assert verdict(lambda: {"out": Bound(value, 1.0), "tokens": 3})["passed"] is passed


def test_an_exception_is_a_failure_with_its_lines():
    record = verdict(lambda: {"out": 1 // 0})
    assert record["passed"] is False
    assert record["error"].splitlines()[-1] == "ZeroDivisionError: integer division or modulo by zero"
    assert record["device_lost"] is False


def test_what_needs_an_extra_is_left_out():
    def check():
        raise MissingExtraError("torchao", "optim8bit", "optim.kind = adamw_8bit")

    record = verdict(check)
    assert record["passed"] is None
    assert "optim8bit" in record["left out"]


def test_a_gap_is_in_units_of_the_exact_values():
    assert gap(torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0])) == pytest.approx(0.1)


CHECKS = {
    "shared prefix": lambda setting, dtype: kernels.shared_prefix(setting, HEADS, dtype),
    "vision tower": lambda setting, dtype: kernels.vision(setting, 16, (8, 8, 20), dtype),
    "cascade": lambda setting, dtype: kernels.cascade(setting, HEADS, dtype),
}
ATTENTION = {
    "shared prefix": "shared_prefix_attention", "vision tower": "packed_attention",
    "cascade": "cascade_attention",
}  # fmt: skip


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_passes_and_a_wrong_one_does_not(name, dtype, setting, monkeypatch):
    assert verdict(lambda: CHECKS[name](setting, dtype))["passed"]
    right = getattr(kernels, ATTENTION[name])

    def wrong(*args, **options):
        out, weights = right(*args, **options)
        return out * 1.05, weights

    monkeypatch.setattr(kernels, ATTENTION[name], wrong)
    record = verdict(lambda: CHECKS[name](setting, dtype))
    assert record["passed"] is False
    assert "error" not in record


def test_a_recurrent_layer_passes_and_one_that_does_not_fork_does_not(setting, monkeypatch):
    assert verdict(lambda: recurrent.forked(setting, torch.float32))["passed"]
    forked = recurrent.PLAN.own  # the row read from left to right: completions follow their siblings
    assert len(forked.q_lengths) == 7
    monkeypatch.setattr(recurrent, "_one_by_one", recurrent._read)
    assert verdict(lambda: recurrent.forked(setting, torch.float32))["passed"] is False


def test_a_group_goes_on_after_a_check_that_lost_the_device(monkeypatch):
    """Three checks; the second loses the device: another process does the third."""
    asked = []

    def process(plan, group, first, threads, until, records):
        asked.append(first)
        for name in ("a", "b", "c")[first : 2 if first == 0 else 3]:
            records.put({"group": group, "name": name, "passed": name != "b"})
        return (2, driver.DEVICE_LOST) if first == 0 else (1, 0)

    monkeypatch.setattr(driver, "_child", process)
    records = list(driver.run(driver.Plan("cpu", groups=("kernels",))))
    assert asked == [0, 2]
    assert [(r["name"], r["passed"]) for r in records] == [("a", True), ("b", False), ("c", True)]


def test_a_process_that_breaks_down_is_a_failure(monkeypatch):
    monkeypatch.setattr(driver, "_environment", lambda threads: {"PYTHONSAFEPATH": "1"})
    (record,) = driver.run(driver.Plan("cpu", groups=("kernels",)))
    assert record["passed"] is False
    assert "No module named" in record["error"]


def test_a_group_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(driver, "SECONDS", {"kernels": 0.3})
    (record,) = driver.run(driver.Plan("cpu", groups=("kernels",)))
    assert record["passed"] is False
    assert "time is over" in record["error"]


def test_the_command_prints_and_writes_each_and_ends_with_an_error(monkeypatch, tmp_path, capsys):
    records = [
        {
            "kind": "check",
            "group": "kernels",
            "name": "one",
            "passed": True,
            "out": 0.25,
            "limits": {"out": 1.0},
        },
        {"kind": "check", "group": "kernels", "name": "two", "passed": False, "error": "it broke"},
    ]
    monkeypatch.setattr(driver, "run", lambda plan: iter(records))
    out = tmp_path / "checks.jsonl"
    assert main(["gpu-checks", "--device", "cpu", "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert "ok      0.0 s  kernels: one: out 0.25 (<= 1)" in said.out
    assert "it broke" in said.out
    assert said.err == "error: 1 failed: two\n"
    assert [json.loads(line) for line in out.read_text().splitlines()] == records


def test_unknown_groups_are_refused(capsys):
    assert main(["gpu-checks", "--only", "kernel"]) == 2
    assert "no group of checks is called kernel; there are kernels, " in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "group", ["models", "optimisers", "sharded", "nano", "graphs", "steps", "decoding", "graph-steps"]
)
def test_groups_pass_on_a_processor(group):
    records = list(driver.run(driver.Plan("cpu", tiny=True, groups=(group,))))
    assert records
    assert [r for r in records if r["passed"] is False] == []


def test_every_group_is_a_module_with_checks():
    assert set(driver.SECONDS) == set(child.GROUPS)
    assert set(driver.FIGURES) < set(child.GROUPS)
    assert "benchmarks.checks.kernels" in sys.modules
