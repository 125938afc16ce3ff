"""Video files in. Every file is made here, so that which frames must come back is known."""

import contextlib
import os
import struct
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixelreasoner.core import media, media_io, video_io
from pixelreasoner.core.byte_cache import ByteCache
from pixelreasoner.core.errors import MediaError, MissingExtraError
from pixelreasoner.core.frame_sampling import spread
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.media_io import load_image, load_media, load_video, save_image
from video_files import draw_number, read_number, write_video


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("gop", [1, 5, 12, 250])
def test_sampled_frames_are_exactly_those_at_the_middles(
    tmp_path: Path, gop: int, monkeypatch: pytest.MonkeyPatch
):
    # Seeking alone must find them: the fallback would hide a wrong seek.
    monkeypatch.setattr(video_io, "_decode_frames", None)
    write_video(tmp_path / "a.mp4", 100, gop=gop)
    video = load_video(tmp_path / "a.mp4")
    expected = [(2 * i + 1) * 100 // 32 for i in range(16)]
    assert [read_number(f) for f in video.frames] == expected
    assert video.times_s == pytest.approx([i / 25 for i in expected])


@pytest.mark.parametrize(
    ("name", "codec", "container_format"),
    [
        ("a.mkv", "libx264", None),
        ("a.webm", "libvpx", None),
        ("a.ts", "libx264", "mpegts"),
        # Packets of an AVI carry no times of display, those of a bare stream none at all.
        ("a.avi", "mpeg4", None),
        ("a.h264", "libx264", "h264"),
        ("a.mpg", "mpeg1video", "mpeg"),
        ("a.m1v", "mpeg1video", "mpeg1video"),
    ],
)
def test_every_container_gives_the_same_frames(
    tmp_path: Path, name: str, codec: str, container_format: str | None
):
    b_frames = 0 if codec == "libvpx" else 2
    write_video(tmp_path / name, 60, codec=codec, b_frames=b_frames, container_format=container_format)
    video = load_media(tmp_path / name, n_frames=5)
    assert isinstance(video, Video)
    assert [read_number(f) for f in video.frames] == [6, 18, 30, 42, 54]
    assert video.times_s == pytest.approx([i / 25 for i in (6, 18, 30, 42, 54)], abs=2e-3)


@pytest.mark.parametrize(("n", "wanted"), [(1, 16), (3, 16), (16, 16), (17, 16), (40, 1), (40, 40)])
def test_no_frame_is_given_twice(tmp_path: Path, n: int, wanted: int):
    write_video(tmp_path / "a.mp4", n)
    numbers = [read_number(f) for f in load_video(tmp_path / "a.mp4", n_frames=wanted).frames]
    assert len(numbers) == min(n, wanted)
    assert numbers == sorted(set(numbers))
    if n <= wanted:
        assert numbers == list(range(n))


def test_times_and_not_counts_decide_in_a_video_of_uneven_pace(tmp_path: Path):
    # Ten frames in the first second, then one per second: 19 s in all, middles at 2.4, 7.1, 11.9 and 16.6 s.
    ticks = list(range(10)) + [10 * s for s in range(1, 19)]
    write_video(tmp_path / "a.mp4", len(ticks), fps=10, ticks=ticks)
    video = load_video(tmp_path / "a.mp4", n_frames=4)
    assert video.times_s == pytest.approx([2.0, 7.0, 11.0, 16.0])
    assert [read_number(f) for f in video.frames] == [11, 16, 20, 25]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(1, 20))
def test_spread_picks_what_is_on_screen_at_each_middle(gaps: list[int], n: int):
    times = [0]
    for gap in gaps:
        times.append(times[-1] + gap)
    chosen = spread(times, n)
    assert all(a < b for a, b in pairwise(chosen))
    if len(times) <= n:
        assert chosen == list(range(len(times)))
        return
    duration = Fraction(times[-1] * len(times), len(times) - 1)
    middles = [duration * (2 * i + 1) / (2 * n) for i in range(n)]
    assert chosen == sorted({max(i for i, t in enumerate(times) if t <= m) for m in middles})


def test_spread_is_even_over_even_frames():
    assert spread(range(100), 4) == [12, 37, 62, 87]
    assert spread(range(32), 16) == list(range(1, 32, 2))


