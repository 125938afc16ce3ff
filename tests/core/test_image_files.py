"""Pictures that stay encoded: the same pixels whenever somebody looks, and little memory until then."""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelreasoner.core import media
from pixelreasoner.core.byte_cache import ByteCache
from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import decode_image, encoded, load_image, peek_image
from pixelreasoner.core.records import MediaFolder

SUFFIXES = (".jpg", ".png", ".webp")


def noise(width: int = 24, height: int = 16, seed: int = 0) -> Image.Image:
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> ByteCache[str]:
    """The decoded pictures, empty."""
    fresh: ByteCache[str] = ByteCache(2**20)
    monkeypatch.setattr(media, "DECODED", fresh)
    return fresh


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    out = [folder / f"{i}{SUFFIXES[i % 3]}" for i in range(6)]
    for i, path in enumerate(out):
        noise(seed=i).save(path)
    return out


@settings(max_examples=30)
@given(budget=st.integers(0, 5000), reads=st.lists(st.integers(0, 5), max_size=30))
def test_pixels_are_those_of_the_file_however_small_the_cache(files, budget, reads):
    """A picture takes 1,152 bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(media, "DECODED", ByteCache(budget))
        pictures = [peek_image(path) for path in files]
        for i in reads:
            assert np.array_equal(pictures[i].pixels, np.asarray(Image.open(files[i]).convert("RGB")))
            assert media.DECODED.n_bytes <= budget
            assert sum(picture.n_bytes for picture in pictures) == 0


def test_pixels_are_decoded_once_while_they_are_in_the_cache(files, cache):
    picture, again = peek_image(files[0]), peek_image(files[0])
    assert cache.n_bytes == 0
    assert again.pixels is picture.pixels
    assert not picture.pixels.flags.writeable
    assert cache.n_bytes == picture.pixels.nbytes


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_picture(tmp_path, cache, suffix, orientation):
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise().save(path, exif=exif)
    picture = peek_image(path)
    assert picture.size == ((16, 24) if orientation >= 5 else (24, 16))
    assert cache.n_bytes == 0, "the header says it"
    assert picture.pixels.shape[1::-1] == picture.size


def test_an_orientation_behind_the_pixels_of_a_png_counts(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    buffer = io.BytesIO()
    noise().save(buffer, format="PNG")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    (tmp_path / "a.png").write_bytes(buffer.getvalue()[:-12] + chunk + buffer.getvalue()[-12:])
    picture = peek_image(tmp_path / "a.png")
    assert picture.size == (16, 24)
    assert np.array_equal(picture.pixels, np.rot90(np.asarray(noise()), k=-1))


def test_a_lossless_file_is_the_picture_of_its_pixels(files):
    assert peek_image(files[1]) == Picture(np.asarray(noise(seed=1)))
    assert hash(peek_image(files[1])) == hash(Picture(np.asarray(noise(seed=1))))


def test_a_jpeg_is_known_by_its_bytes_without_decoding(tmp_path, files, cache):
    content = files[0].read_bytes()
    comment = b"\xff\xfe\x00\x05abc"
    (tmp_path / "b.jpg").write_bytes(content[:2] + comment + content[2:])
    (tmp_path / "c.jpg").write_bytes(content)
    one, other, same = (peek_image(p) for p in (files[0], tmp_path / "b.jpg", tmp_path / "c.jpg"))
    assert one == same
    assert one != other
    assert decode_image(content, "it").digest == one.digest
    cache.clear()
    assert peek_image(files[0]).digest == one.digest
    assert cache.n_bytes == 0
    assert one.digest != Picture(one.pixels).digest


@given(
    outer=st.tuples(st.integers(0, 11), st.integers(0, 7), st.integers(13, 24), st.integers(9, 16)),
    inner=st.tuples(st.integers(0, 0), st.integers(0, 0), st.integers(1, 2), st.integers(1, 2)),
)
def test_a_crop_is_cut_from_the_original_pixels_when_it_is_looked_at(files, outer, inner):
    lazy, array = peek_image(files[0]), Picture(peek_image(files[0]).pixels)
    for box in (outer, inner):
        lazy, array = lazy.crop(*box), array.crop(*box)
        assert lazy.size == array.size
        assert lazy.n_bytes == 0
        assert lazy == array
        assert np.array_equal(lazy.pixels, array.pixels)


def test_a_file_that_changes_or_goes_is_told_when_the_picture_is_looked_at(tmp_path, cache):
    for suffix in SUFFIXES:
        path = tmp_path / f"a{suffix}"
        noise(seed=1).save(path)
        picture = load_image(path)
        noise(seed=2).save(path)
        cache.clear()
        with pytest.raises(MediaError, match="was changed"):
            _ = picture.pixels
        path.unlink()
        with pytest.raises(MediaError, match="does not exist"):
            _ = picture.pixels


def test_a_picture_goes_to_another_process_as_its_path_or_its_bytes(files):
    for picture in (peek_image(files[0]), decode_image(files[0].read_bytes(), "it")):
        sent = pickle.dumps(picture)
        assert len(sent) < 800 + picture.n_bytes
        assert pickle.loads(sent) == picture
        assert np.array_equal(pickle.loads(sent).pixels, picture.pixels)


def test_a_media_folder_keeps_a_file_as_it_is(tmp_path, files, cache):
    folder = MediaFolder(tmp_path / "media")
    for path in files:
        for picture in (peek_image(path), decode_image(path.read_bytes(), "it")):
            folder.put(picture)
            stored = folder.folder / f"{picture.digest}{path.suffix}"
            assert stored.read_bytes() == path.read_bytes()
            assert encoded(picture) == path.read_bytes()
            back = MediaFolder(folder.folder).get(picture.digest)
            assert back == picture
            assert np.array_equal(back.pixels, picture.pixels)
    assert len(list(folder.folder.iterdir())) == len(files)


def test_a_crop_of_a_file_and_a_picture_of_another_format_are_stored_as_png(tmp_path, files):
    folder = MediaFolder(tmp_path / "media")
    noise().save(tmp_path / "a.bmp")
    for picture in (peek_image(files[0]).crop(2, 3, 9, 9), load_image(tmp_path / "a.bmp")):
        folder.put(picture)
        assert (folder.folder / f"{picture.digest}.png").exists()
        assert np.array_equal(folder.get(picture.digest).pixels, picture.pixels)
