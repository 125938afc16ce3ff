"""Seeds that can be read, among those that cannot: of millions of files some are always damaged."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import islice

from pixelreasoner.core.errors import MediaError, PixelReasonerError, RecordError
from pixelreasoner.core.task import Task
from pixelreasoner.synth.rejection import RejectedError
from pixelreasoner.tasks.source import TaskSource

UNREADABLE = "a picture, a video or a row that cannot be read"
"""What rejections of this kind are counted under."""
MOST_DAMAGED = 100
"""Damaged tasks that are passed over until a set counts as unreadable."""
_PLACE = frozenset(
    (
        errno.ENOENT, errno.EACCES, errno.EIO, errno.ENXIO, errno.ENODEV, errno.ENOTDIR, errno.EMFILE,
        errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT,
    )
)  # fmt: skip
"""Errors of a system that cannot give a file: a disk that is not mounted any more, for one."""


@contextmanager
def damaged_tasks(*errors: type[PixelReasonerError]) -> Generator[None]:
    """Turn a task down whose own content cannot be read.

    Args:
        errors: what is raised then. A `RecordError` is of the task only where nothing but the task is read:
            the files of the run raise it, too.

    Where the system cannot give a file, the other tasks would meet the same, and none of them is at fault:
    such an error ends the run, which goes on once the place is back.

    Raises:
        RejectedError: the task is damaged.
        PixelReasonerError: one of `errors`: the place that it is in cannot be read.
    """
    try:
        yield
    except errors as e:
        if _is_of_the_place(e):
            raise
        raise RejectedError("read", UNREADABLE, str(e)) from e


def readable(tasks: TaskSource) -> Iterator[Task]:
    """The tasks of a source from the first on, without those that are damaged.

    Raises:
        RecordError, MediaError: `MOST_DAMAGED` are, or their place cannot be read.
    """
    damaged, at = 0, 0
    while True:
        try:
            task = next(islice(tasks.take(at, 1), 1), None)
        except (RecordError, MediaError) as e:
            damaged += 1
            if damaged == MOST_DAMAGED or _is_of_the_place(e):
                raise
        else:
            if task is None:
                return
            yield task
        at += 1


def _is_of_the_place(error: BaseException) -> bool:
    """Whether an error goes back to a system that cannot give a file."""
    cause: BaseException | None = error
    while cause is not None:
        # The errors of FFmpeg are OSErrors, too, with numbers of their own.
        if isinstance(cause, OSError) and type(cause).__module__ == "builtins" and cause.errno in _PLACE:
            return not (cause.errno == errno.ENOENT and _is_alone(cause.filename))
        cause = cause.__cause__
    return False


def _is_alone(path: object) -> bool:
    """Whether a file alone is missing, a link that leads nowhere for one: its folder is there with others."""
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    try:
        return bool(os.listdir(os.path.dirname(os.fsdecode(path)) or "."))
    except OSError:
        return False
