"""Rules of `pixelreasoner evidence`: what is run, what is written, what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from colour_tasks import colour_task, load_scripted
from pixelreasoner.cli.main import main
from pixelreasoner.core.records import write_tasks
from pixelreasoner.evals import evidence_run


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe of six tasks; in the place of a checkpoint stands the policy of its name."""
    write_tasks(tmp_path / "tasks.jsonl", map(colour_task, range(6)))
    path = tmp_path / "mine.toml"
    path.write_text('out = "not here"\n[model]\ncheckpoint = "reader"\n[tasks]\nsource = "tasks.jsonl"\n')
    monkeypatch.chdir(tmp_path)
    real = evidence_run.run
    monkeypatch.setattr(
        evidence_run, "run", lambda config, *, base: real(config, base=base, load=load_scripted)
    )
    return path


def test_the_evidence_is_written_and_said_in_words(recipe, capsys):
    args = ["evidence", str(recipe), "--base", "base", "--out", "found", "n=4"]
    assert main(args) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "What the operations showed was worth +100.0 points" in said
    assert "Swap audit: of 4 swapped results with another answer" in said
    assert Path("found/evidence.json").is_file()
    assert "follows the crop shown" in Path("found/evidence.html").read_text(encoding="utf-8")
    assert not Path("not here").exists()
    assert main(args) == 0  # nothing is left to do, and nothing is refused


def test_a_mistake_is_one_line(recipe, capsys):
    assert main(["evidence", str(recipe), "--out", "x", "interaction.operations=[]"]) == 2
    assert "offers no operations" in capsys.readouterr().err
    assert main(["evidence", str(recipe), "--out", "x", "--n", "4"]) == 2
    assert "write n=4" in capsys.readouterr().err
