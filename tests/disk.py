"""A full disk, without being root: the system refuses what goes beyond a size, as on a full one."""

from __future__ import annotations

import resource
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def full_disk(n_bytes: int) -> Generator[None]:
    """In the block, no file grows beyond `n_bytes`: writing raises OSError (EFBIG), as ENOSPC is raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
