"""OCR on drawn pages: crops that show the answer pass, crops beside it or through it do not."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

from benchmarks.ocr import OFF, ON, crops_of
from benchmarks.pages import Page, make_page
from pixelreasoner.core.errors import ConfigError, MissingExtraError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.synth import ocr
from pixelreasoner.synth.ocr import NOT_SHOWN, OcrCheck, OcrConfig, read_text

BLANK = Picture(np.full((60, 100, 3), 255, np.uint8))


def asked(answer: str, *more: str, kind: str = "webpage", options: tuple[str, ...] = ()) -> Task:
    return Task("t", "What?", (BLANK,), (answer, *more), kind=kind, options=options)


@pytest.fixture(scope="module")
def page() -> Page:
    pytest.importorskip("rapidocr")
    return make_page(3)


def crops(page: Page, number: int) -> dict[str, Picture]:
    made = crops_of(page, page.answers[number], np.random.default_rng(number))
    return {name: page.picture.crop(*box.pixel_bounds(page.picture.size)) for name, box in made}


@pytest.fixture(scope="module")
def shifted(page) -> dict[str, Picture]:
    return crops(page, 0)


def test_the_crop_on_the_answer_passes_and_those_off_it_do_not(page, shifted):
    check, task = OcrCheck(OcrConfig()), asked(page.answers[0].text)
    assert set(shifted) >= {ON, OFF[0], OFF[-1]}
    assert check.fault(shifted[ON], task) is None
    for shift in (OFF[0], OFF[-1]):
        fault = check.fault(shifted[shift], task)
        assert fault is not None, shift
        assert fault.startswith(NOT_SHOWN)


def test_any_answer_is_enough_and_a_letter_stands_for_its_option(page, shifted):
    check, text = OcrCheck(OcrConfig()), page.answers[0].text
    assert check.fault(shifted[ON], asked("something else", text)) is None
    assert check.fault(shifted[ON], asked("B", options=("something else", text))) is None
    fault = check.fault(shifted[ON], asked("A", options=("something else", text)))
    assert fault is not None
    assert "'something else': it reads" in fault


def test_boxes_of_lines_are_where_they_stand(page, shifted):
    """The line that holds the answer overlaps it, in pixels of the crop, which was enlarged to be read."""
    answer = page.answers[0]
    first = answer.words[0].text.strip(".,").casefold()
    box = dict(crops_of(page, answer, np.random.default_rng(0)))[ON]
    word = answer.words[0].box
    line = next(line for line in read_text(shifted[ON]) if first in line.text.casefold())
    assert line.box.x1 - 8 <= word.x1 - box.x1 <= line.box.x2
    assert line.box.y1 - 8 <= word.center[1] - box.y1 <= line.box.y2 + 8


def test_no_text_at_all(page):
    fault = OcrCheck(OcrConfig()).fault(BLANK, asked("Vienna"))
    assert fault == f"{NOT_SHOWN} 'Vienna': it has no text"


def test_each_thread_has_a_reader_of_its_own(page, shifted):
    here, found = ocr._reader(), []

    def read() -> None:
        found.append((ocr._reader(), read_text(shifted[ON])))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    [(there, lines)] = found
    assert there is not here
    assert here is ocr._reader()
    assert lines == read_text(shifted[ON])


def test_other_kinds_and_tasks_without_answers_are_not_read(monkeypatch):
    def refuse(picture: Picture) -> None:
        raise AssertionError

    monkeypatch.setattr(ocr, "read_text", refuse)
    check = OcrCheck(OcrConfig(kinds=("infographic",)))
    assert check.fault(BLANK, asked("Vienna")) is None
    assert check.fault(BLANK, Task("t", "What?", (BLANK,), (), kind="infographic")) is None
    with pytest.raises(AssertionError):
        check.fault(BLANK, asked("Vienna", kind="infographic"))


def test_without_the_extra_its_name_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    monkeypatch.setattr(ocr, "_OF_THREAD", threading.local())
    with pytest.raises(MissingExtraError, match=r"pixelreasoner\[ocr\]"):
        OcrCheck(OcrConfig()).fault(BLANK, asked("Vienna"))


def test_a_tolerance_is_a_share():
    with pytest.raises(ConfigError, match="tolerance"):
        OcrConfig(tolerance=1.5)


@pytest.mark.slow
def test_of_forty_pages_most_boxes_off_the_answer_are_found(page):
    """A letter outside, beside and far: nearly all; on the answer: nearly all kept."""
    check, kept, found, n_off = OcrCheck(OcrConfig()), 0, 0, 0
    for number in range(100, 140):
        drawn = make_page(number)
        task = asked(drawn.answers[0].text)
        for shift, crop in crops(drawn, 0).items():
            if shift == ON:
                kept += check.fault(crop, task) is None
            elif shift in (OFF[0], OFF[-2], OFF[-1]):
                n_off += 1
                found += check.fault(crop, task) is not None
    assert n_off > 100
    assert kept >= 36
    assert found >= 0.97 * n_off
