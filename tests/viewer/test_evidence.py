"""Rules of the page of evidence: words first, all figures, nothing from elsewhere."""

from __future__ import annotations

import re

import numpy as np

from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.viewer import evidence as page_module
from pixelreasoner.viewer.evidence import write_evidence

FIGURE = {"n": 9, "mean": 0.5, "interval95": [0.3, 0.7]}
EVIDENCE = {
    "n": 9,
    "checkpoint": "models/<mine>",
    "base": "nano",
    "verdict": "What the operations showed was worth +30.0 points.",
    "sentences": ["Calls: it called an operation in 80 % of 9 tasks.", "Swap audit: 70 %."],
    "all": {"accuracy": {"plain": FIGURE, "swap": FIGURE}},
    "needs_operation": None,
}


def swapped() -> Trajectory:
    picture = Picture(np.zeros((20, 20, 3), np.uint8))
    seen = Observation("Image 2:", (picture,), replaced="swap", donor="other")
    task = Task("t", "Which letter?", (picture,), ("K",))
    return Trajectory(task, (Turn("look", observation=seen), Turn("T")), StopReason.ANSWER, "T")


def page(tmp_path) -> str:
    path = tmp_path / "made" / "evidence.html"
    examples = [("follows the crop shown", swapped())]
    write_evidence(path, EVIDENCE, rows=[("accuracy", "50.0 (30 to 70)")], examples=examples)
    return path.read_text(encoding="utf-8")


def test_words_figures_and_an_example_stand_on_one_page(tmp_path):
    html = page(tmp_path)
    assert html.index("was worth +30.0 points") < html.index("Swap audit") < html.index("50.0 (30 to 70)")
    assert "follows the crop shown" in html
    assert "control: shown swap in place of results" in html
    assert "models/&lt;mine&gt;" in html
    assert html.count('role="img"') == 1
    assert not re.findall(r'(?:src|href)="https?:', html)


def test_without_matplotlib_the_figures_are_left_to_the_table(tmp_path, monkeypatch):
    def missing(*args: object, **options: object) -> str:
        raise page_module.MissingExtraError("matplotlib", "report", "drawing")

    monkeypatch.setattr(page_module, "interval_svg", missing)
    html = page(tmp_path)
    assert 'role="img"' not in html
    assert "50.0 (30 to 70)" in html
