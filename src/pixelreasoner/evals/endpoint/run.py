"""The rollouts of a served model: many conversations together, handed out in the order of the tasks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

from rich.console import Console

from pixelreasoner.core.records import read_trajectories, write_trajectories
from pixelreasoner.core.terminal import visible
from pixelreasoner.core.trajectory import StopReason, Trajectory
from pixelreasoner.core.waiting import Waiting
from pixelreasoner.endpoint.failures import EndpointError, RequestFailedError
from pixelreasoner.env.executor import DaemonPool
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.env.state import RolloutRequest
from pixelreasoner.evals.endpoint.client import ChatClient
from pixelreasoner.evals.endpoint.config import EndpointConfig, spoken
from pixelreasoner.evals.endpoint.conversation import Served, converse

SHOWN_FAILURES = 3
"""Failures that are named as they happen; the others are counted."""


def serve(config: EndpointConfig, interaction: Interaction) -> Served:
    """The model of an endpoint; nothing is sent yet.

    Raises:
        MissingExtraError: the package openai is not installed.
        ConfigError: the key is missing, or an operation of the recipe cannot be used.
        CheckpointError: `config.checkpoint` cannot be read.
    """
    about = spoken(config, interaction.wording)
    return Served(
        client=ChatClient(config, thinking=about.chat_format.thinking),
        spoken=about,
        toolbox=interaction.toolbox(about.vision.unit, about.chat_format),
        native=config.calls == "native",
        sampling=interaction.sampling,
        limits=interaction.limits,
    )


def endpoint_rollouts(
    served: Served,
    config: EndpointConfig,
    requests: Iterator[RolloutRequest | Trajectory],
    *,
    first: int,
    folder: Path,
    console: Console,
) -> Iterator[Trajectory]:
    """One rollout per request, in order, not scored; as many at a time as `config` says.

    One that is done before an earlier one waits in `folder`, also for a later process. A request that fails
    is left out, the others are made and kept, and the end is an error; the next process then makes what is
    missing.

    Args:
        served: the model; its client is closed at the end.
        config: of the endpoint.
        requests: from number `first` on; a rollout in the place of one is taken as it is.
        first: the number of the first request.
        folder: for rollouts that wait.
        console: takes what is to be said on the way.

    Raises:
        EndpointError: requests failed, or the server refuses all of them.
    """
    waiting = Waiting(folder, done=first, write=_write_one, read=_read_one)
    progress = _Progress(waiting, console, config.max_failures)
    pool: DaemonPool[Trajectory] = DaemonPool(config.concurrency)
    try:
        with closing(served.client):
            numbered = zip(count(first), requests, strict=False)
            yield from _in_order(served, config.concurrency, pool, numbered, progress, first)
    finally:
        pool.cancel()
    if progress.failures:
        raise EndpointError(progress.ending())


@dataclass
class _Progress:
    """What failed, and what waits."""

    waiting: Waiting[Trajectory]
    console: Console
    max_failures: int
    failures: dict[int, str] = field(default_factory=dict[int, str])
    """By number: the task, and why."""

    @property
    def given_up(self) -> bool:
        return len(self.failures) >= self.max_failures

    def failed(self, number: int, task_id: str, error: RequestFailedError) -> None:
        self.failures[number] = f"task {visible(task_id)}: {visible(str(error))}"
        if len(self.failures) <= SHOWN_FAILURES:
            self.say(f"{self.failures[number]}; it stays undone")

    def say(self, text: str) -> None:
        self.console.print(f"eval: {text}", markup=False, highlight=False, soft_wrap=True)

    def ending(self) -> str:
        n = len(self.failures)
        first = self.failures[min(self.failures)]
        kept = f", {len(self.waiting)} that come after them are kept" if len(self.waiting) else ""
        stopped = (
            f" (endpoint.max_failures = {self.max_failures}: no other was begun)" if self.given_up else ""
        )
        return (
            f"{n} {'task' if n == 1 else 'tasks'} got no reply and {'is' if n == 1 else 'are'} not counted"
            f"{stopped}; {first}. What was answered is on disk{kept}; the same command with --resume makes "
            f"the missing ones"
        )


def _in_order(
    served: Served,
    concurrency: int,
    pool: DaemonPool[Trajectory],
    numbered: Iterator[tuple[int, RolloutRequest | Trajectory]],
    progress: _Progress,
    first: int,
) -> Iterator[Trajectory]:
    """The rollouts from number `first` up to the first failure; all others are made, and wait."""
    running: dict[Future[Trajectory], tuple[int, RolloutRequest | Trajectory]] = {}
    due = first
    while True:
        while not progress.given_up and len(running) < concurrency and (item := next(numbered, None)):
            if item[0] not in progress.waiting:
                running[pool.submit(partial(converse, item[1], served))] = item
            elif item[0] == due:
                yield from _waited(progress.waiting, due)
                due += 1
        if not running:
            return
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in sorted(finished, key=lambda f: running[f][0]):
            number, request = running.pop(future)
            try:
                trajectory = future.result()
            except RequestFailedError as e:
                progress.failed(number, request.task.id, e)
                continue
            _say_unread(trajectory, progress)
            if number == due:
                yield trajectory
                due += 1
            else:
                progress.waiting.put(number, trajectory)
        while due in progress.waiting:
            yield from _waited(progress.waiting, due)
            due += 1


def _waited(waiting: Waiting[Trajectory], number: int) -> Iterator[Trajectory]:
    """A rollout that waited; it is dropped once its taker, who has then written it, comes back."""
    yield waiting.get(number)
    waiting.drop(number)


def _say_unread(trajectory: Trajectory, progress: _Progress) -> None:
    """Name a task whose question the model cannot read: it scores 0, and would with every try."""
    if not trajectory.turns and trajectory.stop is StopReason.TOKEN_LIMIT:
        progress.say(
            f"task {visible(trajectory.task.id)} scores 0: the server says that its question is longer than "
            f"what the model reads; ask a shorter one, or send fewer or smaller pictures "
            f"(interaction.wording.image)"
        )


def _write_one(path: Path, trajectory: Trajectory) -> None:
    write_trajectories(path, [trajectory])


def _read_one(path: Path) -> Trajectory:
    (trajectory,) = read_trajectories(path)
    return trajectory
