"""Slots made by the machines of a Ray cluster; this process plans, writes the files and keeps the accounts.

Ray Data streams the numbers of the missing slots through a pool of workers (`ray_worker.SlotWorker`), one for
each processor, or fewer where the servers may be asked less. Slots come back with their pictures, in any
order; no disk in common is needed for them. The sources and the checkpoint are read by every machine. ::

    this process        numbers of slots ->  worker ... worker  -> lines and pictures -> journal
    Books, an actor     replies.sqlite, budget, whether the run goes on  <- asked by every worker
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pixelreasoner.core.errors import ConfigError, PixelReasonerError
from pixelreasoner.core.files import replacing, writing
from pixelreasoner.core.progress_line import ProgressLine
from pixelreasoner.endpoint.cache import SqliteCache
from pixelreasoner.endpoint.failures import EndpointError, one_line
from pixelreasoner.endpoint.ledger import OutOfBudgetError
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.journal import Finished
from pixelreasoner.synth.ray_books import Books, State, errors_of_books, ray_package
from pixelreasoner.synth.ray_worker import NUMBER, SENT, Job, Sent, SlotWorker, shared_out
from pixelreasoner.synth.served import cost_text, slots_ahead
from pixelreasoner.synth.servers import replies_file, server_sections
from pixelreasoner.synth.slots import Slots
from pixelreasoner.synth.stage_counts import StageCounts
from pixelreasoner.synth.undone import Undone

REQUESTS_PER_WORKER = 8
"""Requests that a worker may have under way at least: one processor serves many."""
BATCHES_PER_WORKER = 4
"""Under way together: while one has its last slots to do, the others keep the worker busy."""
AHEAD = 48
"""Slots that a worker has before it where no server is asked."""
STATE_S = 1.0
"""Seconds between two questions to the workers how far they are."""
CONNECT_S = 10.0
"""Seconds for the head of the cluster to answer."""
CLOSE_S = 10.0
"""Seconds to wait until the file of replies is closed."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""Nothing is told to Ray's makers, and what of it is written in C++ puts no lines into the progress."""
ENDING: Mapping[str, type[EndpointError] | type[OutOfBudgetError]] = {
    error.__name__: error for error in (EndpointError, OutOfBudgetError)
}


