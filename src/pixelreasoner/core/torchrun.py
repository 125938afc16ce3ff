"""What torchrun tells the processes that it starts, in their environment."""

from __future__ import annotations

import os

RANK, WORLD_SIZE, LOCAL_RANK = "RANK", "WORLD_SIZE", "LOCAL_RANK"


def number_of_processes() -> int:
    """How many processes torchrun has started; 1 without it."""
    return int(os.environ.get(WORLD_SIZE, "1"))


def local_rank() -> int:
    """The number of this process among those of its machine, from 0."""
    return int(os.environ.get(LOCAL_RANK, "0"))


def is_main_process() -> bool:
    """Whether this process writes files and talks to the user."""
    return int(os.environ.get(RANK, "0")) == 0
