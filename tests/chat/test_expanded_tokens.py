"""The tokens of a conversation are counted as the layout expands them, without touching a pixel."""

from __future__ import annotations

import pytest

from pixelreasoner.chat import videos
from pixelreasoner.core.messages import Message
from pixelreasoner.core.trajectory import Observation, Segment


def n_expanded(renderer, segments: list[Segment]) -> int:
    return sum(renderer.n_tokens(segment, prompt=i == 0) for i, segment in enumerate(segments))


def conversation(renderer, picture, video, tools) -> list[Segment]:
    """Pictures of all shapes, a video with an odd number of frames, an earlier crop, and a new one."""
    media = (picture(40, 24), video(5, fps=3.0), picture(300, 7, 1))
    messages = [
        Message("user", (*media, "Where?")),
        Message("assistant", ("I look.",)),
        Message("tool", ("Image 3:", picture(90, 90, 2))),
    ]
    observed = renderer.observation(Observation("Image 4:", (picture(33, 50, 3), picture(8, 8, 4))))
    return [renderer.prompt(messages, tools), Segment(renderer.encode("It reads K.")), observed]


def test_the_count_is_the_length_of_the_layout(renderer, picture, video, tools):
    segments = conversation(renderer, picture, video, tools)
    assert segments[0].crops == (3,)
    for n in (1, 2, 3):
        assert n_expanded(renderer, segments[:n]) == len(renderer.layout(segments[:n]))


def test_a_picture_is_counted_at_the_size_it_is_shown_at(qwen3_folder, load_model, picture):
    """Tokens of 8 x 8 pixels; the budgets are 48 x 48 for a picture and 32 x 32 for a crop."""
    vision = load_model(qwen3_folder).renderer.vision
    assert vision.n_tokens(picture(480, 480), crop=False) == 36
    assert vision.n_tokens(picture(480, 480), crop=True) == 16
    assert vision.n_tokens(picture(40, 24), crop=False) == 5 * 3


def test_no_pixel_is_touched(renderer, picture, video, tools, monkeypatch):
    segments = conversation(renderer, picture, video, tools)

    def touched(*_):
        raise AssertionError("a picture was resized to be counted")

    monkeypatch.setattr(videos, "resized", touched)
    with pytest.raises(AssertionError, match="resized"):
        renderer.layout(segments)
    assert n_expanded(renderer, segments) > 50


def test_the_model_says_how_long_a_conversation_may_be(renderer):
    assert renderer.max_tokens == (32768 if renderer.family.model_type == "qwen2_5_vl" else 8192)
    assert renderer.with_format(renderer.chat_format).max_tokens == renderer.max_tokens
