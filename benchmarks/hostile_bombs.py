"""Small files that ask for much memory or time: the largest that are read, and those that are too large."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.hostile_seeds import noise, png_chunk
from pixelreasoner.core.image_formats import BYTES_PER_PIXEL, PROGRESSIVE_BYTES
from pixelreasoner.core.media_limits import DECODING_BYTES

Maker = Callable[[Path], object]
"""Writes a file."""


def bombs() -> Iterator[tuple[str, Maker]]:
    """File names, and what writes each."""
    yield from _largest()
    yield from _claims()
    yield from _work()
    yield from _films()


def _largest() -> Iterator[tuple[str, Maker]]:
    """Of each format a picture that is just within its limit, and one beyond; one colour, so small."""
    for suffix, name, mode, options in (
        ("png", "PNG", "RGB", {"compress_level": 1}), ("png", "PNG", "I;16", {"compress_level": 1}),
        ("png", "PNG", "RGBA", {"compress_level": 1}), ("png", "PNG", "P", {"compress_level": 1}),
        ("jpg", "JPEG", "RGB", {"quality": 30}), ("jpg", "JPEG", "CMYK", {"quality": 30}),
        ("progressive.jpg", "JPEG", "RGB", {"quality": 30, "progressive": True}),
        ("gif", "GIF", "P", {}), ("webp", "WEBP", "RGB", {"lossless": True, "method": 0, "quality": 0}),
        ("webp", "WEBP", "RGBA", {"lossless": True, "method": 0, "quality": 0}),
        ("lossy.webp", "WEBP", "RGB", {"method": 0}),
        ("avif", "AVIF", "RGB", {"speed": 10, "max_threads": 1}),
        ("avif", "AVIF", "RGBA", {"speed": 10, "max_threads": 1, "subsampling": "4:4:4"}),
        ("jp2", "JPEG2000", "RGB", {"irreversible": True, "quality_layers": [200]}),
        ("jp2", "JPEG2000", "RGBA", {"irreversible": True, "quality_layers": [200]}),
        ("tif", "TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("tif", "TIFF", "RGBA", {"compression": "tiff_deflate"}),
        ("strip.tif", "TIFF", "RGBA", {"compression": "tiff_lzw", "tiffinfo": {278: 2**16}}),
        ("fax.tif", "TIFF", "1", {"compression": "group4"}),
        ("float.tif", "TIFF", "F", {"compression": "tiff_lzw"}),
        ("bmp", "BMP", "RGB", {}), ("ppm", "PPM", "RGB", {}), ("heic", "HEIF", "RGB", {}),
        ("heic", "HEIF", "RGBA", {}),
        ("tga", "TGA", "RGB", {"compression": "tga_rle"}), ("pcx", "PCX", "RGB", {}),
        ("sgi", "SGI", "RGB", {}), ("xbm", "XBM", "1", {}),
    ):  # fmt: skip
        per_pixel = PROGRESSIVE_BYTES if "progressive" in suffix else BYTES_PER_PIXEL[name]
        # The file counts too.
        raw = 3 if name in ("BMP", "PPM", "SGI") else 1 if name in ("XBM", "PCX") else 0
        side = int((DECODING_BYTES / (per_pixel + raw)) ** 0.5) - 40
        side = min(side, 16_000 if name in ("WEBP", "HEIF") else side)
        for label, length in (("largest", side), ("beyond", int(side * 1.05) + 60)):
            if name in ("JPEG2000", "XBM") and label == "beyond":
                continue
            yield f"{label}-{mode.replace(';', '')}.{suffix}", partial(_plain, name, mode, length, options)
    yield "largest.qoi", partial(_qoi, int((DECODING_BYTES / BYTES_PER_PIXEL["QOI"]) ** 0.5) - 40)


def _claims() -> Iterator[tuple[str, Maker]]:
    """Headers that claim more than there is."""
    yield "claims.png", _bytes(_png(60_000, 60_000))
    yield "claims-wide.png", _bytes(_png(2**31 - 1, 1))
    yield "claims.gif", _bytes(b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\0\0" + bytes(64))
    yield "claims.bmp", _bytes(_bmp(65_535, 65_535))
    yield (
        "claims.webp",
        _bytes(b"RIFF" + struct.pack("<I", 100) + b"WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 6 + bytes(80)),
    )
    yield "claims.psd", _bytes(b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 30_000, 30_000, 8, 3) + bytes(100))
    yield "claims.qoi", _bytes(b"qoif" + struct.pack(">IIBB", 60_000, 60_000, 4, 0) + bytes(100))
    yield "claims.ppm", _bytes(b"P6 99999 99999 255\n" + bytes(100))
    yield "claims-digits.ppm", _bytes(b"P6 " + b"9" * 5000 + b" 9 255\n" + bytes(100))
    yield "claims.ico", _icon_of_png
    yield "claims-tile.tif", _bytes(_tiff({322: 100_000, 323: 100_000}))
    yield "claims-strip.tif", _bytes(_tiff({278: 2**32 - 1, 277: 60_000}))
    yield "claims-entries.tif", _bytes(b"II*\0\x08\0\0\0\xff\xff" + bytes(65_535 * 12))
    yield "sparse.mp4", partial(_sparse, b"\0\0\0\x18ftypisom\0\0\0\0isommp41")
    yield "sparse.png", partial(_sparse, b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", _ihdr(9, 9)))
    yield "sparse.webp", partial(_sparse, b"RIFF\xff\xff\xff\xffWEBPVP8 \xf0\xff\xff\xff" + bytes(16))


def _work() -> Iterator[tuple[str, Maker]]:
    """Much work for each byte."""
    yield "scans.jpg", partial(_scans, 4000, 3000)
    yield "text.png", _bytes(_png(9, 9, png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**26), 9))))
    yield "chunks.png", _bytes(_png(9, 9, png_chunk(b"tEXt", b"k\0v") * 200_000))
    yield "chunks-idat.png", _bytes(_png(3000, 3000, png_chunk(b"IDAT", b"") * 300_000))
    yield "layers.jp2", partial(_layers, 2000)
    yield "plain-huge.ppm", _bytes(b"P3 6000 6000 255\n" + b"1 " * 3_000_000)
    yield "escapes.bmp", _bytes(_bmp(8000, 8000, compression=1) + b"\0\2\0\0" * 2_000_000)
    moving: dict[str, Any] = {"save_all": True, "duration": 20}
    yield "frames.gif", partial(_moving, 1500, 300, moving)
    yield "frames.png", partial(_moving, 800, 300, moving)
    yield "frames.webp", partial(_moving, 800, 300, {**moving, "lossless": True, "method": 0})
    yield "large-frames.gif", partial(_moving, 6000, 8, moving)
    yield "claims-frames.png", _bytes(_png(64, 64, png_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))))


def _films() -> Iterator[tuple[str, Maker]]:
    """Videos whose frames are large, many or not what the header says."""
    yield "8k.mp4", partial(_film, "libx264", 7680, 4320, 12, "yuv420p", {"preset": "ultrafast"})
    yield "8k-mjpeg.avi", partial(_film, "mjpeg", 7680, 4320, 6, "yuvj420p", {})
    yield "4k.mp4", partial(_film, "libx264", 3840, 2160, 60, "yuv420p", {"preset": "ultrafast"})
    deep = {"preset": "ultrafast", "refs": "16", "bf": "8", "b-pyramid": "normal"}
    yield "4k-references.mp4", partial(_film, "libx264", 3840, 2160, 40, "yuv420p10le", deep)
    yield (
        "4k-vp9.webm",
        partial(_film, "libvpx-vp9", 3840, 2160, 12, "yuv420p", {"deadline": "realtime", "cpu-used": "8"}),
    )
    yield "4k.ts", partial(_film, "libx264", 3840, 2160, 40, "yuv444p", {"preset": "ultrafast"})
    yield "png-16k.mov", partial(_film, "png", 16_000, 9000, 1, "rgb24", {})
    yield (
        "one-keyframe.mp4",
        partial(_film, "libx264", 1280, 720, 3000, "yuv420p", {"preset": "ultrafast", "g": "99999"}),
    )
    yield (
        "wide-pixels.mp4",
        partial(_film, "libx264", 1280, 720, 20, "yuv420p", {"preset": "ultrafast", "aspect": "255:1"}),
    )
    yield "grows.ts", _growing
    yield "many-frames.avi", partial(_film, "mjpeg", 32, 32, 20_000, "yuvj420p", {})


def _bytes(content: bytes) -> Maker:
    return lambda path: path.write_bytes(content)


def _plain(name: str, mode: str, side: int, options: dict[str, Any], path: Path) -> None:
    image = Image.new(mode, (side, side), 0)
    if name == "HEIF":
        import pillow_heif

        pillow_heif.from_pillow(image).save(path, quality=20)
        return
    image.save(path, format=name, **options)


def _ihdr(width: int, height: int) -> bytes:
    return struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)


def _png(width: int, height: int, extra: bytes = b"") -> bytes:
    data = png_chunk(b"IDAT", zlib.compress(bytes(64)))
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", _ihdr(width, height))
        + extra
        + data
        + png_chunk(b"IEND", b"")
    )


def _bmp(width: int, height: int, *, compression: int = 0) -> bytes:
    bits = 8 if compression else 24
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    palette = bytes(1024) if compression else b""
    return b"BM" + struct.pack("<IHHI", 2**31 - 1, 0, 0, 54 + len(palette)) + head + palette


def _tiff(tags: dict[int, int]) -> bytes:
    """64x64 grey, LZW, with some tags of one's own."""
    base = {256: 64, 257: 64, 258: 8, 259: 5, 262: 1, 273: 400, 277: 1, 278: 64, 279: 100}
    if 322 in tags:
        base |= {324: 400, 325: 100}
    entries = sorted((base | tags).items())
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body).ljust(400, b"\0") + bytes(200)


