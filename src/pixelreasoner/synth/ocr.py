"""Does the crop show the answer? For answers that stand in the picture: its text is read (OCR).

The reader is RapidOCR (PP-OCRv6, small), whose models come with its package, so nothing is fetched. What
counts as shown is `synth.text_match`. A reader takes 0.2 GB, and up to 0.9 GB while it reads a dense page of
1,500 x 1,000 pixels; every thread that reads has one, and uses one processor. Time goes with the text that is
read, not with the pixels (`python -m benchmarks ocr`).
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from PIL import Image

from pixelreasoner.core.config import Config, Share
from pixelreasoner.core.errors import MissingExtraError
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.rewards.choices import LETTERS
from pixelreasoner.synth.text_match import TextLine, holds

NOT_SHOWN = "the crop does not show the answer"
"""What rejections of this kind are counted under."""
LARGEST_SIDE = 2000
"""A longer picture is read at this size."""
ENLARGED_BELOW = 400
"""A picture whose longer side is shorter, in pixels, is enlarged to it, `MOST_ENLARGED` times at most."""
MOST_ENLARGED = 3.0
LEAST_CONFIDENCE = 0.5
"""Of a line, below which it counts as not read."""
SHOWN_CHARACTERS = 60


class OcrConfig(Config):
    """Which crops are read to see whether they show the answer."""

    kinds: tuple[str, ...] = ("webpage", "infographic")
    """Kinds of tasks (`Task.kind`) whose answers stand in the picture; of others, none is looked for."""
    tolerance: Share = 0.1
    """Share of an answer's letters that may be misread. Numbers, and answers of up to nine letters, have to
    be there as they are."""


class OcrCheck:
    """Reads crops; may be sent to other processes and used by many threads, each with a reader of its own."""

    def __init__(self, config: OcrConfig) -> None:
        self._config = config

    def applies_to(self, task: Task) -> bool:
        """Whether the answer of a task is looked for."""
        return task.kind in self._config.kinds and bool(task.answers)

    def fault(self, picture: Picture, task: Task) -> str | None:
        """Why a crop is not one from which the answer follows; None where it is, and of other kinds.

        Args:
            picture: the last crop, in original pixels.
            task: what is asked. Any one of its answers is enough; a letter stands for its option.

        Raises:
            MissingExtraError: the extra `ocr` is not installed.
            MediaError: the picture is damaged.
        """
        if not self.applies_to(task):
            return None
        lines = read_text(picture)
        wanted = [_written_out(answer, task) for answer in task.answers]
        if any(holds(lines, answer, self._config.tolerance) for answer in wanted):
            return None
        read = " / ".join(line.text for line in lines)
        if len(read) > SHOWN_CHARACTERS:
            read = f"{read[:SHOWN_CHARACTERS]}…"
        return f"{NOT_SHOWN} {wanted[0]!r}: " + (f"it reads {read!r}" if read else "it has no text")


def read_text(picture: Picture) -> tuple[TextLine, ...]:
    """The lines of text in a picture, with boxes in its pixels.

    Raises:
        MissingExtraError: the extra `ocr` is not installed.
        MediaError: the picture is damaged.
    """
    image = Image.fromarray(picture.pixels)
    scale = _scale(image.width, image.height)
    if scale != 1:
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.resize(size, Image.Resampling.BICUBIC)
    # The reader takes blue first.
    found = _reader()(np.ascontiguousarray(np.asarray(image)[..., ::-1]))
    if found.boxes is None or found.txts is None:
        return ()
    corners = np.asarray(found.boxes, dtype=float) / scale
    boxes = zip(corners.min(axis=1).tolist(), corners.max(axis=1).tolist(), strict=True)
    return tuple(
        TextLine(str(text), Box(x1, y1, x2, y2).clip(picture.size))
        for text, ((x1, y1), (x2, y2)) in zip(found.txts, boxes, strict=True)
    )


def _scale(width: int, height: int) -> float:
    longer = max(width, height)
    if longer > LARGEST_SIDE:
        return LARGEST_SIDE / longer
    return min(MOST_ENLARGED, max(1.0, ENLARGED_BELOW / longer))


def _written_out(answer: str, task: Task) -> str:
    """The text of an option in place of its letter."""
    letter = answer.strip().upper()
    at = LETTERS.find(letter) if len(letter) == 1 else -1
    return task.options[at] if 0 <= at < len(task.options) else answer


# --------------------------------------------------------------------------------------------- reader

_OF_THREAD = threading.local()


def _reader() -> Any:
    """The reader of this thread, which uses one processor."""
    if not hasattr(_OF_THREAD, "reader"):
        _OF_THREAD.reader = _made_reader()
    return _OF_THREAD.reader


def _made_reader() -> Any:
    try:
        import onnxruntime  # noqa: F401
        from rapidocr import RapidOCR
    except ImportError as e:
        raise MissingExtraError("rapidocr", "ocr", "Reading the text of crops") from e
    onnx = "EngineConfig.onnxruntime"
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.text_score": LEAST_CONFIDENCE,
            # Crops are upright, and sizes are chosen here.
            "Global.use_cls": False,
            "Global.max_side_len": LARGEST_SIDE,
            "Det.limit_type": "min",
            "Det.limit_side_len": 32,
            f"{onnx}.intra_op_num_threads": 1,
            f"{onnx}.inter_op_num_threads": 1,
        }
    )
