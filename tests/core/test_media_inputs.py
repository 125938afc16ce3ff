"""What a program hands over becomes the same picture in every form, or one sentence says why not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.media_inputs import media_of, picture_from_array, video_from_array

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def png(image: Image.Image | None = None) -> bytes:
    buffer = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(buffer, "PNG")
    return buffer.getvalue()


class Tensor:
    """Something that numpy reads, as tensors of other libraries are."""

    def __array__(self, dtype=None, copy=None):
        return PIXELS


@pytest.mark.parametrize(
    "form", ["path", "name", "bytes", "bytearray", "stream", "pillow", "array", "tensor", "picture"]
)
def test_c17_every_form_gives_the_same_picture(form: str, tmp_path: Path):
    """C17, and its neighbours: bytes, open files, other libraries' arrays."""
    path = tmp_path / "a.png"
    path.write_bytes(png())
    given = {
        "path": path,
        "name": str(path),
        "bytes": png(),
        "bytearray": bytearray(png()),
        "stream": io.BytesIO(png()),
        "pillow": Image.fromarray(PIXELS),
        "array": PIXELS,
        "tensor": Tensor(),
        "picture": Picture(PIXELS),
    }[form]
    assert media_of(given) == (Picture(PIXELS),)


def test_several_in_order():
    assert media_of([PIXELS, png(), Video((Picture(PIXELS),))])[1:] == (
        Picture(PIXELS),
        Video((Picture(PIXELS),)),
    )
    assert media_of([]) == ()


def test_an_open_file_is_read_from_its_start_and_outlives_it(tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(png())
    with path.open("rb") as file:
        file.seek(0, io.SEEK_END)
        [picture] = media_of(file)
    path.unlink()
    assert picture == Picture(PIXELS)


def test_the_array_may_change_afterwards():
    array = PIXELS.copy()
    picture = picture_from_array(array)
    array[:] = 0
    assert picture == Picture(PIXELS)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((2, 3), 9, np.uint8), 9),
        (np.full((2, 3, 1), 9, np.int64), 9),
        (np.full((2, 3, 3), 0.5), 128),  # 127.5, to the even neighbour
        (np.full((2, 3, 3), 0.2, np.float32), 51),
        (np.ones((2, 3), bool), 255),
        (np.full((2, 3, 4), (255, 0, 0, 0), np.uint8), 255),  # transparent: the white below
        (np.full((2, 3, 3), 255, np.uint16), 255),
    ],
)
def test_values_follow_the_convention_of_matplotlib(array, expected):
    pixels = picture_from_array(array).pixels
    assert pixels.shape == (2, 3, 3)
    assert set(pixels.ravel().tolist()) == {expected}


def test_a_pillow_image_is_turned_upright_and_laid_on_white(tmp_path: Path):
    turned = Image.fromarray(PIXELS)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    turned.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        assert media_of(image) == (Picture(np.ascontiguousarray(np.rot90(PIXELS, -1))),)
    clear = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    [picture] = media_of(clear)
    assert isinstance(picture, Picture)
    assert (picture.pixels == 255).all()


def test_a_stack_of_frames_is_a_video_of_at_most_sixteen():
    short = video_from_array(np.stack([PIXELS] * 3))
    assert (len(short.frames), short.times_s) == (3, (0.0, 1.0, 2.0))
    values = np.repeat(np.arange(32, dtype=np.uint8), 4 * 4 * 3).reshape(32, 4, 4, 3)
    [video] = media_of(values)
    # The middles of 16 equal stretches of 32 frames.
    assert isinstance(video, Video)
    assert [f.pixels[0, 0, 0] for f in video.frames] == list(range(1, 32, 2))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((3, 60, 80)), "channels first"),
        (np.full((4, 4), np.nan), "from nan to nan"),
        (np.full((4, 4), 1.5), "0 to 1"),
        (np.full((4, 4), -1), "from -1"),
        (np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
        (np.zeros((0, 4, 4, 3), np.uint8), "no picture"),
        (np.array(["a"]), "no picture"),
        (np.full((2, 2), "a"), "<U1"),
        (np.zeros((2, 2), complex), "complex128"),
        (Image.new("RGB", (0, 0)), "at least one pixel"),
        (None, "NoneType is no picture"),
        ({"a": 1}, "dict is no picture"),
        ([[PIXELS]], "list is no picture"),
        (b"", "empty"),
        (b"hello", "no image that Pillow can read"),
        (png()[:60], "damaged"),
        (io.StringIO("text"), "'rb'"),
        ("https://example.org/a.jpg", "is an address"),
        ("data:image/png;base64,AAAA", "is an address"),
    ],
)
def test_what_is_no_picture_is_named_with_the_remedy(given, words):
    with pytest.raises(MediaError, match=words):
        media_of(given)


def test_a_closed_pillow_file_is_said(tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(png())
    image = Image.open(path)
    image.close()
    with pytest.raises(MediaError, match="open its file again"):
        media_of(image)


def test_a_tensor_that_cannot_be_read_says_what_its_library_says():
    class OnDevice:
        def __array__(self, dtype=None, copy=None):
            raise TypeError("copy it to the host first")

    with pytest.raises(MediaError, match="copy it to the host first"):
        media_of(OnDevice())


def test_a_video_is_read_from_an_open_file_by_its_name(tmp_path: Path):
    av = pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with path.open("rb") as file:
        [video] = media_of(file)
    assert isinstance(video, Video)
    assert len(video.frames) == 3
    with pytest.raises(MediaError, match="path of a video"):
        media_of(path.read_bytes())
