"""Tokens before a server says them."""

from __future__ import annotations

import numpy as np
import pytest

from pixelreasoner.core.media import Picture
from pixelreasoner.endpoint.estimates import PromptEstimate
from pixelreasoner.endpoint.requests import ChatRequest, picture_part, text_part


def test_words_and_pictures_count():
    picture = Picture(np.zeros((280, 560, 3), np.uint8))  # 10 x 20 patches of 28 pixels
    words = {"role": "system", "content": "a" * 400}
    request = ChatRequest(
        "write", (words, {"role": "user", "content": [text_part("b" * 41), picture_part(picture)]})
    )
    assert PromptEstimate().of(request) == 100 + 11 + 200 + 2 * 4


def test_it_follows_what_the_server_counts():
    estimate = PromptEstimate()
    request = ChatRequest("write", ({"role": "user", "content": "a" * 384},))
    assert estimate.of(request) == 100
    estimate.learn(request, 200)
    assert estimate.of(request) == 200
    for _ in range(100):
        estimate.learn(request, 50)
    assert estimate.of(request) == pytest.approx(50, abs=1)