def _icon_of_png(path: Path) -> None:
    """An icon that says 32x32 and holds a PNG of 10,000x10,000."""
    buffer = io.BytesIO()
    Image.new("RGBA", (10_000, 10_000)).save(buffer, format="PNG", compress_level=1)
    png = buffer.getvalue()
    path.write_bytes(struct.pack("<HHHBBBBHHII", 0, 1, 1, 32, 32, 0, 0, 1, 32, len(png), 22) + png)


def _sparse(head: bytes, path: Path) -> None:
    """A file of 8 GB that takes no place on the disk."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(8 * 2**30)


def _scans(width: int, height: int, path: Path) -> None:
    """A progressive JPEG whose last scan is repeated 4,000 times."""
    buffer = io.BytesIO()
    Image.new("L", (width, height), 128).save(buffer, format="JPEG", progressive=True)
    content = buffer.getvalue()
    last = content.rindex(b"\xff\xda")
    path.write_bytes(content[:last] + content[last:-2] * 4000 + b"\xff\xd9")


def _layers(side: int, path: Path) -> None:
    """A JPEG 2000 that claims 65,535 quality layers over precincts of 32x32."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side)).save(
        buffer, format="JPEG2000", precinct_size=(32, 32), codeblock_size=(16, 16)
    )
    content = bytearray(buffer.getvalue())
    at = content.index(b"\xff\x52") + 6
    content[at : at + 2] = b"\xff\xff"
    path.write_bytes(content)