@pytest.mark.parametrize(
    ("matrix", "quarter_turns"),
    # The rows a b, c d of a track's matrix: x' = ax + cy, y' = bx + dy. The first is how a phone held upright
    # writes: a quarter turn clockwise.
    [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)],
)
def test_rotation_metadata_is_applied(tmp_path: Path, matrix: tuple[int, ...], quarter_turns: int):
    path = tmp_path / "a.mp4"
    write_video(path, 6)
    stored = load_video(path).frames[5]
    content = bytearray(path.read_bytes())
    a, b, c, d = (v * 0x10000 for v in matrix)
    start = content.index(b"tkhd") + 4 + 40
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(content)
    assert np.array_equal(load_video(path).frames[5].pixels, np.rot90(stored.pixels, k=quarter_turns))


def test_a_folder_of_images_is_a_video_in_natural_order(tmp_path: Path):
    for i in range(1, 21):
        save_image(Picture(draw_number(i)), tmp_path / f"frame{i}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    video = load_media(tmp_path, n_frames=10)
    assert isinstance(video, Video)
    assert [read_number(f) for f in video.frames] == list(range(2, 21, 2))
    assert video.times_s == tuple(float(i) for i in range(1, 20, 2))


def test_folders_that_make_no_video_are_refused(tmp_path: Path):
    with pytest.raises(MediaError, match="no images"):
        load_video(tmp_path)
    save_image(Picture(noise(4, 4)), tmp_path / "1.png")
    save_image(Picture(noise(5, 4)), tmp_path / "2.png")
    with pytest.raises(MediaError, match="one size"):
        load_video(tmp_path)


def test_content_and_not_the_name_tells_a_picture_from_a_video(tmp_path: Path):
    write_video(tmp_path / "a.mp4", 5)
    (tmp_path / "a.mp4").rename(tmp_path / "a.jpg")
    save_image(Picture(noise(8, 8)), tmp_path / "b.png")
    (tmp_path / "b.png").rename(tmp_path / "b.mp4")
    assert isinstance(load_media(tmp_path / "a.jpg"), Video)
    assert load_media(tmp_path / "b.mp4") == Picture(noise(8, 8))
    with pytest.raises(MediaError, match="If it is a video"):
        load_image(tmp_path / "a.jpg")


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_what_is_wrong_with_a_video_is_said(tmp_path: Path):
    write_video(tmp_path / "whole.mp4", 50)
    content = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])
    (tmp_path / "noise.mp4").write_bytes(noise(64, 64).tobytes())
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "note.txt").write_text("Not a video.\n" * 100)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    write_sound(tmp_path / "sound.m4a")
    write_video(tmp_path / "none.mp4", 0)
    for name in (
        "cut.mp4",
        "noise.mp4",
        "empty.mp4",
        "note.txt",
        "list.m3u8",
        "sound.m4a",
        "none.mp4",
        "absent.mp4",
    ):
        with pytest.raises(MediaError) as e:
            load_media(tmp_path / name)
        assert str(tmp_path / name) in str(e.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_videos_never_raise_anything_else(tmp_path: Path, data: st.DataObject):
    path = tmp_path / "a.mp4"
    if not path.exists():
        write_video(path, 20)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    with contextlib.suppress(MediaError):
        assert isinstance(load_media(damaged), Video)


def test_at_least_one_frame_must_be_asked_for(tmp_path: Path):
    with pytest.raises(MediaError, match="n_frames"):
        load_video(tmp_path, n_frames=0)


def test_a_missing_extra_is_an_instruction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_video(tmp_path / "a.mp4", 5)
    for module in [m for m in sys.modules if m == "av" or m.startswith("av.")]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pixelreasoner\[video\]'"):
        load_media(tmp_path / "a.mp4")


def test_reading_pictures_imports_no_video_library():
    code = "import sys; import pixelreasoner.core.media_io; sys.exit('av' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_frames_hold_no_pixels_and_give_the_same_ones_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(media, "DECODED", cache := ByteCache[str](2**24))
    monkeypatch.setattr(media_io, "DECODED", cache)
    write_video(tmp_path / "a.mp4", 40)
    video = load_video(tmp_path / "a.mp4", n_frames=4)
    before = [frame.pixels.copy() for frame in video.frames]
    assert sum(frame.n_bytes for frame in video.frames) == 0
    assert cache.n_bytes == sum(pixels.nbytes for pixels in before)
    cache.clear()
    assert np.array_equal(video.frames[2].pixels, before[2])
    assert cache.n_bytes == sum(pixels.nbytes for pixels in before), "they are read together"
    cache.resize(0)  # nothing is kept: each is read for itself
    for frame, pixels in zip(video.frames, before, strict=True):
        assert np.array_equal(frame.pixels, pixels)
    write_video(tmp_path / "a.mp4", 3)
    for frame in video.frames:
        with pytest.raises(MediaError, match="was changed"):
            _ = frame.pixels
