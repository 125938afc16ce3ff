"""How many boxes that miss the answer the check by OCR finds, and how many good ones it turns down.

Pages are drawn (`benchmarks.pages`), an answer of each is asked for, and a crop around it is shifted off it
by more and more. A crop is good when it holds every letter and digit of the answer whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from resource import RUSAGE_SELF, getrusage
from typing import Any

import numpy as np

from benchmarks.pages import Answer, Page, make_page
from pixelreasoner.core.geometry import Box, Size
from pixelreasoner.core.intervals import wilson_interval
from pixelreasoner.synth.ocr import OcrConfig, read_text
from pixelreasoner.synth.text_match import TextLine, holds

Measured = dict[str, Any]
ON = "on the answer"
OFF = (
    "one letter outside", "a quarter of its width outside", "half of its width outside",
    "half of its height outside", "beside it", "far from it",
)  # fmt: skip
TOLERANCES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
MARGINS = (0.15, 2.0)
"""Of a crop around its answer, on each side, in heights of a line."""
TEXT_FROM = (8, 12, 18)
"""Sizes of text from which the groups of a record begin, in pixels."""


@dataclass(frozen=True)
class Case:
    """A crop, read."""

    face: str
    text_px: int
    form: str
    answer: str
    shift: str
    size: Size
    lines: tuple[TextLine, ...]
    seconds: float

    def accepted(self, tolerance: float) -> bool:
        return holds(self.lines, self.answer, tolerance)


def run(pages: int, *, seed: int = 0) -> Iterator[Measured]:
    """Shares per shift, precision and recall over all, the same for other tolerances, and the time.

    Args:
        pages: drawn; of each, one answer is asked for.
        seed: of the pages and the shifts.
    """
    cases = list(read_cases(pages, seed=seed))
    tolerance = OcrConfig().tolerance
    for shift in (ON, *OFF):
        yield _of_shift(shift, [case for case in cases if case.shift == shift], tolerance)
    for value in TOLERANCES:
        yield {**_found(cases, value), "is_default": value == tolerance}
    yield from _of_good(cases, tolerance)
    yield _times(cases)


def read_cases(pages: int, *, seed: int = 0) -> Iterator[Case]:
    """Every crop of some pages, read."""
    for number in range(pages):
        page = make_page(number, seed=seed)
        if not page.answers:
            continue
        rng = np.random.default_rng([seed, number, 1])
        answer = page.answers[int(rng.integers(len(page.answers)))]
        for shift, box in crops_of(page, answer, rng):
            crop = page.picture.crop(*box.pixel_bounds(page.picture.size))
            _ = crop.pixels
            begin = time.perf_counter()
            lines = read_text(crop)
            seconds = time.perf_counter() - begin
            yield Case(page.face, page.text_px, page.form, answer.text, shift, crop.size, lines, seconds)


# ------------------------------------------------------------------------------------------- the crops


def crops_of(page: Page, answer: Answer, rng: np.random.Generator) -> Iterator[tuple[str, Box]]:
    """A crop on an answer and those shifted off it, in pixels of the page, as far as it has room for them."""
    size, line = page.picture.size, page.text_px
    sides = rng.uniform(*MARGINS, 4) * line
    inner = answer.box
    good = Box(inner.x1 - sides[0], inner.y1 - sides[1], inner.x2 + sides[2], inner.y2 + sides[3])
    yield ON, Box(*good.pixel_bounds(size))
    for shift in OFF:
        directions = [(1, 0), (-1, 0), (0, 1), (0, -1)]
        for i in rng.permutation(4).tolist():
            moved = _shifted(good, answer, shift, *directions[i])
            if moved is not None and _fits(moved, size, line):
                yield shift, Box(*moved.pixel_bounds(size))
                break


def _shifted(good: Box, answer: Answer, shift: str, right: int, down: int) -> Box | None:
    """The crop moved in a direction until so much of the answer is outside; None where it goes otherwise."""
    letters = answer.letters
    left_x, right_x = min(b.x1 for b in letters), max(b.x2 for b in letters)
    top, bottom = min(b.y1 for b in letters), max(b.y2 for b in letters)
    width, height = right_x - left_x, bottom - top
    match shift:
        case "one letter outside" if right:
            first = min(b.x2 for b in letters) - left_x if right > 0 else right_x - max(b.x1 for b in letters)
            return _moved_off(good, (left_x, right_x), right, first)
        case "a quarter of its width outside" if right:
            return _moved_off(good, (left_x, right_x), right, width / 4)
        case "half of its width outside" if right:
            return _moved_off(good, (left_x, right_x), right, width / 2)
        case "half of its height outside" if down:
            by = top + height / 2 - good.y1 if down > 0 else bottom - height / 2 - good.y2
            return _moved(good, 0, by)
        case "beside it":
            return _moved(good, right * (good.width + 1), down * (good.height + 1))
        case "far from it":
            return _moved(good, right * 2.5 * max(good.width, 150), down * 2.5 * max(good.height, 100))
        case _:
            return None


def _moved_off(good: Box, span: tuple[float, float], right: int, lost: float) -> Box:
    """The crop moved sideways until `lost` pixels of the span of the answer are outside."""
    return _moved(good, span[0] + lost - good.x1 if right > 0 else span[1] - lost - good.x2, 0)


def _moved(box: Box, dx: float, dy: float) -> Box:
    return Box(box.x1 + dx, box.y1 + dy, box.x2 + dx, box.y2 + dy)


def _fits(box: Box, size: Size, line: int) -> bool:
    inside = box.clip(size)
    return inside.width >= line and inside.height >= line / 2 and inside.area >= 0.5 * box.area


# ----------------------------------------------------------------------------------------- the figures


def _of_shift(shift: str, cases: Sequence[Case], tolerance: float) -> Measured:
    accepted = sum(case.accepted(tolerance) for case in cases)
    return {"kind": "shift", "shift": shift, "crops": len(cases), **_share("accepted", accepted, len(cases))}


def _found(cases: Sequence[Case], tolerance: float) -> Measured:
    """Of the bad crops those rejected (recall), and of those rejected the bad ones (precision)."""
    rejected = [case for case in cases if not case.accepted(tolerance)]
    bad = sum(case.shift != ON for case in cases)
    found = sum(case.shift != ON for case in rejected)
    good = len(cases) - bad
    return {
        "kind": "check",
        "tolerance": tolerance,
        "crops": len(cases),
        **_share("recall", found, bad),
        **_share("precision", found, len(rejected)),
        **_share("good_kept", good - (len(rejected) - found), good),
    }


def _of_good(cases: Sequence[Case], tolerance: float) -> Iterator[Measured]:
    """Good crops that are kept, by the face and by the size of the text."""
    good = [case for case in cases if case.shift == ON]
    groups = {f"face {face}": [c for c in good if c.face == face] for face in sorted({c.face for c in good})}
    ends = (*TEXT_FROM[1:], 1000)
    for low, high in zip(TEXT_FROM, ends, strict=True):
        groups[f"text from {low} px"] = [c for c in good if low <= c.text_px < high]
    for form in ("columns", "table"):
        groups[form] = [c for c in good if c.form == form]
    for name, group in groups.items():
        if group:
            kept = sum(case.accepted(tolerance) for case in group)
            yield {"kind": "good", "group": name, "crops": len(group), **_share("accepted", kept, len(group))}


def _times(cases: Sequence[Case]) -> Measured:
    seconds = np.array([case.seconds for case in cases[1:]])
    megapixels = np.array([case.size.width * case.size.height / 1e6 for case in cases[1:]])
    return {
        "kind": "time",
        "crops": len(seconds),
        "median_seconds": float(np.median(seconds)),
        "p95_seconds": float(np.quantile(seconds, 0.95)),
        "median_megapixels": float(np.median(megapixels)),
        "peak_bytes": getrusage(RUSAGE_SELF).ru_maxrss * 1024,
    }


def _share(name: str, count: int, n: int) -> Measured:
    share = count / n if n else 0.0
    return {
        name: round(share, 4),
        f"{name}_interval": [round(v, 4) for v in wilson_interval(share, n)] if n else [],
    }
