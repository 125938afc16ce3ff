"""Video files in. Every file is made here, so that which frames must come back is known."""

import contextlib
import logging
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
from pixelreasoner.core.frame_sampling import Clip, mend_clock, spread
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


# ------------------------------------------------------------------------------ clocks


def test_of_two_joined_parts_both_are_seen(tmp_path: Path):
    """V10: the clock starts again in the middle."""
    for part, first in (("a", 0), ("b", 60)):
        write_video(tmp_path / f"{part}.ts", 60, b_frames=0, gop=250, first=first, container_format="mpegts")
    (tmp_path / "both.ts").write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    video = load_media(tmp_path / "both.ts")
    numbers = [read_number(frame) for frame in video.frames]
    assert numbers == [(2 * i + 1) * 120 // 32 for i in range(16)]
    assert video.times_s == pytest.approx([n / 25 for n in numbers], abs=0.02)


@pytest.mark.parametrize("later_s", [3600, 30])
def test_a_clock_that_jumps_hides_no_part(tmp_path: Path, later_s: int):
    """A neighbour of V10: the second part begins an hour later."""
    ticks = [*range(30), *range(30 + 25 * later_s, 60 + 25 * later_s)]
    write_video(tmp_path / "a.ts", 60, b_frames=0, ticks=ticks, container_format="mpegts")
    video = load_media(tmp_path / "a.ts", n_frames=6)
    assert [read_number(frame) for frame in video.frames] == [5, 15, 25, 35, 45, 55]
    assert video.times_s == pytest.approx([n / 25 for n in (5, 15, 25, 35, 45, 55)], abs=0.02)


def test_a_still_of_half_a_minute_in_an_mp4_is_no_jump(tmp_path: Path):
    """A neighbour of V10: a screen that does not change for a while."""
    write_video(tmp_path / "a.mp4", 4, fps=10, ticks=[0, 1, 301, 302])
    assert load_media(tmp_path / "a.mp4").times_s == pytest.approx([0, 0.1, 30.1, 30.2])


@pytest.mark.parametrize(
    ("times", "mended"),
    [
        ([], []),
        ([7], [7]),
        ([5, 7, 9, 11], [5, 7, 9, 11]),
        # 11 steps, one of them back: the median of the others is 2.
        ([0, 2, 4, 6, 8, 10, 0, 2, 4, 6, 9, 11], [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 21, 23]),
        # A jump of 1000, and a step of 100 that is allowed.
        ([0, 2, 4, 6, 8, 10, 12, 14, 114, 1114, 1116], [0, 2, 4, 6, 8, 10, 12, 14, 114, 116, 118]),
        # One frame comes late, and one too early: no later time changes.
        ([0, 2, 4, 6, 8, 10, 12, 14, 4, 18, 20, 22, 24], [0, 2, 4, 6, 8, 10, 12, 14, 15, 18, 20, 22, 24]),
        ([0, 2, 4, 6, 8, 20, 10, 22, 24, 26, 28, 30, 32], [0, 2, 4, 6, 8, 20, 21, 22, 24, 26, 28, 30, 32]),
        ([0, 2, 2, 4], None),
        ([9, 8, 7, 6], None),
    ],
)
def test_steps_that_cannot_be_are_made_usual_ones(times: list[int], mended: list[int] | None):
    assert mend_clock(times, longest=100) == mended


def test_times_count_from_the_first_frame_that_is_shown(tmp_path: Path):
    """A start offset, and an edit list that hides the first ten frames."""
    write_video(tmp_path / "late.mkv", 20, ticks=[500 + i for i in range(20)])
    assert load_media(tmp_path / "late.mkv", n_frames=4).times_s == pytest.approx([0.08, 0.28, 0.48, 0.68])
    write_video(tmp_path / "a.mp4", 40, gop=250)
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    at = content.index(b"elst") + 12  # version and flags, count, then duration, start and rate
    duration, start = struct.unpack(">Ii", content[at : at + 8])
    scale = struct.unpack(">I", content[content.index(b"mdhd") + 16 : content.index(b"mdhd") + 20])[0]
    content[at : at + 8] = struct.pack(">Ii", duration * 3 // 4, start + scale * 10 // 25)
    (tmp_path / "a.mp4").write_bytes(content)
    video = load_media(tmp_path / "a.mp4", n_frames=3)
    assert [read_number(frame) for frame in video.frames] == [15, 25, 35]
    assert video.times_s == pytest.approx([0.2, 0.6, 1.0])


# ------------------------------------------------------------------------------ damage


def hurt(path: Path, begin: float, end: float) -> None:
    """Random bytes over a stretch of a file, given in shares of it."""
    content = bytearray(path.read_bytes())
    low, high = int(len(content) * begin), int(len(content) * end)
    content[low:high] = np.random.default_rng(1).bytes(high - low)
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
def test_a_damaged_stretch_is_left_out_and_told(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture):
    """V12: two in a hundred bytes."""
    write_video(tmp_path / name, 120)
    hurt(tmp_path / name, 0.45, 0.47)
    with caplog.at_level(logging.WARNING, logger="pixelreasoner"):
        video = load_media(tmp_path / name, n_frames=30)
    numbers = [read_number(frame) for frame in video.frames]
    right = [n == round(25 * t) for n, t in zip(numbers, video.times_s, strict=True)]
    assert sum(right) >= 26, "frames far from the damage are whole, and at their times"
    if name == "a.mp4":  # the decoder of the other conceals the damage
        assert "of 120 packets are damaged and are left out" in caplog.text


@pytest.mark.parametrize("cut", [False, True])
def test_a_matroska_file_that_ends_early_is_refused_and_not_shortened(tmp_path: Path, cut: bool):
    """A neighbour of V12: its reader stops at the damage, or at the end, without a word."""
    write_video(tmp_path / "a.mkv", 120)
    if cut:
        content = (tmp_path / "a.mkv").read_bytes()
        (tmp_path / "a.mkv").write_bytes(content[: len(content) // 2])
    else:
        hurt(tmp_path / "a.mkv", 0.45, 0.47)
    with pytest.raises(MediaError, match="of 120 packets of its video are lost"):
        load_media(tmp_path / "a.mkv")


def test_a_video_that_is_lost_by_more_than_a_tenth_is_refused(tmp_path: Path):
    """V12."""
    write_video(tmp_path / "a.mp4", 120, gop=12)
    hurt(tmp_path / "a.mp4", 0.3, 0.7)
    with pytest.raises(MediaError, match=r"damaged: \d+ of \d+ packets of its video are lost"):
        load_media(tmp_path / "a.mp4")


def test_an_mp4_that_ends_early_is_refused_and_not_shortened(tmp_path: Path):
    """A neighbour of V12: half a download of a file whose table comes first."""
    write_video(tmp_path / "a.mp4", 120, options={"movflags": "faststart"})
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    (tmp_path / "a.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(MediaError, match="are lost"):
        load_media(tmp_path / "a.mp4")


def test_a_video_that_takes_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_video(tmp_path / "a.mp4", 50)
    monkeypatch.setattr(video_io, "VIDEO_SECONDS", 0.0)
    with pytest.raises(MediaError, match="the limit is 0 s"):
        load_media(tmp_path / "a.mp4")


def test_too_many_frames_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_video(tmp_path / "a.mp4", 9)
    monkeypatch.setattr(video_io, "MAX_FRAMES", 8)
    with pytest.raises(MediaError, match="more than 8 frames"):
        load_media(tmp_path / "a.mp4")


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


def notebook_frames(
    start: float, end: float, fps: float, last: int, first: int = 0, n: int = 16
) -> list[int]:
    """The frames of MVBench's notebook: its rule written down a second time, with numpy's rounding."""
    begin, stop = max(first, round(start * fps)), min(round(end * fps), last)
    size = float(stop - begin) / n
    return [int(begin + size / 2 + np.round(size * i)) for i in range(n)]


@pytest.mark.parametrize("decoded_from_the_start", [False, True])
@pytest.mark.parametrize(("start", "end"), [(None, None), (1.0, 3.0), (0.5, None), (3.9, 99.0), (2.0, 2.1)])
def test_a_clip_has_the_frames_of_the_notebook(
    tmp_path: Path, monkeypatch, start: float | None, end: float | None, decoded_from_the_start: bool
):
    write_video(tmp_path / "a.mp4", 100, gop=12)  # 25 frames per second
    if decoded_from_the_start:
        monkeypatch.setattr(video_io, "_seek_frames", lambda request: None)
    video = load_video(tmp_path / "a.mp4", clip=Clip(start, end))
    expected = notebook_frames(
        -100_000 if start is None else start, 100_000 if end is None else end, 25.0, last=99
    )
    assert [read_number(f) for f in video.frames] == expected
    assert video.times_s == pytest.approx([i / 25 for i in expected])


def test_frames_of_a_clip_are_decoded_again_from_the_file(tmp_path: Path, monkeypatch):
    write_video(tmp_path / "a.mp4", 100)
    video = load_video(tmp_path / "a.mp4", n_frames=2, clip=Clip(1.0, 3.0))
    monkeypatch.setattr(media_io, "DECODED", ByteCache(10**8))
    monkeypatch.setattr(media, "DECODED", ByteCache(10**8))
    assert [read_number(f) for f in video.frames] == notebook_frames(1.0, 3.0, 25.0, last=99, n=2)


def test_a_clip_outside_of_the_video_is_refused(tmp_path: Path):
    write_video(tmp_path / "a.mp4", 25)
    with pytest.raises(MediaError, match=r"from 3\.0 s to 4\.0 s lies outside of the video of 1\.0 s"):
        load_video(tmp_path / "a.mp4", clip=Clip(3.0, 4.0))


def test_frames_in_a_folder_are_counted_from_one(tmp_path: Path):
    for number in range(1, 31):
        save_image(Picture(np.full((4, 4, 3), number, np.uint8)), tmp_path / f"{number:05d}.png")
    video = load_video(tmp_path, clip=Clip(1.0, 8.0, fps=3.0))
    expected = notebook_frames(1.0, 8.0, 3.0, last=30, first=1)
    assert [int(f.pixels[0, 0, 0]) for f in video.frames] == expected
    assert video.times_s == pytest.approx([(number - 1) / 3 for number in expected])
    with pytest.raises(MediaError, match="lies outside of its 30 frames at 3 per second"):
        load_video(tmp_path, clip=Clip(11.0, 12.0, fps=3.0))
