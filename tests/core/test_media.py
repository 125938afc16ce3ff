"""Pictures and videos in memory."""

import numpy as np
import pytest

from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.media import Picture, Video


def plain(value: int, width: int = 4, height: int = 3) -> Picture:
    return Picture(np.full((height, width, 3), value, np.uint8))


def test_pictures_are_equal_when_their_pixels_are():
    assert plain(7) == plain(7)
    assert hash(plain(7)) == hash(plain(7))
    assert plain(7) != plain(8)
    assert plain(7) != "a picture"


def test_the_same_bytes_in_another_shape_are_another_picture():
    assert plain(7, width=4, height=3) != plain(7, width=3, height=4)


def test_a_strided_view_has_the_digest_of_its_copy():
    pixels = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(6, 6, 3)
    view = pixels[::2, 1:4]
    assert Picture(view) == Picture(view.copy())


def test_a_picture_cannot_be_written_to():
    picture = plain(7)
    with pytest.raises(ValueError, match="read-only"):
        picture.pixels[0, 0, 0] = 1


def test_the_size_is_width_then_height():
    assert plain(7, width=4, height=3).size == (4, 3)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(pixels: np.ndarray):
    with pytest.raises(MediaError):
        Picture(pixels)


def test_a_video_without_a_clock_has_one_frame_per_second():
    assert Video((plain(1), plain(2), plain(3))).times_s == (0.0, 1.0, 2.0)


def test_times_belong_to_the_content_of_a_video():
    frames = (plain(1), plain(2))
    assert Video(frames).digest == Video(frames, (0.0, 1.0)).digest
    assert Video(frames).digest != Video(frames, (0.0, 2.0)).digest
    assert Video(frames).digest != Video(frames[::-1]).digest


@pytest.mark.parametrize(
    ("frames", "times_s"),
    [((), ()), ((plain(1), plain(1, width=5)), ()), ((plain(1), plain(2)), (0.0,))],
)
def test_videos_that_make_no_sense_are_refused(frames: tuple[Picture, ...], times_s: tuple[float, ...]):
    with pytest.raises(MediaError):
        Video(frames, times_s)
