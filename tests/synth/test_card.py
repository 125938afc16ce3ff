"""The card says what was counted, and nothing that was not."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.synth.card import FORMS, Contents, card, size_category

PHOTO = Picture(np.zeros((20, 20, 3), np.uint8))
CUE = Cue(box=Box(2, 2, 4, 4))
SPENT = ("requests", "prompt_tokens", "completion_tokens", "usd", "estimated")
SUMMARY: dict[str, Any] = {
    "wanted": 5,
    "made": 4,
    "by_source": {"sa-1b": 3, "star": 1},
    "rejections": {"judge.the crop | is not needed": 5, "outline.no room": 1},
    "spending": {
        "write": dict(zip(SPENT, (10, 8000, 2000, 0.5, 3), strict=True)),
        "judge": dict(zip(SPENT, (6, 4000, 12, 0.1, 0), strict=True)),
    },
    "prompts_version": "3",
    "unfilled": 1,
    "models": {"teacher": "strong-1", "judge": "cheap-2"},
}


def contents() -> Contents:
    """One without an operation, two with a crop on the cue, one with a wrong crop before it."""
    task = Task("t", "Which?", (PHOTO,), ("B",), "page", CUE)

    def crop(*corners: int, masked: bool = False) -> Turn:
        seen = Observation("Image 2:", (PHOTO.crop(*corners),), box=Box(*corners))
        return Turn("one two three", observation=seen, masked=(0, 3) if masked else None)

    last = Turn("four five")
    counted = Contents()
    for turns, source in (
        ((last,), "text_only"),
        ((crop(0, 0, 8, 8), last), "single_pass"),
        ((crop(0, 0, 8, 8), last), "single_pass"),
        ((crop(9, 9, 12, 12, masked=True), crop(0, 0, 3, 3), last), "recrop_once"),
    ):
        counted.add(Trajectory(task, turns, StopReason.ANSWER, "B", source=source, coordinates="relative"))
    return counted


def cells(text: str, first: str) -> list[str]:
    """The cells of the row that begins so."""
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[2:-1]]


def test_every_figure_is_one_of_the_run():
    text = card(contents(), SUMMARY, form="parquet", name="my-set")
    assert "4 trajectories of 5 wanted" in text
    assert cells(text, "single_pass") == ["2", "50.0%"]
    assert cells(text, "sa-1b") == ["3", "75.0%"]
    assert [cells(text, n)[0] for n in ("0", "1", "2")] == ["1", "2", "1"]
    # 2, 5, 5 and 8 words.
    assert "5 on average, median 5, 95th percentile 8" in text
    assert "wrong operation, which is not to be learned: 1" in text
    # The crop 0 0 3 3 shows a quarter of the cue.
    assert "shows all of the evidence: 2 of 3" in text
    assert cells(text, "write") == ["10", "8,000", "2,000", "0.50", "3"]
    assert cells(text, "all") == ["16", "12,000", "2,012", "0.60", "3"]
    assert cells(text, "per kept trajectory") == ["4.0", "3,000.0", "503.0", "0.15000", "0.8"]
    assert cells(text, "judge | the crop \\| is not needed") == ["the crop \\| is not needed", "5"]
    assert "6 tries; 40.0% of all tries gave a trajectory" in text
    assert "prompts version 3. Asked were: teacher `strong-1`, judge `cheap-2`.\n" in text
    assert "- coordinates of boxes: relative, 0 to 1,000\n" in text
    assert "SA-1B Dataset Research License" in text
    assert "Charades" in text


def test_the_offline_teacher_costs_nothing_to_say():
    text = card(contents(), {"sources": ["pixelworld", "mine.jsonl"]}, form="sharegpt", name="s")
    assert "What it cost" not in text
    assert "What was turned down" not in text
    assert "Asked were" not in text
    assert "- **pixelworld**: drawn by pixelreasoner" in text
    assert "- **mine.jsonl**: not known here" in text
    assert "also the 1 wrong operations" in text


def test_boxes_in_pixels_are_explained():
    counted = contents()
    counted.coordinates.clear()
    counted.coordinates["pixel of 3136..1568000 and 3136..784000 in steps of 28"] = 4
    text = card(counted, {}, form="parquet", name="s")
    assert "with 3,136 to 1,568,000 and 3,136 to 784,000 pixels, sides multiples of 28\n" in text


def test_the_set_is_loaded_by_a_path():
    """The bare name of a folder may be that of a builder of `datasets`: "parquet" is one."""
    assert 'load_dataset("path/to/parquet"' in card(contents(), {}, form="parquet", name="parquet")


@pytest.mark.parametrize("form", FORMS)
def test_the_header_is_yaml_that_the_hub_reads(form: str):
    yaml = pytest.importorskip("yaml")
    _, header, _ = card(contents(), {}, form=form, name='a "name": x').split("---\n", 2)
    table = yaml.safe_load(header)
    assert table["pretty_name"] == 'a "name": x'
    assert table["size_categories"] == ["n<1K"]
    assert table["license"] == "other"
    assert table["configs"][0]["data_files"][0]["split"] == "train"


@pytest.mark.parametrize(
    ("n", "name"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (7500, "1K<n<10K"),
        (10**6, "1M<n<10M"),
        (10**8, "n>100M"),
    ],
)
def test_size_categories_are_those_of_the_hub(n: int, name: str):
    assert size_category(n) == name


def test_names_of_others_are_shown_as_they_stand():
    """A kind, a source and a folder may be called anything: nothing of it is a link, a tag or a header."""
    counted = contents()
    counted.kinds = Counter({"[x](javascript:1)": 1, "<script>\n---\nlicense: mit": 1, "a|b\x1b[2J": 2})
    facts = {"by_source": {"**s** <img src=x>": 4}}
    text = card(counted, facts, form="parquet", name="<b>\n# mine")
    body = text.split("---\n", 2)[2]
    assert "| \\[x\\](javascript:1) | 1 |" in body
    assert "| \\<script\\> --- license: mit | 1 |" in body
    assert "| a\\|b\u241b\\[2J | 2 |" in body
    assert "- **\\*\\*s\\*\\* \\<img src=x\\>**: " in body
    assert body.strip().startswith("# \\<b\\> \\# mine\n")
    assert "\x1b" not in text
