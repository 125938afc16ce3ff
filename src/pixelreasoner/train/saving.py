"""What a training run saves on its way: its state, numbered checkpoints, batches it could not learn from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from pixelreasoner.core.errors import ConfigError, NonFiniteError
from pixelreasoner.core.files import remove_folder
from pixelreasoner.core.rollout_log import batch_file, save_batch
from pixelreasoner.core.run_folder import RunFolder
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.learn.learner import Learner
from pixelreasoner.learn.processes import ONE_PROCESS, Processes
from pixelreasoner.learn.state import load_state, save_state


class Trainer(Protocol):
    """What can be saved."""

    step: int
    steps: int
    """Of the whole run."""
    learner: Learner

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def restore(trainer: Trainer, folder: RunFolder, *, keep: int, processes: Processes = ONE_PROCESS) -> None:
    """Go on from the state in the folder, if there is one, whatever number of processes has written it.

    Numbered checkpoints of later steps are removed, and all but the last `keep` of the others.

    Raises:
        CheckpointError: the state cannot be used.
        ConfigError: more steps were done than the run is to have.
    """
    state = load_state(folder.state, processes)
    if state is not None:
        trainer.load_state_dict(state)
    if trainer.step > trainer.steps:
        raise ConfigError(
            f"{folder.path} has done {trainer.step} steps, and {trainer.steps} are fewer; "
            f"resume with more, or start another run from one of its checkpoints"
        )
    processes.on_main(lambda: _remove_checkpoints(folder, after=trainer.step, keep=keep))


def save_progress(
    trainer: Trainer, folder: RunFolder, *, keep: int, processes: Processes = ONE_PROCESS
) -> None:
    """Write the checkpoint of this step, then the state, then remove all but the last `keep` checkpoints.

    A kill at any moment leaves a state, and the checkpoints up to it.

    Raises:
        CheckpointError: the checkpoint cannot be written.
    """
    if keep:
        trainer.learner.save(folder.checkpoint(trainer.step))
    save_state(folder.state, trainer.state_dict(), processes)
    processes.on_main(lambda: _remove_checkpoints(folder, after=trainer.step, keep=keep))


def save_result(trainer: Trainer, folder: RunFolder, processes: Processes = ONE_PROCESS) -> None:
    """Write the last state, then the trained checkpoint.

    Raises:
        CheckpointError: one of them cannot be written.
    """
    save_state(folder.state, trainer.state_dict(), processes)
    trainer.learner.save(folder.model)


def _remove_checkpoints(folder: RunFolder, *, after: int, keep: int) -> None:
    """Remove those of later steps, and all but the last `keep` of the others."""
    for step, path in folder.checkpoints().items():
        if step > after:
            remove_folder(path)
    saved = list(folder.checkpoints().values())
    for path in saved[: max(0, len(saved) - keep)]:
        remove_folder(path)


def non_finite(
    error: NonFiniteError,
    folder: RunFolder,
    step: int,
    batch: Iterable[Trajectory],
    processes: Processes = ONE_PROCESS,
) -> NonFiniteError:
    """The error that ends a run: names the step, and the file that its batch is written to.

    Several processes call it together, with the same batch.
    """
    path = batch_file(folder.rollouts, step)
    processes.on_main(lambda: save_batch(folder.rollouts, step, batch))
    checkpoints = [str(saved) for saved in folder.checkpoints().values()]
    start = f"model.checkpoint={checkpoints[-1]}" if checkpoints else "the checkpoint it started from"
    again = "--resume goes on from the last saved step" if folder.state.exists() else "nothing was saved yet"
    return NonFiniteError(
        f"step {step}: {error}. Its batch is in {path} (look at it with `pixelreasoner show`). {again}; "
        f"for other settings, such as a smaller optim.lr, start another run from {start}"
    )


def keep_skipped(
    n: float,
    folder: RunFolder,
    step: int,
    batch: Iterable[Trajectory],
    processes: Processes = ONE_PROCESS,
) -> str:
    """Write the batch of a step of which `n` optimiser steps were skipped; returns what to say of it.

    Several processes call it together, with the same batch.
    """
    processes.on_main(lambda: save_batch(folder.rollouts, step, batch))
    steps = "an optimiser step was" if n == 1 else f"{n:.0f} optimiser steps were"
    return (
        f"step {step}: {steps} skipped, the loss or the gradient norm is not finite; "
        f"the batch is in {batch_file(folder.rollouts, step)}"
    )
