"""Sizes, resizing and normalisation against the processors of transformers."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pixelreasoner.chat import pixels
from pixelreasoner.chat.chat_format import PixelBudget
from pixelreasoner.chat.pixels import MAX_ASPECT_RATIO, fit, fit_frames, resized
from pixelreasoner.core.byte_cache import ByteCache
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.media import Picture

SIDES = st.integers(1, 5000)
FACTORS = st.sampled_from([8, 16, 28, 32])


@st.composite
def budgets(draw) -> PixelBudget:
    low = draw(st.integers(1, 2000)) ** 2
    return PixelBudget(min_pixels=low, max_pixels=low + draw(st.integers(0, 4000)) ** 2)


@settings(deadline=None)  # the first example imports transformers
@given(width=SIDES, height=SIDES, budget=budgets(), factor=FACTORS)
def test_fit_is_the_rule_of_the_processors(width, height, budget, factor):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    assume(max(width, height) <= MAX_ASPECT_RATIO * min(width, height))
    limits = {"min_pixels": budget.min_pixels, "max_pixels": budget.max_pixels}
    expected_height, expected_width = smart_resize(height, width, factor, **limits)
    assert fit(Size(width, height), budget, factor=factor) == (expected_width, expected_height)


@settings(deadline=None)  # the first example imports transformers
@given(width=SIDES, height=SIDES, n=st.integers(2, 80), budget=budgets(), factor=FACTORS)
def test_fit_frames_is_the_rule_of_the_video_processor(width, height, n, budget, factor):
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize

    assume(max(width, height) <= MAX_ASPECT_RATIO * min(width, height))
    # It first enlarges a side that is shorter than the factor, and may then find the ratio too large.
    assume(min(width, height) >= factor)
    limits = {"min_pixels": budget.min_pixels, "max_pixels": budget.max_pixels}
    expected = smart_resize(n, height, width, temporal_factor=2, factor=factor, **limits)
    shown = fit_frames(Size(width, height), n, budget, factor=factor, temporal_patch=2)
    assert (shown.height, shown.width) == expected


def test_fit_frames_by_hand():
    budget = PixelBudget(min_pixels=4096, max_pixels=25165824)
    by = {"factor": 32, "temporal_patch": 2}
    assert fit_frames(Size(640, 480), 8, budget, **by) == (640, 480)
    # 2 * 32 * 32 pixels are too few: both sides times sqrt(2), then up to a multiple of 32.
    assert fit_frames(Size(32, 32), 2, budget, **by) == (64, 64)
    assert fit_frames(Size(32, 32), 1, budget, **by) == (64, 64)
    assert fit_frames(Size(1, 5000), 4, budget, **by) > (0, 0)


def test_fit_by_hand():
    budget = PixelBudget(min_pixels=56 * 56, max_pixels=28 * 28 * 16)
    assert fit(Size(60, 80), budget, factor=28) == (56, 84)  # to the nearest multiples
    assert fit(Size(10, 10), budget, factor=28) == (56, 56)  # grown
    assert fit(Size(1000, 1000), budget, factor=28) == (112, 112)  # shrunk


@pytest.mark.parametrize("size", [Size(1, 30_000), Size(4, 2_000), Size(30_000, 1)])
def test_a_line_is_squeezed_where_the_processors_refuse_it(size):
    budget = PixelBudget(min_pixels=28 * 28, max_pixels=28 * 28 * 1280)
    shown = fit(size, budget, factor=28)
    assert shown.width * shown.height <= budget.max_pixels
    limit = MAX_ASPECT_RATIO * min(size)
    squeezed = Size(min(size.width, limit), min(size.height, limit))
    assert shown == fit(squeezed, budget, factor=28)
    assert shown.height % 28 == shown.width % 28 == 0 < min(shown)


@given(
    factor=FACTORS,
    short=st.floats(4, 100),
    ratio=st.floats(1, 8),
    upright=st.booleans(),
    low=st.floats(1, 1000),
    room=st.floats(4, 50),
)
def test_fit_keeps_the_shape_where_there_is_room(factor, short, ratio, upright, low, room):
    sides = (round(short * factor), round(short * ratio * factor))
    width, height = sides if upright else sides[::-1]
    most = max(low * room, 600)
    budget = PixelBudget(min_pixels=round(low * factor**2), max_pixels=round(most * factor**2))
    shown = fit(Size(width, height), budget, factor=factor)
    assert budget.min_pixels <= shown.width * shown.height <= budget.max_pixels
    assert abs(math.log(shown.width / shown.height * height / width)) < 0.5


def test_resizing_is_pillows_bicubic_and_shared(picture):
    from PIL import Image

    source, size = picture(30, 20), Size(16, 8)
    out = resized(source, size)
    assert np.array_equal(
        out, np.asarray(Image.fromarray(source.pixels).resize(size, Image.Resampling.BICUBIC))
    )
    assert resized(Picture(source.pixels.copy()), size) is out
    assert not out.flags.writeable
    assert resized(source, source.size) is source.pixels


def test_resized_pictures_are_dropped_when_memory_is_spent(picture, monkeypatch):
    size = Size(8, 8)  # 192 bytes
    monkeypatch.setattr(pixels, "RESIZED", ByteCache(400))
    first, second, third = (picture(10, 10, seed) for seed in range(3))
    kept = resized(first, size)
    resized(second, size)
    assert resized(first, size) is kept
    resized(third, size)  # the second leaves
    assert resized(first, size) is kept
    assert len(pixels.RESIZED._kept) == 2
