"""The samples: small, whole, and answered right by the embedded model."""

from __future__ import annotations

import json
import sys

import pytest

import pixelreasoner as pr
from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.rewards.answers import is_correct
from pixelreasoner.tasks.pixelworld.questions import is_of_this_world
from pixelreasoner.tasks.samples import SAMPLES, SAMPLES_FILE, sample


def test_three_pictures_and_a_clip_in_less_than_150_kb():
    assert sum(f.stat().st_size for f in SAMPLES_FILE.parent.iterdir()) < 150_000
    rows = [json.loads(line) for line in SAMPLES_FILE.read_text().splitlines()]
    assert tuple(row["id"] for row in rows) == SAMPLES
    # Held out: the split that nothing is trained on, and no task that needs an operation.
    assert all("-plain-test-0-" in row["_from"] for row in rows)
    kinds = [type(sample(name).media[0]) for name in SAMPLES]
    assert kinds == [pr.Picture, pr.Picture, pr.Picture, pr.Video]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_embedded_model_answers_it_right(nano: pr.Reasoner, name: str):
    task = sample(name)
    assert is_of_this_world(task.question)
    assert is_correct(nano.ask(task.media, task.question).answer, task.answers)


@pytest.fixture(scope="module")
def nano() -> pr.Reasoner:
    return pr.load("nano", device="cpu")


def test_another_name_lists_those_there_are():
    with pytest.raises(PixelReasonerError, match=r"'cat'.*card, board, page, clip"):
        pr.sample("cat")


def test_the_clip_says_what_it_needs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setitem(sys.modules, "av.error", None)
    with pytest.raises(PixelReasonerError, match=r"pip install 'pixelreasoner\[video\]'"):
        pr.sample("clip")
    assert pr.sample("card").answers == ("J",)
