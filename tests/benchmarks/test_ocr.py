"""The measurement of OCR: pages say where their letters stand, crops are shifted as they are named."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import ocr, regions
from benchmarks.ocr import OFF, ON, Case, crops_of
from benchmarks.pages import make_page
from pixelreasoner.core.geometry import Box, Size
from pixelreasoner.synth.text_match import TextLine


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_page_follows_from_its_number_and_its_boxes_hold_the_ink(number):
    page = make_page(number)
    assert page.picture == make_page(number).picture
    assert page.answers
    pixels = page.picture.pixels.astype(int)
    paper = np.median(pixels.reshape(-1, 3), axis=0)
    for answer in page.answers:
        left, top, right, bottom = answer.words[0].box.pixel_bounds(page.picture.size)
        ink = np.abs(pixels[top:bottom, left:right] - paper).max(axis=2) > 60
        assert ink.any(), answer.text
        spelled = " ".join(word.text for word in answer.words).replace("- ", "")
        assert spelled == answer.text


@pytest.mark.parametrize("number", range(4))
def test_good_crops_hold_every_letter_and_others_do_not(number):
    page = make_page(number)
    for i, answer in enumerate(page.answers):
        made = dict(crops_of(page, answer, np.random.default_rng(i)))
        assert all(made[ON].pad(0.5).contains(letter) for letter in answer.letters)
        for shift in set(made) - {ON}:
            assert not all(made[shift].contains(letter) for letter in answer.letters), shift
        for shift in set(made) & set(OFF[-2:]):
            assert not any(made[shift].pad(-1).overlaps(letter) for letter in answer.letters), shift


def case(shift: str, answer: str, read: str) -> Case:
    line = TextLine(read, Box(0, 0, 10, 10))
    return Case("face", 12, "columns", answer, shift, Size(10, 10), (line,), 0.5)


def test_precision_and_recall_are_those_of_rejecting_bad_crops():
    """Of 4 bad crops 3 are rejected, and 1 of 2 good ones: recall 3/4, precision 3/4."""
    good = [case(ON, "red", "red"), case(ON, "red", "rod")]
    bad = [case(OFF[0], "red", text) for text in ("red", "ed", "", "blue")]
    found = ocr._found([*good, *bad], 0.0)
    assert (found["recall"], found["precision"], found["good_kept"]) == (0.75, 0.75, 0.5)


def test_a_small_run(monkeypatch):
    pytest.importorskip("rapidocr")
    records = list(ocr.run(1))
    kinds = [record["kind"] for record in records]
    assert kinds.count("shift") == 7
    assert sum(record.get("is_default", False) for record in records) == 1
    assert records[-1]["median_seconds"] > 0


def test_a_small_run_of_regions():
    pytest.importorskip("skimage")
    records = list(regions.run(3))
    same = {(r["of"], r["shift"]): r["taken_for_the_region"] for r in records if r["kind"] == "regions"}
    for kind in ("pages", "PixelWorld", "photographs"):
        assert same[kind, 0.0] > same[kind, 1.0]
