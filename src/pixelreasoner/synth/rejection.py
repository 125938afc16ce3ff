"""A task that gives no trajectory, and why: what a stage of synthesis raises, and what is counted."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Literal

from pixelreasoner.endpoint.failures import Unusable, UnusableReplyError

Stage = Literal["read", "propose", "outline", "write", "compose", "ocr", "judge", "difficulty"]
"""Where a task can be turned down.

read: a picture or a video of it cannot be read. propose: it has no question, and the teacher finds none.
outline: its cue leaves no room for the template. write: the teacher's texts cannot be used. compose: the
trajectory is not what its template says. ocr: the text of the crop does not hold the answer. judge: the
answer does not follow from the crop. difficulty: the student answers it without operations, or, where that is
wanted, does not.
"""

_REASONS: Mapping[Unusable, str] = {
    "refused": "the model refused",
    "truncated": "the reply was cut",
    "not_json": "the reply is no JSON",
    "invalid": "the reply has another structure",
    "too_long": "the request is too long for the model",
    "rejected_request": "the server takes no such request",
}
"""What a reply of no use is counted as."""


class RejectedError(Exception):
    """A task that is turned down; the run goes on with another one, and records this."""

    def __init__(self, stage: Stage, reason: str, detail: str = "") -> None:
        """Of a stage.

        Args:
            stage: where it was turned down.
            reason: a name of a few words, by which rejections are counted: "the crop is not needed".
            detail: what is special about this one, for the side file.
        """
        super().__init__(f"{stage}: {reason}" + (f" ({detail})" if detail else ""))
        self.stage: Stage = stage
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[RejectedError], tuple[Stage, str, str]]:
        """As it crosses processes: from its own arguments, not from its text."""
        return type(self), (self.stage, self.reason, self.detail)


@contextmanager
def unusable_replies(stage: Stage) -> Generator[None]:
    """Turn a task down where a server's replies about it are of no use."""
    try:
        yield
    except UnusableReplyError as e:
        raise RejectedError(stage, _REASONS[e.reason], e.detail) from e
