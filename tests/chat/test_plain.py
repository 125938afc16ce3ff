"""The tokenizer-free renderer follows the rules of every renderer."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.chat.plain import ASSISTANT, IMAGE, STOP, USER, VIDEO, PlainRenderer
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation
from prompting import prompt_of

PICTURE = Picture(np.zeros((4, 6, 3), np.uint8))
RENDERER = PlainRenderer()


@given(st.text())
def test_a_message_survives_the_round_trip(text):
    ids = RENDERER.encode(text)
    assert ids[-1] == STOP
    assert RENDERER.decode(ids) == text


@given(st.lists(st.integers(0, 261)))
def test_any_ids_can_be_decoded(ids):
    RENDERER.decode(ids)


def test_each_picture_and_each_frame_has_one_placeholder():
    task = Task("t", "Q?", (PICTURE, Video((PICTURE, PICTURE, PICTURE))), ("a",))
    prompt = prompt_of(RENDERER, task, ())
    assert prompt.ids.count(IMAGE) == 1
    assert prompt.ids.count(VIDEO) == 3
    assert prompt.media == task.media
    assert prompt.ids[-1] == ASSISTANT


def test_tools_change_the_prompt():
    task = Task("t", "Q?", (PICTURE,), ("a",))
    schema = {"type": "function", "function": {"name": "crop_image"}}
    with_tools, without = (RENDERER.decode(prompt_of(RENDERER, task, t).ids) for t in ([schema], []))
    assert "crop_image" in with_tools
    assert "crop_image" not in without


def test_an_observation_opens_the_next_message():
    segment = RENDERER.observation(Observation("ok", images=(PICTURE,)))
    assert segment.ids == (USER, *b"ok", IMAGE, ASSISTANT)
    assert segment.media == (PICTURE,)
