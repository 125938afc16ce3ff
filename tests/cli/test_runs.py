"""Rules of `runs` and `plot`: what a run's folder says of it, curves of several runs in one picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pixelreasoner.cli.main import main
from pixelreasoner.core.config import Config
from pixelreasoner.core.run_folder import open_run
from pixelreasoner.core.run_status import locked, running
from pixelreasoner.viewer.runs import age, find_runs, read_run

PNG = b"\x89PNG"


class Anything(Config):
    out: Path = Path()


def train(folder: Path, n_done: int, *, total: int = 10, kind: str = "rl", stop: bool = False) -> None:
    """A run of so many steps; `stop` interrupts it."""
    open_run(folder, Anything(), resume=True)
    try:
        with running(folder, kind, total):
            lines = [
                {
                    "step": s,
                    "time": 0.0,
                    "reward": s / 10,
                    "rapr": 0.5,
                    **({"eval_rapr": 0.1} if s % 2 else {}),
                }
                for s in range(1, n_done + 1)
            ]
            (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            if stop:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run, an interrupted one in a folder of folders, one of an evaluation."""
    monkeypatch.setenv("COLUMNS", "80")
    root = tmp_path / "runs"
    train(root / "done", 10)
    train(root / "today" / "half", 4, stop=True)
    (root / "done" / "model").mkdir()
    (root / "done" / "model" / "config.toml").write_text("")  # what is within a run is no run
    evaluated = root / "tested"
    open_run(evaluated, Anything(), resume=True)
    with running(evaluated, "eval", 3):
        (evaluated / "trajectories.jsonl").write_text("{}\n" * 3)
        (evaluated / "summary.json").write_text(json.dumps({"accuracy": {"all": 0.25}, "rapr": {"all": 1.0}}))
    return root


def test_a_run_is_known_by_its_folder(runs: Path):
    found = {str(run.folder.relative_to(runs)): run for run in find_runs(runs)}
    facts = {name: (run.kind, run.state, run.step, run.total) for name, run in found.items()}
    assert facts == {
        "done": ("rl", "finished", 10, 10),
        "today/half": ("rl", "stopped", 4, 10),
        "tested": ("eval", "finished", 3, 3),
    }
    assert found["today/half"].metrics == {"reward": 0.4, "rapr": 0.5}
    assert found["tested"].metrics == {"accuracy": 0.25, "rapr": 1.0}


def test_a_run_is_running_while_a_process_works_on_it_and_failed_after_an_error(runs: Path):
    def fail() -> None:
        with locked(runs / "done"), running(runs / "done", "rl", 20):
            now = read_run(runs / "done")
            assert (now.state, now.total) == ("running", 20)
            raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        fail()
    now = read_run(runs / "done")
    assert (now.state, now.error) == ("failed", "ValueError: no luck")


def test_of_a_synthesis_all_places_that_are_made_count(tmp_path: Path):
    """Three are in their place, one of them empty; two more wait for the fourth."""
    folder = tmp_path / "synth"
    open_run(folder, Anything(), resume=True)
    (folder / "trajectories.jsonl").write_text("{}\n" * 2)
    (folder / "journal.jsonl").write_text("{}\n" * 3)
    (folder / "waiting").mkdir()
    for number in (4, 5):
        (folder / "waiting" / f"{number:06}.jsonl").write_text("{}")
    assert read_run(folder).step == 5


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_fits_the_terminal_and_names_every_run(runs: Path, capsys, monkeypatch, width: int):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["runs", str(runs)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    for text in ("done", "today/half", "tested", "10/10", "4/10", "stopped", "reward 0.4"):
        assert text in out


def test_a_collapse_is_named_in_the_list(runs: Path, capsys):
    with (runs / "done" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 11, "rapr": 0.01, "collapse_alarm": 1.0}) + "\n")
    assert main(["runs", str(runs)]) == 0
    assert capsys.readouterr().out.count("RaPR collapsed") == 1


def test_runs_without_a_status_are_listed_too(tmp_path: Path, capsys):
    open_run(tmp_path / "old", Anything(), resume=False)
    assert main(["runs", str(tmp_path)]) == 0
    assert "old" in capsys.readouterr().out


def test_no_runs_and_no_folder_are_the_users_error(tmp_path: Path, capsys):
    assert main(["runs", str(tmp_path)]) == 2
    assert "no run in" in capsys.readouterr().err
    assert main(["runs", str(tmp_path / "gone")]) == 2


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0 s"), (59, "59 s"), (60, "1 min"), (7_300, "2 h"), (200_000, "2 d")]
)
def test_an_age_is_in_its_largest_unit(seconds: float, text: str):
    assert age(seconds) == text


def test_curves_are_drawn_on_the_terminal(runs: Path, capsys):
    assert main(["plot", str(runs / "done"), str(runs / "today" / "half"), "--metrics", "reward"]) == 0
    out = capsys.readouterr().out
    assert "reward" in out
    assert "━━ done   ━━ today/half" in out
    assert any("\u2800" < character <= "\u28ff" for character in out)


@pytest.mark.parametrize(("suffix", "start"), [("png", PNG), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_curves_are_written_to_a_file(runs: Path, tmp_path: Path, suffix: str, start: bytes):
    pytest.importorskip("matplotlib")
    path = tmp_path / "new" / f"curves.{suffix}"
    assert main(["plot", str(runs / "done"), str(runs / "today" / "half"), "--out", str(path)]) == 0
    assert path.read_bytes().startswith(start)


def test_without_matplotlib_the_terminal_is_left_and_a_file_comes_with_an_instruction(
    runs: Path, tmp_path: Path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plot", str(runs / "done")]) == 0
    assert main(["plot", str(runs / "done"), "--out", str(tmp_path / "curves.png")]) == 2
    assert "pip install 'pixelreasoner[report]'" in capsys.readouterr().err


def test_an_unknown_metric_a_strange_suffix_and_a_folder_without_metrics_are_told(
    runs: Path, tmp_path: Path, capsys
):
    assert main(["plot", str(runs / "done"), "--metrics", "rewards"]) == 2
    assert "the runs have reward, rapr, eval_rapr" in capsys.readouterr().err
    assert main(["plot", str(runs / "done"), "--out", str(tmp_path / "curves.doc")]) == 2
    assert main(["plot", str(runs / "tested")]) == 2
    assert main(["plot"]) == 2
