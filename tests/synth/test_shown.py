"""The sizes at which pictures go to a server."""

from __future__ import annotations

import numpy as np
import pytest

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.synth.shown import SentPictures, frame_marker


def picture(width: int, height: int) -> Picture:
    return Picture(np.zeros((height, width, 3), np.uint8))


def size(part: dict) -> Size:
    return part["image_url"]["url"].size


SENT = SentPictures(image=480_000, crop=90_000, frame=1200)


def test_large_pictures_are_made_smaller_and_small_ones_are_left():
    parts = SENT.whole_parts([picture(1600, 1200), picture(40, 30)], frame_marker("{number}"))
    assert [size(part) for part in parts] == [Size(800, 600), Size(40, 30)]


def test_frames_come_after_their_markers():
    clip = Video((picture(80, 60), picture(80, 60)), (0.25, 1.5))
    first, one, second, two = SENT.whole_parts([clip], frame_marker("Frame {number} ({seconds:.1f} s):"))
    assert (first["text"], second["text"]) == ("Frame 1 (0.2 s):", "Frame 2 (1.5 s):")
    assert size(one) == size(two) == Size(40, 30)


def test_crops_are_enlarged_to_what_models_read_and_limited():
    assert size(SENT.crop_part(picture(64, 64))) == Size(256, 256)
    assert size(SENT.crop_part(picture(1000, 1000))) == Size(300, 300)
    assert size(SENT.crop_part(picture(280, 270))) == Size(280, 270)
    # No more than the limit, where it is below that.
    assert size(SentPictures(crop=10_000).crop_part(picture(50, 50))) == Size(100, 100)


def test_pictures_of_no_size_are_refused():
    with pytest.raises(ConfigError, match="image"):
        SentPictures(image=0)
