"""Which questions the embedded model was taught, told from their words."""

from __future__ import annotations

import numpy as np
import pytest

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.nano.question_answers import locate, locate_all, read_all
from pixelreasoner.tasks.pixelworld.questions import (
    EXAMPLE,
    count,
    is_of_this_world,
    questions_about,
    relation,
)
from pixelreasoner.tasks.pixelworld.things import COLOURS, Dot, Thing

SIZE = Picture(np.zeros((100, 100, 3), np.uint8)).size


def things() -> list[Thing]:
    """A card with a letter, a card with a digit, a row and a board, in every colour."""
    box = Box(0, 0, 60, 60)
    dots = (Dot("red", Box(0, 0, 9, 9)), Dot("blue", Box(40, 0, 49, 9)))
    return [
        thing
        for colour in COLOURS
        for thing in (
            Thing("card", colour, box, 9, glyph="K"),
            Thing("card", colour, box, 9, glyph="7"),
            Thing("row", colour, box, 9, glyph="7"),
            Thing("board", colour, box, 9, dots=dots),
        )
    ]


def test_every_question_of_the_world_and_of_pre_training_is_one():
    rng = np.random.default_rng(0)
    texts = {EXAMPLE, locate_all([], SIZE).question, read_all([]).question}
    for thing in things():
        for _ in range(4):  # with choices and without
            texts |= {q.text for q in questions_about(thing, rng)} | {locate(thing, SIZE, rng).question}
        texts.add(f"Find the frames with {thing.name}.")
        if thing.dots:
            texts |= {relation(thing, swapped=True).text, count(thing, "red").text}
    assert len(texts) > 100
    assert [text for text in sorted(texts) if not is_of_this_world(text)] == []


@pytest.mark.parametrize(
    "question", ["which letter is on the RED card?", " Which letter is on\nthe red card? "]
)
def test_case_and_spaces_are_of_no_account(question: str):
    assert is_of_this_world(question)


@pytest.mark.parametrize(
    "question",
    [
        "",
        "What is in the picture?",
        "Which letter is on the pink card?",
        "Which letter is on the red board?",
        "Which letter is on the red card? And why?",
        "How many dogs are on the red board?",
        "Describe the red card.",
    ],
)
def test_anything_else_is_none(question: str):
    assert not is_of_this_world(question)
