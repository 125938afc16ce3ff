"""`pixelreasoner compare` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelreasoner.cli.main import main
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, str]:
    """Three evaluations of four tasks, the last of five."""
    values = {"base": (1, 0, 0, 0), "trained": (1, 1, 1, 0), "longer": (1, 1, 1, 0, 1)}
    for name, scores in values.items():
        made = [
            Trajectory(
                Task(f"q{i}", "Q?", (), ("A",)),
                (Turn("A"),),
                StopReason.ANSWER,
                metrics={"correct": float(s)},
            )
            for i, s in enumerate(scores)
        ]
        (tmp_path / name).mkdir()
        write_trajectories(tmp_path / name / "trajectories.jsonl", made)
    return {name: str(tmp_path / name) for name in values}


def test_two_evaluations_are_printed_and_written(runs: dict[str, str], tmp_path: Path, capsys):
    file = tmp_path / "comparison.json"
    assert main(["compare", runs["base"], runs["trained"], "--json", str(file)]) == 0
    captured = capsys.readouterr()
    assert "+50.0" in captured.out
    assert "0 / 2" in captured.out
    assert "the protocol of base is not known" in captured.out
    comparison = json.loads(file.read_text())
    (pair,) = comparison["pairs"]
    assert (pair["a"], pair["b"], pair["difference"], pair["mcnemar_p"]) == ("base", "trained", 0.5, 0.5)


def test_mistakes_are_told_in_one_line(runs: dict[str, str], tmp_path: Path, capsys):
    for args, words in (
        ([runs["base"]], "needs two evaluations"),
        ([runs["base"], runs["base"]], "named twice"),
        ([runs["base"], runs["longer"]], "1 tasks of longer are not in base (the first is 'q4')"),
        ([runs["base"], str(tmp_path / "none")], "does not exist"),
        ([runs["base"], runs["trained"], "--score", "judge"], "no score 'judge'; it has correct"),
    ):
        assert main(["compare", *args]) == 2, args
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert main(["compare", runs["base"], runs["longer"], "--common"]) == 0
    assert "1 tasks of longer are left out" in capsys.readouterr().out
