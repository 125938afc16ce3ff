"""The demo from end to end, in small: what it leaves in its folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.trajectory import SCORE_METRIC
from pixelreasoner.nano import demo, pipeline

TINY = {
    "synth": ("n=12",),
    "sft": ("steps=4",),
    "rl": ("steps=2", "tasks_per_step=2", "rollout_batch=16"),
    "eval": ("n=20",),
}
MODELS = ["base", "warm_start", "rl_no_curiosity", "rl_curiosity"]
N = 20


@pytest.mark.slow
def test_the_demo_keeps_every_attempt_and_its_report_links_to_them(tmp_path: Path, monkeypatch):
    shipped = pipeline.load_recipe

    def load_tiny(cls: Any, path: Path, changes: Any) -> Any:
        return shipped(cls, path, (*changes, *TINY[path.stem]))

    monkeypatch.setattr(pipeline, "load_recipe", load_tiny)
    monkeypatch.setattr(
        demo, "HELD_OUT_CURVE", ("eval_every=1", "eval.n=4", "eval.tasks.needs_operation=true")
    )
    monkeypatch.setattr(demo, "CURVE_TASKS", 4)
    out = tmp_path / "demo"
    demo.run(out=out, seed=0, photos=None)

    kept = {name: list(read_trajectories(out / "eval" / name / "trajectories.jsonl")) for name in MODELS}
    assert {len(attempts) for attempts in kept.values()} == {N}
    assert len({tuple(y.task.id for y in attempts) for attempts in kept.values()}) == 1
    metrics = json.loads((out / "metrics.json").read_text())
    assert list(metrics["models"]) == MODELS
    right = sum(y.metrics[SCORE_METRIC] for y in kept["rl_curiosity"]) / N
    assert metrics["models"]["rl_curiosity"]["accuracy"]["all"] == right
    report = (out / "report.html").read_text()
    assert 'href="trajectories.html"' in report
    assert "Accuracy where needed, in training, %: RL with curiosity" in report
    assert "<dt>machine</dt>" in report
    pages = (out / "trajectories.html").read_text()
    assert f"{N} tasks · RL with curiosity: {N} attempts" in pages

    files = {f: f.read_bytes() for f in (out / "held_out").glob("*.jsonl")}
    demo.run(out=out, seed=0, photos=None)
    assert {f: f.read_bytes() for f in files} == files, "what is there is not evaluated again"
