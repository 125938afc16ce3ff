"""The recipes of examples/ run from the command line, and each example takes part in the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from examples import scorer
from pixelreasoner.cli.main import main
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Group, Segment
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.vlm import renderer_of
from pixelreasoner.rewards.terms import TermConfig, score_terms
from pixelreasoner.train import rl

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)


def run(command: str, out: Path, *changes: str) -> int:
    return main([command, f"examples/{command}.toml", *changes, "--out", str(out)])


@pytest.fixture
def words_given(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the example's scorer gives the model's answers from here on, call by call.

    The check of the tasks' own answers asks the scorer as well; it has tests of its own and is left out here.
    """
    given: list[float] = []
    words = scorer.words

    def recorded(answer: str | None, references: Sequence[str], task: Task) -> float:
        given.append(words(answer, references, task))
        return given[-1]

    monkeypatch.setattr(scorer, "words", recorded)
    monkeypatch.setattr("pixelreasoner.rewards.scorers.gold_problems", lambda tasks, scorer: ())
    return given


def offered(prompt: Segment | None) -> str:
    """The system message of a recorded prompt."""
    assert prompt is not None
    system, _, _ = renderer_of(checkpoint_folder("nano")).decode(prompt.ids).partition("user\n")
    return system


def test_rl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words_given: list[float]):
    groups: list[Group] = []

    def recorded(
        group: Group, scores: Sequence[float], rewards: Mapping[str, TermConfig]
    ) -> dict[str, tuple[float, ...]]:
        groups.append(group)
        return score_terms(group, scores, rewards)

    monkeypatch.setattr(rl, "score_terms", recorded)
    assert run("rl", tmp_path / "rl") == 0

    # The task source: the first four tasks, four rollouts each.
    assert [[y.task.id for y in group] for group in groups] == [[f"discs-rl-0-{i}"] * 4 for i in range(4)]
    # The operation, under the recipe's name for it, beside the paper's.
    assert all(
        name in offered(y.prompt)
        for group in groups
        for y in group
        for name in ("crop_image(", "select_frames(", "mirror(")
    )
    rows = [json.loads(line) for line in (tmp_path / "rl" / "metrics.jsonl").read_text().splitlines()]
    steps = [words_given[:8], words_given[8:]]
    assert len(rows) == 2
    assert len(words_given) == 16
    assert any(words_given), "without a right answer this test shows nothing"
    for row, scores, pair in zip(rows, steps, (groups[:2], groups[2:]), strict=True):
        rollouts = [y for group in pair for y in group]
        assert row["accuracy"] == row["correctness"] == pytest.approx(sum(scores) / 8)
        # 0.1 * -(tokens beyond 8) / 1000 for a right answer, as the recipe has it.
        terms = [
            -0.1 * max(y.n_sampled_tokens - 8, 0) / 1000 * s for y, s in zip(rollouts, scores, strict=True)
        ]
        assert row["brevity"] == pytest.approx(sum(terms) / 8)
        parts = (row[name] for name in ("correctness", "curiosity", "efficiency", "brevity"))
        assert row["reward"] == pytest.approx(sum(parts))
    assert any(row["brevity"] < 0 for row in rows)
    assert (tmp_path / "rl" / "model" / "config.json").is_file()


def test_eval(tmp_path: Path, words_given: list[float]):
    assert run("eval", tmp_path / "eval") == 0
    trajectories = list(read_trajectories(tmp_path / "eval" / "trajectories.jsonl"))
    assert [y.task.id for y in trajectories] == ["shapes", "dots", "card", "sign", "bar", "moving"]
    assert all("mirror_image(" in offered(y.prompt) for y in trajectories)
    # The others name a scorer of their own, or have options.
    assert [y.metrics["correct"] for y in trajectories if y.task.id in ("card", "moving")] == words_given
    assert json.loads((tmp_path / "eval" / "summary.json").read_text())["n"] == 6


def test_a_benchmark_with_a_row_missing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    short = tmp_path / "short.jsonl"
    rows = (ROOT / "examples" / "tasks.jsonl").read_text().splitlines(keepends=True)
    short.write_text("".join(row for row in rows if '"id": "bar"' not in row))
    assert run("eval", tmp_path / "eval", f"benchmark_options.path={short}") == 2
    assert "1 rows of kind 'page' instead of 2" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "eval").exists()
    shutil.copytree(ROOT / "examples" / "media", tmp_path / "media")
    assert run("eval", tmp_path / "eval", f"benchmark_options.path={short}", "incomplete=true") == 0
    said = json.loads((tmp_path / "eval" / "summary.json").read_text())["benchmark"]
    assert (said["name"], said["rows"], said["complete"]) == ("pictures", 5, False)
    assert said["wrong_rows"] == {"page": [1, 2]}


def test_synth(tmp_path: Path):
    assert run("synth", tmp_path / "synth") == 0
    trajectories = {y.task.id: y for y in read_trajectories(tmp_path / "synth" / "trajectories.jsonl")}
    assert sorted(trajectories) == ["card", "dots", "moving", "shapes", "sign"]
    for y in trajectories.values():
        before, last = y.turns
        assert before.text.startswith(f"Check {y.task.subject}.\n")
        assert last.text == f"{y.task.claim} \\boxed{{{y.task.answers[0]}}}"
        assert before.observation is not None
        assert before.observation.valid
    assert trajectories["moving"].turns[0].observation.frames == (4,)
