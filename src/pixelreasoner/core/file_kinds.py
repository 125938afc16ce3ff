"""What a file is that is neither a picture nor a video, told by how it begins: for messages with a remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

HEAD_BYTES = 4096
"""How much of a file is looked at."""

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2")
_PAGES = "render its pages to PNG"
_RAW = "develop it to JPEG"
_CONVERT = "convert it to PNG"
_UNPACK = "unpack it, and give the pictures"
_VIDEO_ITSELF = "give the video file itself"
_FETCH = "fetch it again"


@dataclass(frozen=True)
class FileKind:
    """What a file is, and what can be done about it."""

    what: str
    remedy: str


def is_heif(head: bytes) -> bool:
    """Whether a file is a HEIF still picture or sequence (.heic, .heif), not AVIF."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and not _is_avif(head)


def identify(head: bytes) -> FileKind | None:
    """The kind of file that begins so, or None where nothing is known; `head` is HEAD_BYTES at most."""
    for begins, kind in _SIGNATURES:
        if any(head.startswith(start) for start in begins):
            return kind
    for test, kind in _TESTS:
        if test(head):
            return kind
    return _identify_text(head)


def _identify_text(head: bytes) -> FileKind | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for pattern, kind in _TEXTS:
        if pattern.match(text):
            return kind
    # Bare frames of YUV may follow this one's first line.
    if not text or head.startswith(b"YUV4MPEG2") or b"\0" in head:
        return None
    try:
        head[: head.rfind(b"\n") + 1 or None].decode()
    except UnicodeDecodeError:
        return None
    return FileKind("a text file", "give an image or a video file")


def _is_avif(head: bytes) -> bool:
    """The brands of an `ftyp` box speak of AVIF: the major one, or one it is compatible with."""
    length = int.from_bytes(head[:4])
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, min(length, len(head)), 4))]
    return b"avif" in brands or b"avis" in brands


def _zip_holds(*names: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(b"PK\3\4") and any(name in head for name in names)


_SIGNATURES: tuple[tuple[tuple[bytes, ...], FileKind], ...] = (
    ((b"%PDF-",), FileKind("a PDF document", _PAGES)),
    ((b"%!PS", b"\xc5\xd0\xd3\xc6"), FileKind("a PostScript document (EPS)", _PAGES)),
    ((b"{\\rtf",), FileKind("an RTF document", _PAGES)),
    ((b"AT&TFORM",), FileKind("a DjVu document", _PAGES)),
    ((b"\xd0\xcf\x11\xe0",), FileKind("an old Office document (.ppt, .doc)", "export its pages to PNG")),
    ((b"\x76\x2f\x31\x01",), FileKind("an OpenEXR picture", _CONVERT)),
    ((b"SDPX", b"XPDS"), FileKind("a DPX picture", _CONVERT)),
    ((b"#?RADIANCE", b"#?RGBE"), FileKind("a Radiance HDR picture", _CONVERT)),
    ((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), FileKind("a JPEG XL picture", _CONVERT)),
    ((b"II\xbc\x01",), FileKind("a JPEG XR picture", _CONVERT)),
    ((b"icns",), FileKind("a macOS icon", _CONVERT)),
    ((b"SIMPLE  =",), FileKind("a FITS image", _CONVERT)),
    ((b"gimp xcf",), FileKind("a GIMP picture", "export it as PNG")),
    ((b"\xd7\xcd\xc6\x9a",), FileKind("a Windows metafile", _CONVERT)),
    ((b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0"), FileKind("a camera's raw photo", _RAW)),
    ((b"\x93NUMPY",), FileKind("a NumPy array", "save it as PNG, or pass `Picture(array)` in Python")),
    ((b"\x89HDF",), FileKind("an HDF5 file", "export its images to PNG")),
    ((b"SQLite format 3",), FileKind("an SQLite database", "export its images to PNG")),
    ((b"PAR1",), FileKind("a Parquet table", "read it as a task file")),
    ((b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"\xfd7zXZ", b"BZh", b"\x28\xb5\x2f\xfd"),
     FileKind("an archive", _UNPACK)),
    ((b"fLaC", b"MThd", b"#!AMR"), FileKind("a sound file", "give a video")),
    ((b"ID3",), FileKind("a sound file (MP3)", "give a video")),
    ((b"\x7fELF", b"MZ"), FileKind("a program", "give an image or a video file")),
)  # fmt: skip
_TESTS: tuple[tuple[Callable[[bytes], bool], FileKind], ...] = (
    (is_heif, FileKind("an HEIC/HEIF photo", "convert it to JPEG")),
    (lambda head: head[4:12] == b"ftypcrx ", FileKind("a camera's raw photo (CR3)", _RAW)),
    (_zip_holds(b"ppt/"), FileKind("a PowerPoint presentation (.pptx)", "export its slides to PNG")),
    (_zip_holds(b"word/", b"xl/"), FileKind("an Office document (.docx, .xlsx)", "export its pages to PNG")),
    (lambda head: head.startswith(b"PK"), FileKind("a ZIP archive", _UNPACK)),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WAVE", FileKind("a sound file", "give a video")),
    (lambda head: head[257:262] == b"ustar", FileKind("an archive", _UNPACK)),
    (lambda head: head[128:132] == b"DICM", FileKind("a DICOM image", _CONVERT)),
    (lambda head: b"%PDF-" in head[:1024], FileKind("a PDF document", _PAGES)),
)
_TEXTS: tuple[tuple[re.Pattern[bytes], FileKind], ...] = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"version https?://\S+lfs", FileKind("a Git LFS pointer", "fetch its content with `git lfs pull`")),
        (rb"/annex/objects/", FileKind("a git-annex pointer", "fetch its content with `git annex get`")),
        (rb"#extm3u", FileKind("an HLS playlist (.m3u8)", _VIDEO_ITSELF)),
        (rb"ffconcat version|file ['\"]?\S", FileKind("an FFmpeg playlist", _VIDEO_ITSELF)),
        (rb"v=0\s+o=", FileKind("a session description (SDP)", _VIDEO_ITSELF)),
        (rb"(<\?xml.{0,200})?\s*<mpd", FileKind("a DASH playlist", _VIDEO_ITSELF)),
        (rb"\[playlist\]|\[reference\]|<asx|<smil|rtsptext|rtsp://|https?://\S+\s*$",
         FileKind("a playlist or a link", _VIDEO_ITSELF)),
        (rb"(<\?xml.{0,1000}?)?\s*(<!--.{0,1000}?-->\s*)*(<!doctype svg.{0,500}?>\s*)?<svg",
         FileKind("an SVG drawing", _CONVERT)),
        (rb"(<\?xml.{0,200}?)?\s*(<!--.{0,500}?-->\s*)*<(!doctype html|html|head|body)",
         FileKind("an HTML page, perhaps an error page in place of a download", _FETCH)),
        (rb"<\?xml", FileKind("an XML file", "give an image or a video file")),
        (rb"(mime-version|from|received|return-path|delivered-to|date|subject):? "
         rb".{0,2000}?(content-type|mime-version)",
         FileKind("a mail", "save its attachments, and give those")),
        (rb"\{\s*\"|\[\s*[\{\[\"]", FileKind("a JSON file", "give an image or a video file")),
    )
)  # fmt: skip
