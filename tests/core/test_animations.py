"""Animated images are videos; every frame is made here."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelreasoner.core import animations
from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.media_io import load_image, load_media, load_video

SUFFIXES = [".gif", ".webp", ".png", ".avif"]


def frames(n: int) -> list[Image.Image]:
    """Greys of 20, 40, ...; a bright corner keeps writers from merging them."""
    made = []
    for i in range(n):
        image = Image.new("RGB", (32, 24), (20 * (i + 1) % 230,) * 3)
        image.paste((255, 255, 255), (i % 30, 0, i % 30 + 2, 2))
        made.append(image)
    return made


def write(path: Path, n: int, duration: int | list[int] = 200, **options) -> None:
    first, *rest = frames(n)
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=rest, duration=duration, **lossless, **options)


def greys(video: Video) -> list[int]:
    return [round(float(frame.pixels[12, 16].mean()) / 20) - 1 for frame in video.frames]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_animation_is_a_video(tmp_path: Path, suffix: str):
    """Wished for: the frames of an animated GIF, WebP, APNG or AVIF."""
    write(tmp_path / f"a{suffix}", 10)
    video = load_media(tmp_path / f"a{suffix}", n_frames=5)
    assert isinstance(video, Video)
    assert greys(video) == [1, 3, 5, 7, 9]
    assert video.times_s == pytest.approx([0.2, 0.6, 1.0, 1.4, 1.8])
    assert sum(frame.n_bytes for frame in video.frames) == 0
    assert load_image(tmp_path / f"a{suffix}").size == (32, 24)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_moment_is_a_picture(tmp_path: Path, suffix: str):
    frames(1)[0].save(tmp_path / f"a{suffix}")
    assert isinstance(load_media(tmp_path / f"a{suffix}"), Picture)
    with pytest.raises(MediaError, match="is a still picture, not a video"):
        load_video(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".tif", ".mpo"])
def test_pages_and_views_are_no_moments(tmp_path: Path, suffix: str):
    first, *rest = frames(3)
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=rest)
    assert isinstance(load_media(tmp_path / f"a{suffix}"), Picture)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_durations_decide_and_very_short_ones_are_usual_ones(tmp_path: Path, suffix: str):
    # Frames at 0, 1.0, 1.1, ..., 1.8 s, the last of which stays 0.2 s: middles at 0.33, 1.0 and 1.67 s.
    write(tmp_path / f"a{suffix}", 10, [1000, *[0 if suffix == ".gif" else 5] * 9])
    video = load_media(tmp_path / f"a{suffix}", n_frames=3)
    assert video.times_s == pytest.approx([0.0, 1.0, 1.6])
    assert greys(video) == [0, 1, 7]


def test_the_picture_for_programs_without_animation_is_no_frame(tmp_path: Path):
    write(tmp_path / "a.png", 4, default_image=True)
    video = load_media(tmp_path / "a.png")
    assert greys(video) == [1, 2, 3]
    assert video.times_s == pytest.approx([0.0, 0.2, 0.4])


def test_transparent_places_show_white_in_every_frame(tmp_path: Path):
    made = [Image.new("RGBA", (8, 8), (0, 0, 0, 0)) for _ in range(3)]
    for i, image in enumerate(made):
        image.putpixel((i, 0), (255, 0, 0, 255))
    made[0].save(tmp_path / "a.png", save_all=True, append_images=made[1:], duration=100, disposal=1)
    for i, frame in enumerate(load_media(tmp_path / "a.png").frames):
        assert tuple(frame.pixels[0, i]) == (255, 0, 0)
        assert tuple(frame.pixels[7, 7]) == (255, 255, 255)


def test_a_damaged_end_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    whole = frames(30)
    whole[0].save(tmp_path / "a.gif", save_all=True, append_images=whole[1:], duration=100)
    content = (tmp_path / "a.gif").read_bytes()
    last = content.rindex(b"\x21\xf9\x04")
    (tmp_path / "a.gif").write_bytes(content[: last + 30])
    with caplog.at_level(logging.WARNING, logger="pixelreasoner"):
        video = load_media(tmp_path / "a.gif", n_frames=99)
    assert len(video.frames) == 29
    assert "1 of 30 frames are damaged and are left out" in caplog.text
    (tmp_path / "a.gif").write_bytes(content[: len(content) // 2])
    assert len(load_media(tmp_path / "a.gif", n_frames=99).frames) < 16, "the rest of the file is not there"


def test_limits_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "a.gif", 10)
    with monkeypatch.context() as patch:
        patch.setattr(animations, "MAX_FRAMES", 8)
        with pytest.raises(MediaError, match="more than 8 frames"):
            load_media(tmp_path / "a.gif")
    monkeypatch.setattr("pixelreasoner.core.media_limits.FRAME_BYTES", 32 * 24 * 3 * 4)
    with pytest.raises(MediaError, match="32x24, and 5 of them"):
        load_media(tmp_path / "a.gif", n_frames=5)


def test_frames_read_again_are_the_same(tmp_path: Path):
    write(tmp_path / "a.gif", 6)
    video = load_media(tmp_path / "a.gif")
    source = video.frames[3].source
    assert source is not None
    assert np.array_equal(source.decode().pixels, video.frames[3].pixels)
