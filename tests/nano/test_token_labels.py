"""Token labels of a view of four by three tokens, by hand; and the contents of layouts."""

from __future__ import annotations

import numpy as np
import pytest

from pixelreasoner.chat.chat_format import PixelBudget
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.nano.question_answers import View, legible, view_of
from pixelreasoner.nano.token_labels import COLOUR_NAMES, GLYPHS, IGNORE, TALLIES, token_labels
from pixelreasoner.tasks.pixelworld import paint, scenes
from pixelreasoner.tasks.pixelworld.things import DOT_COLOURS, SIDES, Dot, Thing

FACTOR = 16


def view(*things: Thing) -> View:
    return View(Picture(np.zeros((48, 64, 3), np.uint8)), things)


def dot(colour: str, x: float, y: float, radius: float = 2) -> Dot:
    return Dot(colour, Box(x - radius, y - radius, x + radius, y + radius))


def board(*dots: Dot, dot_px: float = 4) -> Thing:
    return Thing("board", "red", Box(16, 0, 64, 48), detail_px=dot_px, dots=dots)


def shares(**of: float) -> list[float]:
    return [of.get(name, 0.0) for name in ("nothing", *COLOUR_NAMES)]


def test_a_card_labels_colour_glyph_and_box():
    labels = token_labels(view(Thing("card", "blue", Box(0, 0, 32, 16), 10, glyph="K")), FACTOR)
    assert labels.noun_M.tolist() == [1, 1, 0, 0] + [0] * 8
    assert labels.colour_MK[1].tolist() == shares(blue=1)
    assert labels.colour_MK[2].tolist() == shares(nothing=1)
    assert labels.glyph_M[:2].tolist() == [1 + GLYPHS.index("K")] * 2
    assert labels.box_M4[0].tolist() == pytest.approx([0, 0, 0.5, 1 / 3])
    assert labels.at_M2[5].tolist() == [1.5 / 4, 1.5 / 3]
    assert np.isnan(labels.dots_MC).all()


def test_a_thing_in_four_cells_labels_all_of_them():
    labels = token_labels(view(Thing("card", "blue", Box(13, 13, 19, 19), 4, glyph="K")), FACTOR)
    assert np.flatnonzero(labels.noun_M).tolist() == [0, 1, 4, 5]


def test_an_illegible_glyph_is_ignored():
    labels = token_labels(view(Thing("card", "blue", Box(0, 0, 16, 16), 5, glyph="K")), FACTOR)
    assert labels.glyph_M[0] == IGNORE


def test_dots_label_the_cell_of_their_centre():
    pair = dot("black", 24, 8), dot("green", 56, 8)
    labels = token_labels(view(board(*pair)), FACTOR)
    black, green = DOT_COLOURS.index("black"), DOT_COLOURS.index("green")
    assert labels.dots_MC[1, black] == 1
    assert labels.dots_MC[3, green] == 1
    assert labels.dots_MC[[1, 2, 3]].sum() == 2
    assert np.isnan(labels.dots_MC[0]).all(), "off the board"
    assert labels.colour_MK[1].tolist() == shares(red=0.5, black=0.5)
    assert labels.colour_MK[2].tolist() == shares(red=1)
    assert labels.side_M[[1, 3]].tolist() == [SIDES.index("left"), SIDES.index("right")]
    assert (labels.side_M != IGNORE).sum() == 2


def test_dots_of_one_colour_are_labelled_with_their_count():
    reds = [dot("green", 20, 4), dot("green", 28, 12), dot("green", 40, 40)]
    labels = token_labels(view(board(*reds, dot("blue", 56, 40))), FACTOR)
    assert labels.dots_MC[1, DOT_COLOURS.index("green")] == 2
    assert {m: TALLIES[t] for m, t in enumerate(labels.tally_M) if t != IGNORE} == {1: "3", 10: "3", 11: "1"}
    assert (labels.side_M == IGNORE).all(), "not a pair"


def test_a_cell_with_dots_of_two_colours_has_no_tally():
    labels = token_labels(view(board(dot("green", 20, 4), dot("blue", 28, 12))), FACTOR)
    assert (labels.tally_M == IGNORE).all()
    assert labels.colour_MK[1].tolist() == pytest.approx(shares(red=1 / 3, green=1 / 3, blue=1 / 3))


def test_illegible_dots_are_ignored():
    labels = token_labels(view(board(dot("green", 24, 8), dot_px=2)), FACTOR)
    assert np.isnan(labels.dots_MC).all()
    assert (labels.tally_M == IGNORE).all()
    assert labels.colour_MK[1].tolist() == shares(red=1)


def test_layouts_hold_all_kinds_that_do_not_touch():
    rng = np.random.default_rng(0)
    things = []
    for _ in range(4):
        scene = scenes.mixed_layout(
            scenes.LayoutGenerator(rng, paint.photographs(None), test=False, tiny=False)
        )
        assert not any(a.box.overlaps(b.box) for a in scene.things for b in scene.things if a is not b)
        things += scene.things
    assert {t.noun for t in things} == {"card", "row", "board"}
    digits = [t.glyph.isdigit() for t in things if t.noun == "card"]
    assert 0.2 < np.mean(digits) < 0.8, "more digits than the tasks' cards have"


def test_card_layouts_hold_legible_cards():
    rng = np.random.default_rng(0)
    generator = scenes.LayoutGenerator(rng, paint.photographs(None), test=False, tiny=False, digit_share=0.7)
    shown = []
    for _ in range(20):
        layout = scenes.card_layout(generator)
        assert not any(a.box.overlaps(b.box) for a in layout.things for b in layout.things if a is not b)
        whole, budget = Box(0, 0, *layout.media.size), PixelBudget(min_pixels=4096, max_pixels=16384)
        shown += view_of(layout.media, layout.things, whole, budget, FACTOR).things
    assert {t.noun for t in shown} == {"card"}
    assert len(shown) > 3 * 20, "many at a time"
    assert all(legible(t) for t in shown)
    assert 0.55 < np.mean([t.glyph.isdigit() for t in shown]) < 0.85