@contextmanager
def cluster(address: str) -> Generator[None]:
    """A connection to a Ray cluster, for the block.

    Args:
        address: `HOST:PORT` of its head, `auto` for the one that this machine is part of, `local` for a new
            one of this machine's processors. What is connected already is used, and stays.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: there is no such cluster, or this machine is no part of it.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    ray_package("ray.data")
    ray = ray_package()
    if ray.is_initialized():
        yield
        return
    try:
        with _own_signals(), _silent():
            _connect(ray, address)
        yield
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    host, colon, port = address.rpartition(":")
    if address not in ("auto", "local") and not (colon and "/" not in host and port.isdecimal()):
        raise ConfigError(f"--ray {address}: give HOST:PORT, auto or local")
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        if colon:  # Ray itself would try for minutes
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **options)
    except (OSError, OverflowError, RuntimeError, ValueError) as e:
        raise ConfigError(
            f"--ray {address}: {one_line(str(e))}; begin a cluster with `ray start --head`, have the other "
            f"machines join it, and give this command on one of them"
        ) from e


class RayWorkers:
    """The workers of a cluster that is connected."""

    def __init__(self, config: SynthConfig, planned: Slots, folder: Path, counts: StageCounts) -> None:
        """No worker is begun yet.

        Args:
            config: the recipe.
            planned: all its slots.
            folder: of the run; takes the pictures.
            counts: takes which slots come to which stage.
        """
        self._config, self._planned, self._folder = config, planned, folder
        self._counts, self._served = counts, bool(server_sections(config))
        self._books: Any = None
        self._state: State | None = None
        self._asked, self._stopped = 0.0, False

    def make(self, numbers: Sequence[int], line: ProgressLine) -> Generator[Finished]:
        """The slots of these numbers as they are done, in any order; their pictures are in the folder.

        Raises:
            EndpointError: a server gave no reply for some slots, or refuses all requests. Others are made.
            OutOfBudgetError: the budget is spent; what was under way is made as far as it goes.
            PixelReasonerError: something is wrong with the recipe, on this machine or on another one, or the
                cluster is gone.
        """
        undone = Undone(self._config.max_failures, line.note)
        with ExitStack() as stack, _errors_of_ray():
            if self._served:
                self._books = self._opened_books()
                stack.callback(self._close_books)
            missing = set(numbers)
            for sent in self._sent(numbers):
                self._look_at(sent, undone)
                if sent.finished is not None and sent.number in missing:
                    missing.discard(sent.number)
                    self._keep(sent.pictures)
                    self._counts.leave(sent.number, made=True)
                    yield sent.finished
            self._ask_state()
        undone.raise_errors()

    def figures(self, rejections: int) -> dict[str, str]:
        """What is shown beside the progress.

        Args:
            rejections: tasks that were rejected so far.
        """
        if self._served:
            return {"cost": cost_text(self._state.spent)} if self._state is not None else {}
        return {"rejected": str(rejections)} if rejections else {}

    def _sent(self, numbers: Sequence[int]) -> Generator[Sent]:
        """What comes of the slots, as Ray Data streams it."""
        data = ray_package("ray.data")
        workers = self._n_workers(len(numbers))
        config = shared_out(self._config, workers)
        ahead = min(slots_ahead(config) if self._served else AHEAD, -(-len(numbers) // workers))
        per_batch = -(-ahead // (BATCHES_PER_WORKER - 1))
        job = Job(config.model_dump_json(), self._planned, Path.cwd(), ahead)
        _configure(data)
        pool = data.ActorPoolStrategy(
            size=workers,
            max_tasks_in_flight_per_actor=BATCHES_PER_WORKER,
            max_concurrent_calls_per_actor=BATCHES_PER_WORKER,
            enable_true_multi_threading=True,
        )
        batches = -(-len(numbers) // per_batch)
        rows = data.from_items(list(numbers), override_num_blocks=batches).map_batches(
            SlotWorker, fn_constructor_args=(job, self._books), batch_size=None, compute=pool, num_cpus=1
        )
        for row in rows.iter_rows():
            assert NUMBER in row
            yield pickle.loads(row[SENT])

    def _n_workers(self, slots: int) -> int:
        """One for each processor, as far as there is something to do for them.

        Raises:
            ConfigError: the cluster has no processor.
        """
        cpus = int(ray_package().cluster_resources().get("CPU", 0))
        if not cpus:
            raise ConfigError("--ray: the cluster has no processor to work with; add a machine to it")
        limits = [cpus, slots]
        for server in server_sections(self._config).values():
            limits.append(max(1, server.concurrency // REQUESTS_PER_WORKER))
            limits += [n for n in (server.requests_per_minute, server.tokens_per_minute) if n is not None]
        return min(limits)

    def _look_at(self, sent: Sent, undone: Undone) -> None:
        """What went wrong with a slot, and how far the others are.

        Raises:
            PixelReasonerError: what went wrong ends the run at once.
        """
        if sent.failed:
            undone.fail(sent.number, sent.failed)
        if sent.error is not None:
            name, text, machine = sent.error
            if name in ENDING:
                undone.end(ENDING[name](text))
            else:
                undone.end(
                    PixelReasonerError(
                        f"{text} (on the machine {machine}; each one of the cluster needs the packages, the "
                        f"sources and the checkpoint of the run, and the variables of keys)"
                    )
                )
        if undone.over and not self._stopped:
            self._stopped = True
            if self._served:
                self._books.stop.remote()
        if time.monotonic() - self._asked >= STATE_S:
            self._ask_state()

    def _ask_state(self) -> None:
        if self._served:
            with errors_of_books():
                state: State = ray_package().get(self._books.state.remote())
            self._state, self._asked = state, time.monotonic()
            self._counts.elsewhere = state.stages

    def _keep(self, pictures: Mapping[str, bytes]) -> None:
        """Write the pictures of a slot.

        Raises:
            RecordError: the place cannot be written to.
        """
        for name, content in pictures.items():
            if not (path := self._folder / name).exists():
                with replacing(path, one_of_many=True) as file, writing(path):
                    file.write(content)

    def _opened_books(self) -> Any:
        """The actor that keeps replies and budget, on this machine.

        Raises:
            RecordError: the file of replies is damaged.
        """
        SqliteCache(replies_file(self._folder)).close()
        ray, strategies = ray_package(), ray_package("ray.util.scheduling_strategies")
        here = strategies.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(Books).options(num_cpus=0, scheduling_strategy=here)
        return actor.remote(replies_file(self._folder).resolve(), self._config.budget)

    def _close_books(self) -> None:
        """End the actor, once nobody asks it."""
        ray = ray_package()
        if ray.is_initialized():
            with suppress(ray.exceptions.RayError):
                ray.get(self._books.close.remote(), timeout=CLOSE_S)
            ray.kill(self._books)


def _configure(data: Any) -> None:
    """How Ray Data works for this process: each slot comes when it is done, and nothing is printed."""
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = 1
    context.execution_no_progress_timeout_s = -1  # a server may be slow, and a machine may be awaited
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


@contextmanager
def _errors_of_ray() -> Generator[None]:
    """What befalls the cluster, as one line; an error in the code of a worker stays what it is.

    Raises:
        PixelReasonerError: the cluster is gone, or its machines cannot begin a worker.
    """
    errors = ray_package("ray.exceptions")
    try:
        yield
    except errors.RayTaskError:
        raise
    except (errors.RayError, ConnectionError) as e:
        raise PixelReasonerError(
            f"the Ray cluster does not go on ({one_line(str(e))}); see that its machines are up and have "
            f"this version of pixelreasoner, and go on with --resume"
        ) from e


@contextmanager
def _own_signals() -> Generator[None]:
    """Around what sets handlers of its own: SIGTERM ends a run as before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _silent() -> Generator[None]:
    """Around what writes to the process's stderr past Python: Ray, that it keeps silent from now on."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
