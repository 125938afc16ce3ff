"""A model with all answers right scores 1, one with all answers wrong 0."""

from __future__ import annotations

import pytest
import torch

from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.nano import base_check
from pixelreasoner.nano.base_check import check_base
from pixelreasoner.nano.conversation_rows import conversation_row


@pytest.fixture
def model() -> VisionLanguageModel:
    return VisionLanguageModel.load(checkpoint_folder("nano"))


@pytest.mark.parametrize("right", [True, False])
def test_right_answers_are_counted(monkeypatch, model, right):
    rows = []

    def row(*args):
        rows.append(conversation_row(*args))
        return rows[-1]

    def logits(hidden_TD):
        ids_T = torch.from_numpy(rows[-1][0].ids_T).roll(-1)
        predicted = ids_T if right else torch.full_like(ids_T, model.renderer.tokenizer.encode(".")[0])
        return torch.nn.functional.one_hot(predicted, len(model.renderer.tokenizer)).float()

    monkeypatch.setattr(base_check, "conversation_row", row)
    monkeypatch.setattr(model, "logits", logits)
    shares = check_base(model, scenes_per_kind=2)
    assert set(shares.values()) == {float(right)}
    assert {"boxes, full image", "boxes, close-up", "frames", "digits, close-up", "sides, close-up"} <= set(
        shares
    )


def test_a_box_may_be_off_a_little():
    same = base_check._same_numbers
    assert same(["box", "100", "880"], ["a", "180", "800"], within=80)
    assert not same(["box", "100", "880"], ["box", "181", "880"], within=80)
    assert not same(["3", "4"], ["3", "end"], within=0)
