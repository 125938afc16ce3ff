"""Small whole files of every format that is read, and files that only pose as media."""

from __future__ import annotations

import base64
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT, FRAMES = 64, 48, 12
VIDEOS = {
    "h264.mp4": ("libx264", "mp4", "yuv420p"), "hevc.mp4": ("libx265", "mp4", "yuv420p"),
    "av1.mp4": ("libsvtav1", "mp4", "yuv420p"), "mpeg4.mov": ("mpeg4", "mov", "yuv420p"),
    "prores.mov": ("prores_ks", "mov", "yuv422p10le"), "png.mov": ("png", "mov", "rgb24"),
    "h264.mkv": ("libx264", "matroska", "yuv420p"), "vp8.webm": ("libvpx", "webm", "yuv420p"),
    "vp9.webm": ("libvpx-vp9", "webm", "yuv420p"), "mpeg4.avi": ("mpeg4", "avi", "yuv420p"),
    "mjpeg.avi": ("mjpeg", "avi", "yuvj420p"), "raw.avi": ("rawvideo", "avi", "rgb24"),
    "h264.ts": ("libx264", "mpegts", "yuv420p"), "mpeg1.mpg": ("mpeg1video", "mpeg", "yuv420p"),
    "flv1.flv": ("flv1", "flv", "yuv420p"), "wmv2.wmv": ("wmv2", "asf", "yuv420p"),
    "bare.h264": ("libx264", "h264", "yuv420p"), "bare.265": ("libx265", "hevc", "yuv420p"),
    "bare.m1v": ("mpeg1video", "mpeg1video", "yuv420p"), "bare.m4v": ("mpeg4", "m4v", "yuv420p"),
    "vp8.ivf": ("libvpx", "ivf", "yuv420p"), "bare.y4m": ("wrapped_avframe", "yuv4mpegpipe", "yuv420p"),
    "ffv1.nut": ("ffv1", "nut", "yuv420p"), "mpeg2.mxf": ("mpeg2video", "mxf", "yuv420p"),
}  # fmt: skip
"""File name: encoder, container, layout of the pixels; by FFmpeg's names."""


def noise(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """A picture of blurred noise, as hard to compress as a photograph."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def png_chunk(tag: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file with its checksum."""
    return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))


def video(codec: str, container: str, layout: str, *, frames: int = FRAMES) -> bytes:
    """A short video of noise, from PyAV's encoders."""
    import av

    buffer = io.BytesIO()
    # Without the times and random numbers that containers write.
    with av.open(buffer, "w", format=container, options={"fflags": "+bitexact"}) as out:
        stream: Any = out.add_stream(codec, rate=25, options=_quiet(codec))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, layout
        stream.codec_context.thread_count = 1
        for i in range(frames):
            frame = av.VideoFrame.from_image(noise(i))
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return buffer.getvalue()


def pictures() -> Iterator[tuple[str, bytes]]:
    """File names and contents, the format's name before the dot."""
    import pillow_heif

    image = noise()
    grey16 = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    moving = {"save_all": True, "append_images": [noise(i) for i in range(1, 5)], "duration": 80}
    mpo = {"save_all": True, "append_images": [noise(1)]}
    for name, source, options in (
        ("rgb.png", image, {}), ("grey16.png", grey16, {}), ("alpha.png", image.convert("RGBA"), {}),
        ("palette.png", image.quantize(16), {"transparency": 3}), ("moving.png", image, moving),
        ("base.jpg", image, {}), ("progressive.jpg", image, {"progressive": True}),
        ("cmyk.jpg", image.convert("CMYK"), {}), ("views.mpo", image, mpo),
        ("still.gif", image.quantize(32), {}), ("moving.gif", image, moving),
        ("lossy.webp", image, {}), ("lossless.webp", image, {"lossless": True}),
        ("moving.webp", image, moving),
        ("still.avif", image, {"speed": 10, "max_threads": 1}),
        ("moving.avif", image, {**moving, "speed": 10, "max_threads": 1}),
        ("rgb.bmp", image, {}), ("rgb.dib", image, {}), ("raw.tif", image, {}),
        ("lzw.tif", image, {"compression": "tiff_lzw"}),
        ("deflate.tif", image, {"compression": "tiff_deflate"}),
        ("jpeg.tif", image, {"compression": "jpeg"}),
        ("fax.tif", image.convert("1"), {"compression": "group4"}),
        ("rgb.ppm", image, {}), ("grey16.pgm", grey16, {}), ("rgb.jp2", image, {}),
        ("codestream.j2k", image, {"no_jp2": True}), ("icon.ico", image, {"sizes": [(32, 32), (48, 48)]}),
        ("rle.tga", image, {"compression": "tga_rle"}), ("rgb.qoi", image, {}), ("rgb.pcx", image, {}),
        ("rgb.sgi", image, {}), ("bits.xbm", image.convert("1"), {}), ("rgb.dds", image, {}),
    ):  # fmt: skip
        buffer = io.BytesIO()
        suffix = name.rsplit(".", 1)[1]
        source.save(buffer, format=Image.registered_extensions()[f".{suffix}"], **options)
        yield name, buffer.getvalue()
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer)
    yield "photo.heic", buffer.getvalue()
    planes = np.asarray(image).transpose(2, 0, 1).tobytes()
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, HEIGHT, WIDTH, 8, 3)
    yield "layers.psd", head + bytes(12) + struct.pack(">H", 0) + planes
    yield "plain.ppm", b"P3 64 48 255\n" + b" ".join(b"%d" % v for v in np.asarray(image).reshape(-1))


