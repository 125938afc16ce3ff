"""Videos of numbered frames, so that which frames come back is known."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pixelreasoner.core.media import Picture

STRIPE, HEIGHT = 16, 32


def draw_number(number: int) -> np.ndarray:
    """A frame whose eight stripes, dark or bright, spell its number in binary: no codec blurs that away."""
    bits = [255 * (number >> b & 1) for b in range(8)]
    row = np.repeat(np.array(bits, np.uint8), STRIPE)
    return np.broadcast_to(row[None, :, None], (HEIGHT, 8 * STRIPE, 3)).copy()


def read_number(frame: Picture) -> int:
    middles = frame.pixels[HEIGHT // 2, STRIPE // 2 :: STRIPE, 1]
    return sum(1 << b for b, value in enumerate(middles) if value > 127)


def write_video(
    path: Path,
    n: int,
    *,
    codec: str = "libx264",
    gop: int = 12,
    b_frames: int = 2,
    fps: int = 25,
    ticks: list[int] | None = None,
    container_format: str | None = None,
    aspect: Fraction | None = None,
    first: int = 0,
    options: dict[str, str] | None = None,
) -> None:
    """A video of numbered frames; `ticks` are their times in 1/fps seconds, `aspect` is that of a pixel."""
    with av.open(str(path), "w", format=container_format, options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = 8 * STRIPE, HEIGHT, "yuv420p"
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.time_base = Fraction(1, fps)
        for i in range(n):
            frame = av.VideoFrame.from_ndarray(draw_number(first + i), format="rgb24")
            frame.pts, frame.time_base = (ticks[i] if ticks else i), Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
