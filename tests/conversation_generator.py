"""Conversations drawn from a seed: pictures, videos, calls and their results, errors, several questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.messages import Message, ToolCall

TEXTS = (
    "What is the number on the red card?", "这张图里有几只猫", "كم عدد القطط", "Où est le café ☕️ ?",
    "a\nb\n\nc", " ", "  blanks around \n", "e\u0301 (two characters) and \u00e9",
    'say "{x}" \\n [[slot]] {{ y }} {% z %}', "\U0001f9d1\u200d\U0001f680\U0001f3f3\ufe0f\u200d\U0001f308",
    "def f(x):\n    return x < 3 and x > 1", "\u3000全角\u3000", "1234567890 0.5 -7", "<b>bold</b> & </p>",
)  # fmt: skip
"""Several scripts, characters of several code points, blanks, what looks like markup, JSON or a template."""


class Generator:
    """Draws conversations that a chat template can take, ending where the model is to speak."""

    def __init__(self, seed: int, format_call: Callable[[ToolCall], str], *, thoughts: bool) -> None:
        self._rng = np.random.default_rng(seed)
        self._format_call, self._thoughts = format_call, thoughts

    def take(self, n: int) -> Iterator[tuple[Message, ...]]:
        for _ in range(n):
            yield tuple(self._conversation())

    def _conversation(self) -> Iterator[Message]:
        if self._chance(0.5):
            yield Message("system", (self._text(),))
        has_video = False
        n_questions = int(self._rng.integers(1, 4))
        for question in range(n_questions):
            shows_video = not has_video and self._chance(0.25)
            has_video |= shows_video
            yield Message("user", tuple(self._question(video=shows_video)))
            n_calls = int(self._rng.integers(0, 4))
            for call in range(n_calls):
                yield Message("assistant", (self._said(self._call()),))
                yield Message("tool", tuple(self._result()))
                if question == n_questions - 1 and call == n_calls - 1 and self._chance(0.5):
                    return  # the model goes on after a result
            if question < n_questions - 1:
                yield Message("assistant", (self._said(f"It is \\boxed{{{self._text()}}}"),))

    def _question(self, *, video: bool) -> Iterator[str | Picture | Video]:
        for _ in range(int(self._rng.integers(0, 4))):
            yield self._picture()
        if video:
            yield self._video()
        yield self._text()
        if self._chance(0.2):
            yield self._picture()

    def _said(self, content: str) -> str:
        text = f"{self._text()}\n{content}"
        if self._thoughts and self._chance(0.7):
            return f"{self._text()}{self._text()}\n</think>\n\n{text}"
        return text

    def _call(self) -> str:
        box = self._rng.integers(0, 1000, 4).tolist()
        return self._format_call(
            ToolCall("crop_image", {"bbox_2d": box, "target_image": 1, "why": self._text()})
        )

    def _result(self) -> Iterator[str | Picture]:
        if self._chance(0.3):
            yield f"The operation failed: {self._text()}"
            return
        yield f"Image 2 {self._text()}:"
        for _ in range(int(self._rng.integers(1, 4))):
            yield self._picture()

    def _text(self) -> str:
        return str(self._rng.choice(TEXTS))

    def _picture(self) -> Picture:
        width, height = self._rng.integers(1, 61, 2).tolist()
        return Picture(self._rng.integers(0, 256, (height, width, 3), dtype=np.uint8))

    def _video(self) -> Video:
        """At a size that is shown as it is, since the reference resizes no frames."""
        n, (width, height) = int(self._rng.integers(2, 8)), (8 * self._rng.integers(1, 4, 2)).tolist()
        frames = self._rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
        fps = float(self._rng.choice([0.5, 1.0, 3.0]))
        return Video(tuple(map(Picture, frames)), tuple(i / fps for i in range(n)))

    def _chance(self, p: float) -> bool:
        return bool(self._rng.random() < p)
