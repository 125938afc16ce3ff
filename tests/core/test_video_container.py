"""What is opened as a video, and how its frames are shown."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.error import FFmpegError

from pixelreasoner.core import video_container
from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.media_io import load_media, load_video
from pixelreasoner.core.media_limits import Watch
from pixelreasoner.core.video_container import opened_video
from video_files import HEIGHT, STRIPE, draw_number, read_number, write_video

WIDTH = 8 * STRIPE


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write a track's display matrix: x' = ax + cy, y' = bx + dy."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    values = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    content[start : start + 36] = struct.pack(">9i", *values)
    path.write_bytes(content)


def moved(pixels: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Every pixel carried to where the matrix says, and all of it back to the origin."""
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width]
    to_x, to_y = a * x + c * y, b * x + d * y
    to_x, to_y = to_x - to_x.min(), to_y - to_y.min()
    out = np.zeros((to_y.max() + 1, to_x.max() + 1, 3), np.uint8)
    out[to_y, to_x] = pixels
    return out


MATRICES = [
    (1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1),
    (0, 1, 1, 0), (0, 1, -1, 0), (0, -1, 1, 0), (0, -1, -1, 0),
]  # fmt: skip


@pytest.mark.parametrize("matrix", MATRICES)
def test_the_whole_display_matrix_is_applied(tmp_path: Path, matrix: tuple[int, int, int, int]):
    """V5: turned and mirrored, by all eight."""
    path = tmp_path / "a.mp4"
    write_video(path, 6)
    stored = load_video(path).frames[5].pixels.copy()
    set_matrix(path, *matrix)
    assert np.array_equal(load_video(path).frames[5].pixels, moved(stored, *matrix))


def test_a_mirrored_video_has_its_left_on_the_right(tmp_path: Path):
    """V5, as it was found."""
    write_video(tmp_path / "a.mp4", 3)  # frame 1 is bright in the leftmost stripe
    set_matrix(tmp_path / "a.mp4", -1, 0, 0, 1)
    shown = load_video(tmp_path / "a.mp4").frames[1].pixels
    assert shown[:, -STRIPE:].mean() > 200
    assert shown[:, :-STRIPE].mean() < 50


