"""Files that are no media are named, with what can be done about them."""

import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.file_kinds import identify
from pixelreasoner.core.media_io import decode_image, load_image, load_media


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, format="JPEG")
    return buffer.getvalue()


def zipped(member: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, jpeg())
    return buffer.getvalue()


def pdf() -> bytes:
    pages = [Image.new("RGB", (120, 160), c) for c in ("red", "lime", "blue")]
    buffer = io.BytesIO()
    pages[0].save(buffer, format="PDF", save_all=True, append_images=pages[1:])
    return buffer.getvalue()


MAIL = b"From: a@example.com\nMIME-Version: 1.0\nContent-Type: image/jpeg\n\n"
CASES = {
    "V2 report.pdf": (pdf(), "a PDF document.*render its pages"),
    "pdf behind other bytes": (bytes(9) + pdf(), "a PDF document"),
    "V2 slides.pptx": (zipped("ppt/media/image1.jpg"), "PowerPoint.*export its slides"),
    "text.docx": (zipped("word/media/image1.jpg"), "Office document"),
    "photos.zip": (zipped("a.jpg"), "a ZIP archive.*unpack"),
    "V2 mail": (MAIL + jpeg(), "a mail.*attachments"),
    "V4 a.exr": (b"\x76\x2f\x31\x01\x02\0\0\0" + jpeg(), "OpenEXR.*PNG"),
    "V4 a.dpx": (b"SDPX" + bytes(2044) + jpeg(), "DPX.*PNG"),
    "a.hdr": (b"#?RADIANCE\n\n-Y 1 +X 1\n" + bytes(9), "Radiance HDR"),
    "a.jxl": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL"),
    "photo.cr3": (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + jpeg(), "raw photo.*develop"),
    "photo.raf": (b"FUJIFILMCCD-RAW 0201" + bytes(60) + jpeg(), "raw photo"),
    "figure.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
    "I8 v.svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "SVG drawing"),
    "drawing with a prologue": (b'<?xml version="1.0"?>\n<!-- Inkscape -->\n<svg/>', "SVG drawing"),
    "I8 page.jpg": (b"<html><body>404</body></html>", "HTML page.*fetch it again"),
    "page with a byte order mark": (b"\xef\xbb\xbf <!DOCTYPE HTML>\n<p>404", "HTML page"),
    "I8 lfs.png": (b"version https://git-lfs.github.com/spec/v1\nsize 1\n", "Git LFS pointer.*git lfs pull"),
    "annex.png": (b"/annex/objects/SHA256E-s1--0.png\n", "git-annex pointer"),
    "a.m3u8": (b"#EXTM3U\n#EXTINF:1,\na.ts\n", "HLS playlist.*the video file itself"),
    "a.ffconcat": (b"ffconcat version 1.0\nfile a.mp4\n", "FFmpeg playlist"),
    "a.sdp": (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n", "SDP"),
    "a.mpd": (b'<?xml version="1.0"?><MPD xmlns="x"/>', "DASH playlist"),
    "a.pls": (b"[playlist]\nFile1=a.mp4\n", "playlist"),
    "a link": (b"https://example.com/a.mp4\n", "a link"),
    "row.json": (b'{"images": ["a.jpg"]}', "JSON"),
    "notes.txt": ("Not a picture; grüße.\n".encode() * 400, "a text file"),
    "array.npy": (b"\x93NUMPY\1\0v\0" + bytes(90), "NumPy array"),
    "sound.mp3": (b"ID3\4" + bytes(90), "MP3"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_media_is_named_and_never_a_video(tmp_path: Path, case: str):
    """V2, V4, I8 and their neighbours, whatever the file's name says."""
    content, message = CASES[case]
    for name in ("a.mp4", "a.jpg"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=message) as e:
            load_media(tmp_path / name)
        assert str(tmp_path / name) in str(e.value)
        assert "\n" not in str(e.value)
    with pytest.raises(MediaError, match=message):
        load_image(tmp_path / "a.jpg")
    with pytest.raises(MediaError, match=r"the image .* is "):
        decode_image(content, "the image")


def test_what_is_not_known_is_neither_a_picture_nor_a_video(tmp_path: Path):
    """I8."""
    (tmp_path / "a.jpg").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(MediaError, match="neither a picture nor a video"):
        load_media(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "head", [b"YUV4MPEG2 W64 H48 F25:1\nFRAME\n" + b"2" * 4000, b"\0\0\1\xba", b"", b"\xff" * 9]
)
def test_media_and_noise_are_no_kind(head: bytes):
    assert identify(head) is None