def _qoi(side: int, path: Path) -> None:
    """One colour, in runs of 62 pixels a byte."""
    path.write_bytes(
        b"qoif" + struct.pack(">IIBB", side, side, 3, 0) + b"\xfd" * (side * side // 62 + 1) + bytes(8)
    )


def _moving(side: int, frames: int, options: dict[str, Any], path: Path) -> None:
    pictures = [Image.new("P", (side, side), i % 250) for i in range(frames)]
    for i, picture in enumerate(pictures):
        picture.putpalette(bytes(range(256)) * 3)
        picture.putpixel((i % side, 0), 255)
    suffix = Image.registered_extensions()[path.suffix]
    if suffix != "GIF":
        pictures = [picture.convert("RGB") for picture in pictures]
    pictures[0].save(path, format=suffix, append_images=pictures[1:], **options)


def _film(
    codec: str, width: int, height: int, frames: int, layout: str, options: dict[str, str], path: Path
) -> None:
    import av

    aspect = options.get("aspect")
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(
            codec, rate=25, options={k: v for k, v in options.items() if k != "aspect"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, layout
        stream.codec_context.thread_count = 1
        if aspect:
            stream.codec_context.sample_aspect_ratio = Fraction(*map(int, aspect.split(":")))
        picture = noise(0, 64, 64).resize((width, height))
        for i in range(frames):
            frame = av.VideoFrame.from_image(picture).reformat(format=layout)
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def _growing(path: Path) -> None:
    """A stream of 64x48 that goes on in 8K."""
    parts = []
    for width, height in ((64, 48), (7680, 4320)):
        part = path.with_suffix(f".{width}.ts")
        _film("libx264", width, height, 8, "yuv420p", {"preset": "ultrafast"}, part)
        parts.append(part.read_bytes())
        part.unlink()
    path.write_bytes(b"".join(parts))