@pytest.mark.parametrize(
    ("ratio", "size"),
    [
        (Fraction(2), (2 * WIDTH, HEIGHT)),
        (Fraction(1, 2), (WIDTH, 2 * HEIGHT)),
        (Fraction(64, 45), (182, HEIGHT)),
    ],
)
def test_pixels_that_are_not_square_are_made_so(tmp_path: Path, ratio: Fraction, size: tuple[int, int]):
    """V9: 128 · 64/45 = 182.04; the larger side grows."""
    for name in ("a.mp4", "a.mkv"):
        write_video(tmp_path / name, 20, aspect=ratio)
        video = load_media(tmp_path / name, n_frames=4)
        assert video.size == size
        scale = size[0] / WIDTH
        middles = [round((STRIPE * b + STRIPE / 2) * scale) for b in range(8)]
        rows = [frame.pixels[size[1] // 2, middles, 1] > 127 for frame in video.frames]
        assert [sum(1 << b for b, bit in enumerate(row) if bit) for row in rows] == [2, 7, 12, 17]


def test_turning_comes_after_the_shape_of_pixels(tmp_path: Path):
    """V9 with V5: a phone held upright."""
    write_video(tmp_path / "a.mp4", 2, aspect=Fraction(2))
    set_matrix(tmp_path / "a.mp4", 0, 1, -1, 0)
    assert load_media(tmp_path / "a.mp4").size == (HEIGHT, 2 * WIDTH)


def write_streams(path: Path, lengths: list[int], default: tuple[int, ...]) -> None:
    """Several films in one file; each shows its own number, and lasts for so many frames."""
    with av.open(str(path), "w") as out:
        streams = []
        for i in range(len(lengths)):
            stream = out.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.disposition = 1 if i in default else 0
            streams.append(stream)
        for i, (stream, length) in enumerate(zip(streams, lengths, strict=True)):
            for t in range(length):
                frame = av.VideoFrame.from_ndarray(draw_number(100 + i), format="rgb24")
                frame.pts, frame.time_base = t, Fraction(1, 25)
                out.mux(stream.encode(frame))
            out.mux(stream.encode())


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize(
    ("lengths", "default", "film"),
    [
        ([1, 40], (1,), 1),
        ([1, 40], (), 1),
        ([1, 40], (0,), 1),
        ([40, 1], (), 0),
        ([30, 40], (0,), 0),
        ([30, 40], (1,), 1),
        ([20, 40], (0, 1), 1),
    ],
)
def test_the_film_is_taken_and_not_its_thumbnail(tmp_path: Path, name: str, lengths, default, film):
    """V11: the default one, then the longest, and never a single frame beside a film."""
    write_streams(tmp_path / name, lengths, default)
    video = load_media(tmp_path / name)
    assert [read_number(frame) for frame in video.frames] == [100 + film] * 16


# ------------------------------------------------------------------------------ nothing else is opened


def playlists(target: Path) -> dict[str, str]:
    return {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
        "a.ffconcat": f"ffconcat version 1.0\nfile '{target}'\n",
        "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "a.mpd": f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{target}</BaseURL></MPD>',
        "a.nsc": f"[Address]\nName={target}\n",
        "a.ref": f"[Reference]\nRef1={target}\n",
    }


@pytest.mark.parametrize("name", ["a.m3u8", "a.ffconcat", "a.sdp", "a.mpd", "a.nsc", "a.ref"])
def test_a_playlist_opens_nothing(tmp_path: Path, name: str):
    """Neither where its kind is told by its first words, nor where FFmpeg is asked."""
    write_video(tmp_path / "film.ts", 5)
    for path in (tmp_path / name, tmp_path / "b.mp4"):
        path.write_text(playlists(tmp_path / "film.ts")[name])
        with pytest.raises(MediaError):
            load_media(path)
        with pytest.raises(FFmpegError), opened_video(path, 16, Watch("it", 60)):
            pass


def test_an_address_within_a_playlist_is_not_asked(tmp_path: Path):
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.2)
        port = server.getsockname()[1]
        for text in playlists(Path(f"http://127.0.0.1:{port}/a.ts")).values():
            (tmp_path / "a.mp4").write_text(text.replace("http:/127", "http://127"))
            with pytest.raises(FFmpegError), opened_video(tmp_path / "a.mp4", 16, Watch("it", 60)):
                pass
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("name", ["png", "mjpeg", "bmp", "tiff", "gif"])
def test_bare_pictures_are_no_videos(tmp_path: Path, name: str):
    """V2: FFmpeg has a demuxer for each; here with a byte in front, so that Pillow does not know them."""
    from PIL import Image

    path = tmp_path / "a.mp4"
    Image.new("RGB", (64, 48)).save(path, format={"mjpeg": "JPEG"}.get(name, name.upper()))
    assert isinstance(load_media(path), Picture)
    with pytest.raises(FFmpegError), opened_video(path, 16, Watch("it", 60)):
        pass


def test_frames_too_large_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_video(tmp_path / "a.mp4", 5)
    # 16 frames of 3 bytes, and 28 of 1.5 in the decoder: 90 bytes a pixel.
    monkeypatch.setattr(video_container, "DECODING_BYTES", WIDTH * HEIGHT * 90)
    assert isinstance(load_media(tmp_path / "a.mp4"), Video)
    monkeypatch.setattr(video_container, "DECODING_BYTES", WIDTH * HEIGHT * 90 - 90)
    with pytest.raises(MediaError, match=r"128x32 in yuv420p; the limit is"):
        load_media(tmp_path / "a.mp4")


def test_frames_that_grow_on_the_way_are_not_decoded(tmp_path: Path):
    write_video(tmp_path / "small.ts", 5)
    with av.open(str(tmp_path / "large.ts"), "w") as out:
        stream = out.add_stream("mpeg1video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 4000, 3200, "yuv420p"
        out.mux(stream.encode(av.VideoFrame(4000, 3200, "yuv420p")))
        out.mux(stream.encode())
    (tmp_path / "a.ts").write_bytes(
        b"".join((tmp_path / name).read_bytes() for name in ("small.ts", "large.ts"))
    )
    with pytest.raises(MediaError, match=r"are lost|4000x3200"):
        load_media(tmp_path / "a.ts")
