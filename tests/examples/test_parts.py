"""The examples load through the registries, and stay as short as they are meant to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples import draw_media
from pixelreasoner.cli.main import main
from pixelreasoner.core.media_io import load_image
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment, StopReason, Trajectory, Turn
from pixelreasoner.rewards.scorers import ScoringConfig, build_scorer
from pixelreasoner.rewards.terms import TermConfig, score_terms
from pixelreasoner.tasks.config import TasksConfig, build_tasks

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(("name", "most"), [("task_source", 40), ("scorer", 15), ("reward_term", 15)])
def test_examples_are_short(name: str, most: int):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= most


def test_the_task_source():
    source = build_tasks(TasksConfig(source="examples.task_source:discs", options={"n": 4}), endless=True)
    tasks = list(source.take(2, 4))
    assert [t.id for t in tasks] == [f"disc-train-0-{i}" for i in (2, 3, 0, 1)]
    (picture,) = tasks[0].media
    x, y = map(int, tasks[0].cue.box.center)
    disc = {"red": (214, 40, 40), "green": (40, 160, 70), "blue": (40, 90, 215)}[tasks[0].answers[0]]
    assert tuple(picture.pixels[y, x].tolist()) == disc


def test_the_scorer():
    scorer = build_scorer(ScoringConfig(default="examples.scorer:words"))
    assert scorer("the red card", ["red card"], Task("t", "Q?", (), ())) == pytest.approx(2 / 3)
    assert scorer(None, ["red card"], Task("t", "Q?", (), ())) == 0.0


def test_the_reward_term():
    def rollout_of(n_tokens: int) -> Trajectory:
        turn = Turn("", sampled=Segment(ids=(1,) * n_tokens))
        return Trajectory(Task("t", "Q?", (), ()), (turn,), StopReason.ANSWER)

    term = TermConfig(use="examples.reward_term:brevity", weight=0.5, options={"free": 100})
    group = (rollout_of(50), rollout_of(300), rollout_of(300))
    values = score_terms(group, [1.0, 1.0, 0.0], {"brevity": term})["brevity"]
    assert values == pytest.approx((0.0, -0.5 * 0.2, 0.0))


def test_the_task_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(EXAMPLES.parent)
    source = build_tasks(TasksConfig(source="examples/tasks.jsonl"))
    assert source.size == 6
    assert {t.scorer for t in source.take(0, 6)} == {"", "choice", "integer", "anls", "numeric"}
    assert main(["tasks", "examples/tasks.jsonl"]) == 0


def test_the_pictures_are_those_of_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(draw_media, "FOLDER", tmp_path)
    draw_media.main()
    drawn = sorted(p.name for p in tmp_path.iterdir())
    assert drawn == sorted(p.name for p in (EXAMPLES / "media").iterdir())
    for name in ("shapes.png", "moving3.png"):  # those without text, which depends on Pillow's version
        assert np.array_equal(
            load_image(tmp_path / name).pixels, load_image(EXAMPLES / "media" / name).pixels
        )
