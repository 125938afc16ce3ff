"""A model that knows the answers gets full marks, one that says something else none."""

from __future__ import annotations

import pytest
import torch

from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.nano import lesson_check
from pixelreasoner.nano.lesson_check import check_lessons
from pixelreasoner.nano.lesson_rows import lesson_row


@pytest.fixture
def model() -> VisionLanguageModel:
    return VisionLanguageModel.load(checkpoint_folder("nano"))


@pytest.mark.parametrize("knows", [True, False])
def test_right_answers_are_counted(monkeypatch, model, knows):
    rows = []

    def row(*args):
        rows.append(lesson_row(*args))
        return rows[-1]

    def logits(hidden_TD):
        ids_T = torch.from_numpy(rows[-1][0].ids_T).roll(-1)
        said = ids_T if knows else torch.full_like(ids_T, model.renderer.tokenizer.encode(".")[0])
        return torch.nn.functional.one_hot(said, len(model.renderer.tokenizer)).float()

    monkeypatch.setattr(lesson_check, "lesson_row", row)
    monkeypatch.setattr(model, "logits", logits)
    learned = check_lessons(model, scenes_per_kind=2)
    assert set(learned.values()) == {float(knows)}
    assert {"boxes, overview", "boxes, close-up", "frames", "digits, close-up", "sides, close-up"} <= set(
        learned
    )


def test_a_box_may_be_off_a_little():
    same = lesson_check._same_numbers
    assert same(["box", "100", "880"], ["a", "180", "800"], within=80)
    assert not same(["box", "100", "880"], ["box", "181", "880"], within=80)
    assert not same(["3", "4"], ["3", "end"], within=0)
