"""The run of hostile media: what becomes of a file is seen as it is, and what must not be is told."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import hostile
from benchmarks.hostile import Outcome, outcome, run, table
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import save_image


def good(**other) -> Outcome:
    whole = {"file": "a.png", "group": ".png", "code": 0, "message": "Picture(3x3)", "peak_bytes": 10**8,
             "seconds": 1.0, "stderr": ""}  # fmt: skip
    return Outcome(**(whole | other))


def test_a_child_tells_what_it_loaded_and_what_that_took(tmp_path: Path):
    save_image(Picture(np.zeros((3000, 3000, 3), np.uint8)), tmp_path / "a.png")
    found = outcome(tmp_path / "a.png", ".png")
    assert found.code == 0
    assert found.message.startswith("Picture(3000x3000")
    assert found.peak_bytes > 3000 * 3000 * 3
    assert found.seconds > 0
    assert found.faults == []


def test_a_refusal_is_a_line_and_code_2(tmp_path: Path):
    (tmp_path / "a.png").write_text("nothing")
    found = outcome(tmp_path / "a.png", ".png")
    assert (found.code, found.faults) == (2, [])
    assert "a text file" in found.message


@pytest.mark.parametrize(
    ("does", "fault"),
    [
        (lambda path: 1 / 0, "crash"),
        (lambda path: os.kill(os.getpid(), signal.SIGKILL), "crash"),
        (lambda path: "two\nlines", "not one line"),
        (lambda path: len(bytearray(120 * 10**6)), "memory"),
        (lambda path: sum(range(10**7)), "time"),
    ],
)
def test_what_must_not_be_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does, fault: str):
    monkeypatch.setattr(hostile, "load_media", does)
    monkeypatch.setattr(hostile, "repr", str, raising=False)
    if fault == "memory":
        monkeypatch.setattr(hostile, "PEAK_BYTES", 100 * 10**6)
    if fault == "time":
        monkeypatch.setattr(hostile, "VIDEO_SECONDS", 0.01)
    assert outcome(tmp_path / "a.png", ".png").faults == [fault]


def test_words_of_a_library_are_counted_and_those_on_damage_are_not(tmp_path, monkeypatch):
    for words, noisy in (
        ("a.mp4: 1 of 9 packets are damaged and are left out\n", False),
        ("Bad code\n", True),
    ):
        monkeypatch.setattr(hostile, "load_media", lambda path, words=words: os.write(2, words.encode()))
        assert outcome(tmp_path / "a.mp4", ".mp4").noisy is noisy


def test_budgets_differ_for_what_is_refused():
    assert good(seconds=30.0).faults == []
    assert good(seconds=30.0, code=2).faults == ["time"]
    assert good(peak_bytes=2 * 10**9).faults == ["memory"]


def test_changes_are_the_same_for_the_same_seed():
    content = bytes(range(256)) * 8
    once, again, other = (
        list(hostile._changed(content, 12, np.random.default_rng(seed))) for seed in (1, 1, 2)
    )
    assert once == again
    assert once != other
    assert all(changed != content for changed in once)


def test_the_table_has_a_row_per_group_and_one_of_all():
    rows = table([good(), good(group=".jpg", code=2, seconds=2.0), good(code=-11)]).splitlines()
    assert rows[2:] == [
        "| .jpg | 1 | 0 | 1 | 100 | 0.0 | 2.0 | 0 | 0 |",
        "| .png | 2 | 1 | 0 | 100 | 1.0 | 0.0 | 0 | 1 |",
        "| all | 3 | 1 | 1 | 100 | 1.0 | 2.0 | 0 | 1 |",
    ]


@pytest.mark.slow
def test_no_hostile_file_does_harm():
    """Some four hundred files; `python -m benchmarks hostile-media` has over a thousand."""
    outcomes = list(run(4, seed=7))
    assert len(outcomes) > 300
    assert [found for found in outcomes if found.faults] == []
    assert {found.code for found in outcomes} == {0, 2}
    assert not [found for found in outcomes if found.group == "special" and found.code == 0]


def test_pictures_of_every_format_are_among_the_seeds():
    from benchmarks.hostile_seeds import pictures
    from pixelreasoner.core.image_formats import BYTES_PER_PIXEL

    Image.init()
    suffixes = Image.registered_extensions() | {".heic": "HEIF"}
    assert {suffixes["." + name.rsplit(".", 1)[1]] for name, _ in pictures()} >= BYTES_PER_PIXEL.keys()
