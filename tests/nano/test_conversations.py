"""Synthetic conversations agree with their pictures, and contain no operation."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from pixelreasoner.chat.chat_format import ChatFormat, PixelBudget
from pixelreasoner.core.geometry import Box, Size
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.nano.conversations import SyntheticConversation, synthetic_conversations
from pixelreasoner.nano.curriculum import Curriculum
from pixelreasoner.nano.question_answers import view_of, written_box
from pixelreasoner.nano.scratch import Architecture
from pixelreasoner.tasks.pixelworld import KINDS, PixelWorld
from pixelreasoner.tasks.pixelworld.things import COLOURS, Thing
from pixelreasoner.tasks.pixelworld.world import WorldConfig

FACTOR = 16
BUDGETS = ChatFormat(
    crop_reply="Image {index}:",
    image=PixelBudget(min_pixels=64 * 64, max_pixels=128 * 128),
    crop=PixelBudget(min_pixels=64 * 64, max_pixels=96 * 96),
    video_frame=PixelBudget(min_pixels=16 * 16, max_pixels=48 * 48),
)
VISION = Architecture(patch_size=FACTOR // 2).vision(BUDGETS)


def drawn(n: int):
    """The conversations of `n` scenes, each with its scene."""
    world = PixelWorld()
    for i in range(n):
        scene, rng = world.scene("base", KINDS[i % 5], i, tiny=i % 2 == 0)
        for made in synthetic_conversations(scene, rng, BUDGETS, VISION):
            yield scene, made


def is_deferred(made: SyntheticConversation) -> bool:
    """Whether its question comes before the picture that answers it."""
    return made.pairs[0].question.endswith("Look closer.")


def test_a_written_box_is_rounded_outward_to_the_step():
    # 1000 pixels across and 500 down: x is in thousandths already, y counts double.
    assert written_box(Box(101, 101, 139, 139), Size(1000, 500)) == [100, 200, 140, 280]
    assert written_box(Box(-5, 0, 999, 500), Size(1000, 500)) == [0, 0, 1000, 1000]


def test_no_conversation_names_an_operation():
    for _, made in drawn(20):
        for e in made.pairs:
            assert "crop_image" not in e.question + e.answer
            assert "select_frames" not in e.question + e.answer
            assert "<tool_call>" not in e.question + e.answer


def test_every_box_holds_its_thing_in_the_picture_last_shown():
    """Checked on pixels: the named colour fills part of the box that is named with it."""
    seen = 0
    for _, made in drawn(40):
        shown: Picture | Video | None = None
        for e in made.pairs:
            shown = e.media[-1] if e.media else shown
            for name, numbers in re.findall(r'The (\w+) \w+[^\n]*\n\{"bbox_2d": (\[[^]]*\])\}', e.answer):
                assert isinstance(shown, Picture)
                box = json.loads(numbers)
                w, h = shown.size
                x1, y1, x2, y2 = (round(v * s / 1000) for v, s in zip(box, (w, h, w, h), strict=True))
                region = shown.pixels[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)].reshape(-1, 3).astype(int)
                distance = np.abs(region - np.array(COLOURS[name])).sum(-1)
                assert distance.min() < 120, (name, box)
                seen += 1
    assert seen > 50


def test_a_thing_is_located_at_most_once_per_picture():
    for _, made in drawn(40):
        located: set[str] = set()
        for e in made.pairs:
            if e.media:
                located = set()
            names = re.findall(r"(The \w+ \w+)[^\n]*\n\{", e.answer)
            assert not located & set(names)
            located |= set(names)


def test_the_frames_named_are_those_that_show_the_card():
    world = PixelWorld()
    scene, rng = world.scene("base", "clip", 3, tiny=True)
    answers = "\n".join(
        e.answer for made in synthetic_conversations(scene, rng, BUDGETS, VISION) for e in made.pairs
    )
    found = dict(re.findall(r'The (\w+) card\n\{"target_frames": (\[[^]]*\])\}', answers))
    assert {c: json.loads(f) for c, f in found.items()} == {t.colour: list(t.frames) for t in scene.things}


def test_pictures_of_a_scene_stand_alone_or_follow_one_another():
    """Most conversations show one picture; in the others each picture comes with the question it is about."""
    shown = [sum(bool(e.media) for e in made.pairs) for _, made in drawn(60)]
    assert all(made.pairs[0].media for _, made in drawn(10))
    assert shown.count(1) > len(shown) / 2
    assert max(shown) >= 3


def test_a_close_up_may_come_beside_the_picture_it_was_taken_from():
    """Half of those with a conversation of their own: the full image or the clip first, then the close-up."""
    alone, beside = 0, 0
    for i in range(90):
        scene, rng = PixelWorld().scene("base", KINDS[i % 5], i, tiny=True)
        full_image, *rest = synthetic_conversations(scene, rng, BUDGETS, VISION)
        close_ups = [made for made in rest if made.views and not is_deferred(made)]
        for made in close_ups:
            *before, close_up = made.pairs[0].media
            assert [view.media for view in made.views] == [close_up]
            assert before in ([], [full_image.pairs[0].media[0]])
            alone, beside = alone + (not before), beside + bool(before)
        assert all(not e.media for made in close_ups for e in made.pairs[1:])
    assert 0.4 < beside / (alone + beside) < 0.6


def test_a_question_may_be_answered_by_a_picture_shown_later():
    """The full image comes with the question, then pictures in the form of tool results."""
    n_distractors = []
    for scene, made in drawn(60):
        if not is_deferred(made):
            continue
        first, *later = made.pairs
        [thing] = [t for t in scene.things if first.answer == f"The{t.name[3:]} is small."]
        assert thing.name in first.question
        assert [e.question for e in later] == [f"Image {i}:" for i in range(2, 2 + len(later))]
        assert all(len(e.media) == 1 for e in made.pairs)
        *distractors, last = later
        assert all(e.answer == f"The{thing.name[3:]} is not here." for e in distractors)
        if thing.glyph:
            choices = re.split(r", | or |\?", first.question.partition(": ")[2])
            assert thing.glyph in choices[:4]
            assert last.answer == f"The{thing.name[3:]} reads {thing.glyph}. \\boxed{{{thing.glyph}}}"
        else:
            assert "\\boxed" in last.answer
        n_distractors.append(len(distractors))
    assert len(n_distractors) > 20
    assert set(n_distractors) == {0, 1}


def test_an_answer_names_its_subject_before_its_value():
    """The name precedes the answer, so that attention can use it."""
    for scene, made in drawn(40):
        for e in made.pairs:
            if "\\boxed" in e.answer:
                claim, _, boxed = e.answer.partition(" \\boxed")
                answer = boxed.strip("{}")
                assert claim.endswith(f" {answer}.")
                subjects = [t.name for t in scene.things]
                subjects += [f"{d.colour} dot" for t in scene.things for d in t.dots]
                assert any(subject in claim.lower() for subject in subjects)


def test_illegible_things_are_answered_with_a_choice_in_a_conversation_of_their_own():
    seen = 0
    for i in range(30):
        scene, rng = PixelWorld().scene("base", ("attribute", "page", "clip")[i % 3], i, tiny=True)
        full_image, *rest = synthetic_conversations(scene, rng, BUDGETS, VISION)
        assert not any(e.question.startswith(("Which", "What")) for e in full_image.pairs) or not rest
        for made in rest:
            if made.views:  # a close-up
                continue
            assert made.pairs[0].media == full_image.pairs[0].media
            assert 1 <= len(made.pairs) <= 3
            for e in made.pairs:
                answer = e.answer.partition("\\boxed")[2].strip("{}")
                assert answer in re.split(r", | or |\?", e.question.partition(": ")[2])
            seen += 1
    assert 15 < seen < 30  # a quarter of the scenes are one conversation, without guesses


def test_a_view_keeps_what_is_inside_and_scales_it():
    picture = Picture(np.zeros((400, 400, 3), np.uint8))
    inside = Thing("card", "red", Box(110, 120, 130, 140), detail_px=12, glyph="K")
    outside = Thing("card", "blue", Box(290, 120, 320, 150), detail_px=12, glyph="K")
    view = view_of(picture, (inside, outside), Box(100, 100, 300, 300), BUDGETS.crop, FACTOR)
    assert view.media.size == Size(96, 96)  # 200 pixels shown on 96: a factor of 0.48
    [kept] = view.things
    assert (kept.box.x1, kept.box.y1, kept.box.x2, kept.box.y2) == pytest.approx((4.8, 9.6, 14.4, 19.2))
    assert kept.detail_px == pytest.approx(12 * 0.48)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_curriculum_does_not_depend_on_the_number_of_workers():
    curriculum = Curriculum(WorldConfig(), BUDGETS, VISION, n_scenes=60, n_layouts=3)
    one, two = (list(curriculum.paint(workers)) for workers in (1, 2))
    texts = lambda chunks: [e.question + e.answer for ls, _ in chunks for made in ls for e in made.pairs]  # noqa: E731
    shown = lambda chunks: [v.media.digest for _, views in chunks for v in views]  # noqa: E731
    assert texts(one) == texts(two)
    assert shown(one) == shown(two)
    assert sum(len(ls) for ls, _ in one) > 60  # most pictures of a scene make a conversation of their own
    assert len(shown(one)) == 3 * (5 + 5)  # a layout as a whole, four close-ups, and five card layouts