def videos() -> Iterator[tuple[str, bytes]]:
    """File names and contents."""
    for name, (codec, container, layout) in VIDEOS.items():
        yield name, video(codec, container, layout)


def posers(jpeg: bytes, mp4_path: str) -> Iterator[tuple[str, bytes]]:
    """Files that are no media, or that point to others, to `mp4_path` for instance."""
    url = "http://127.0.0.1:9/a.ts"
    for place, label in ((mp4_path, "path"), (url, "url"), (f"concat:{mp4_path}", "nested")):
        hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{place}\n#EXT-X-ENDLIST\n"
        for suffix in ("m3u8", "mp4", "jpg"):
            yield f"hls-{label}.{suffix}", hls.encode()
        yield f"hls-bom-{label}.mp4", b"\xef\xbb\xbf" + hls.encode()
        yield f"list-{label}.ffconcat", f"ffconcat version 1.0\nfile '{place}'\n".encode()
        yield f"list-{label}.pls", f"[playlist]\nFile1={place}\n".encode()
        yield f"list-{label}.mpd", f'<?xml version="1.0"?><MPD><BaseURL>{place}</BaseURL></MPD>'.encode()
        yield f"list-{label}.asx", f'<asx version="3.0"><entry><ref href="{place}"/></entry></asx>'.encode()
        yield f"list-{label}.txt", f"file '{place}'\n".encode()
        yield f"list-{label}.smil", f'<smil><body><video src="{place}"/></body></smil>'.encode()
    sdp = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    yield "stream.sdp", (sdp + "a=rtpmap:96 H264/90000\n").encode()
    yield "stream.rtsp", b"RTSPtext\nrtsp://127.0.0.1:9/a\n"
    yield "page.jpg", b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n"
    yield "drawing.svg", b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>\n'
    yield "pointer.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    yield "note.txt", b"Not a picture.\n" * 50
    yield "data.json", b'{"images": ["a.jpg"]}'
    yield "pages.pdf", b"%PDF-1.4\n1 0 obj<</Subtype/Image/Filter/DCTDecode>>stream\n" + jpeg + b"\nendstream"
    yield "late.pdf", b"\0" * 100 + b"%PDF-1.4\nstream\n" + jpeg
    mail = b"From: a@b.c\nMIME-Version: 1.0\nContent-Type: image/jpeg\nContent-Transfer-Encoding: base64\n\n"
    yield "mail.eml", mail + base64.encodebytes(jpeg)
    yield "mail-binary.eml", mail + jpeg
    for name, member in (("slides.pptx", "ppt/media/image1.jpg"), ("photos.zip", "a.jpg")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(zipfile.ZipInfo(member), jpeg)
        yield name, buffer.getvalue()
    yield "picture.exr", b"\x76\x2f\x31\x01\x02\0\0\0" + bytes(400)
    yield "picture.dpx", b"SDPX" + struct.pack(">I", 2048) + b"V1.0" + bytes(4000)
    yield "sound.wav", b"RIFF" + struct.pack("<I", 2036) + b"WAVEfmt " + bytes(2000)
    yield "garbage.mp4", np.random.default_rng(1).bytes(5000)
    yield "zeros.jpg", bytes(5000)
    yield "junk-then-jpeg.jpg", np.random.default_rng(2).bytes(512) + jpeg
    yield "jpeg-then-zip.jpg", jpeg + b"PK\3\4" + bytes(100)
    yield "one-byte.png", b"\x89"
    yield "empty.png", b""


def _quiet(codec: str) -> dict[str, str]:
    return {"libx265": {"x265-params": "log-level=none:pools=1:frame-threads=1"}}.get(codec, {})
