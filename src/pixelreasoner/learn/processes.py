"""The processes of a run: one, or as many as `torchrun` has started, of which each does a share.

The code of a run is the same for both. With one process nothing is sent, and no group is made::

    with processes_of_run("auto") as processes:
        mine = processes.share(tasks)
        scored = processes.gather_shares([score(task) for task in mine])
        processes.on_main(lambda: write(scored))

Process 0 is the main one: it writes files and talks to the user.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from pixelreasoner.core.errors import ConfigError, PixelReasonerError
from pixelreasoner.core.torchrun import WORLD_SIZE, local_rank, number_of_processes

T = TypeVar("T")
TIMEOUT = timedelta(hours=2)
"""How long a process waits for the others, whose rollouts may take longer."""


class Processes:
    """The one process of a run without torchrun; the methods of several are overridden."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in their order, on each of them; they are pickled."""
        return [value]

    def broadcast(self, value: T) -> T:
        """The main process's value, on all of them; it is pickled."""
        return value

    def sum(self, *values: float) -> tuple[float, ...]:
        """Each value added up over the processes, in float64."""
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any process."""
        return flag

    def agreed(self) -> AbstractContextManager[None]:
        """Around what each process does for itself: the user's error of one is raised by all.

        Nothing within it may wait for other processes.

        Raises:
            PixelReasonerError: of the first process that has raised one.
        """
        return nullcontext()

    # What follows is made of the methods above.

    def share(self, items: Sequence[T]) -> list[T]:
        """Those of the items that are this process's: every `size`-th."""
        return list(items[self.rank :: self.size])

    def gather_shares(self, results: Sequence[T]) -> list[T]:
        """What all processes have made of their shares, in the order of the items."""
        shares = self.gather(list(results))
        n = sum(map(len, shares))
        return [shares[i % self.size][i // self.size] for i in range(n)]

    def on_main(self, work: Callable[[], object]) -> None:
        """Do something on the main process only; the others wait for it.

        Raises:
            PixelReasonerError: as the main process, on all of them.
        """
        with self.agreed():
            if self.is_main:
                work()

    @contextmanager
    def on_main_within(self, enter: Callable[[], AbstractContextManager[object]]) -> Generator[None]:
        """A context of the main process only; an error on the way into it is raised by all."""
        with ExitStack() as stack:
            self.on_main(lambda: stack.enter_context(enter()))
            yield


ONE_PROCESS = Processes()


class TorchProcesses(Processes):
    """The processes of torch's default group."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def gather(self, value: T) -> list[T]:
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: T) -> T:
        values: list[Any] = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def sum(self, *values: float) -> tuple[float, ...]:
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return tuple(total.tolist())

    def any(self, flag: bool) -> bool:
        flags = torch.tensor([int(flag)])
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return bool(flags.item())

    @contextmanager
    def agreed(self) -> Generator[None]:
        error: PixelReasonerError | None = None
        try:
            yield
        except PixelReasonerError as e:
            error = e
        if not self.any(error is not None):
            return
        # As text: an error's own arguments need not be those of its class.
        texts = self.gather(None if error is None else (type(error), str(error)))
        kind, text = next(found for found in texts if found is not None)
        raise _error(kind, text) from error


def _error(kind: type[PixelReasonerError], text: str) -> PixelReasonerError:
    error = kind.__new__(kind)
    error.args = (text,)
    return error


@contextmanager
def processes_of_run(device: str) -> Generator[Processes]:
    """The processes that torchrun has started, joined for the time of the block; one without it.

    A group that is there already is used, and left as it is.

    Args:
        device: of the model, as in its configuration. On a GPU each process takes the one of its number on
            its machine, and gradients go through NCCL; on a CPU, through gloo.

    Raises:
        ConfigError: the processes did not find each other.
    """
    if dist.is_available() and dist.is_initialized():
        yield TorchProcesses()
        return
    if number_of_processes() == 1:
        yield Processes()
        return
    _join(device)
    try:
        yield TorchProcesses()
    finally:
        dist.destroy_process_group()


def _join(device: str) -> None:
    backend = "gloo"
    if device.startswith("cuda:"):
        raise ConfigError(
            f'model.device = "{device}" is one GPU for all processes; set "cuda", and each takes its own'
        )
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        local = local_rank()
        if local >= torch.cuda.device_count():
            raise ConfigError(
                f"process {local} of this machine has no GPU: there are {torch.cuda.device_count()}; give "
                f"torchrun --nproc-per-node no more than that"
            )
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(backend, timeout=TIMEOUT)
    except (ValueError, RuntimeError) as e:
        raise ConfigError(
            f"the processes of this run did not find each other ({str(e).splitlines()[0]}); start them with "
            f"torchrun, or unset {WORLD_SIZE} for one process"
        ) from e
