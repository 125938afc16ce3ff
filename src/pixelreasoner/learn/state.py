"""The state of a training run on disk: everything an exact resume needs, written atomically.

It holds tensors, numbers and text. Groups are in it as JSON records (`core.records`), and name their pictures
by digest; the pictures are files in `media/` beside it. Tensors that are split over processes are in a folder
`shards-<number>` beside it, which the state names; any number of processes reads them (`learn.state_shards`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from pickle import UnpicklingError
from sys import intern
from typing import Any, cast

import numpy as np
import torch
from torch.distributed.tensor import DTensor

from pixelreasoner.core.errors import CheckpointError, MediaError, RecordError
from pixelreasoner.core.files import remove_left, replacing, writing
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_refs import MEDIA_FOLDER, pictures_in, remove_unused
from pixelreasoner.core.records import MediaFolder, trajectory_from_json, trajectory_to_json
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.learn.processes import ONE_PROCESS, Processes
from pixelreasoner.learn.state_shards import (
    empty_tensor,
    mesh_of,
    next_folder,
    read_shards,
    remove_shards,
    write_shards,
)
from pixelreasoner.objectives.scored_group import ScoredGroup

STATE_FORMAT = 3
"""Rises when a state written before can no longer be read."""

_GROUP = "pixelreasoner.scored_group"
_SHARD = "pixelreasoner.shard"
_SHARD_FOLDER = "shards"
_SCHEMA = "schema"
"""The key that marks a record."""


def save_state(path: Path, state: Mapping[str, Any], processes: Processes = ONE_PROCESS) -> None:
    """Write the state so that a kill at any moment leaves the old one or the new one, never a torn one.

    Several processes call it together, each with its parts of the tensors; the main one writes the rest.

    Raises:
        CheckpointError: it cannot be written.
        MediaError: a picture cannot be written, or its file is not there any more.
    """
    pictures: list[Picture] = []
    shards: dict[str, torch.Tensor] = {}
    plain = _encode({"format": STATE_FORMAT, **state}, pictures.append, shards)
    folder: str | None = None
    if shards:
        folder = plain[_SHARD_FOLDER] = processes.broadcast(next_folder(path))
        write_shards(path.parent / folder, shards, processes)

    def write() -> None:
        _media(path).put(*pictures)  # first: a state that can be read never names a picture that is not there
        with replacing(path, CheckpointError) as file, writing(path, CheckpointError):
            torch.save(plain, file)
        _remove_old_pictures(path.parent, {picture.digest for picture in pictures})
        remove_shards(path, but=folder)

    processes.on_main(write)


def _remove_old_pictures(folder: Path, used: set[str]) -> None:
    """Remove the pictures that only the state before referred to."""
    with writing(folder, CheckpointError):
        remove_left(folder / MEDIA_FOLDER)
        remove_unused(folder, pictures_in(folder / MEDIA_FOLDER), used)


def load_state(path: Path, processes: Processes = ONE_PROCESS) -> dict[str, Any] | None:
    """Read a state that this project wrote; None where there is none. It cannot run code.

    Several processes call it together, and see the same file. Tensors that were split when they were written
    are split over those that there are now, in the memory of the CPU, and whole with one process.

    Raises:
        CheckpointError: it cannot be read, or another version of the package wrote it.
    """
    if not path.exists():
        return None
    try:
        # Mapped: of whole tensors, each of several processes reads its part.
        state = torch.load(path, weights_only=True, map_location="cpu", mmap=processes.size > 1)
    except UnpicklingError as e:
        if _holds_objects(path):  # as those of earlier versions
            raise _of_another_version(path) from e
        raise _unreadable(path, e) from e
    except (OSError, RuntimeError, EOFError, ValueError) as e:
        raise _unreadable(path, e) from e
    if state.pop("format", 1) != STATE_FORMAT:
        raise _of_another_version(path)
    folder: str | None = state.pop(_SHARD_FOLDER, None)
    shards = _Shards(processes)
    try:
        found = _decode(state, _media(path), shards)
    except (MediaError, RecordError) as e:
        raise _unreadable(path, e) from e
    if folder is not None:
        read_shards(path.parent / Path(folder).name, shards.tensors, processes)
    return found


class _Shards:
    """The tensors of a state that are read from shards, by their names there."""

    def __init__(self, processes: Processes) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self._mesh = mesh_of(processes)

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
        """One to be filled later."""
        return self.tensors.setdefault(name, empty_tensor(shape, dtype, self._mesh))


def _media(path: Path) -> MediaFolder:
    return MediaFolder(path.parent / MEDIA_FOLDER)


def _encode(value: Any, put: Callable[[Picture], object], shards: dict[str, torch.Tensor]) -> Any:
    """The value without objects that are not tensors, numbers, text, or containers of them.

    Pictures and tensors that are split are handed over, and named in it.
    """
    match value:
        case DTensor():
            name = str(len(shards))
            shards[name] = value.detach()
            dtype = str(value.dtype).removeprefix("torch.")
            return {_SCHEMA: _SHARD, "name": name, "shape": tuple(value.shape), "dtype": dtype}
        case np.generic():  # some are floats too
            return value.item()
        case str():
            return intern(str(value))  # equal strings are one object: then equal states are the same bytes
        case None | bool() | int() | float() | bytes() | torch.Tensor():
            return value
        case Trajectory():
            return trajectory_to_json(value, put)
        case ScoredGroup():
            parts = {f.name: _encode(getattr(value, f.name), put, shards) for f in fields(value)}
            return {_SCHEMA: _GROUP, **parts}
        case Mapping():
            items = cast(Mapping[Any, Any], value).items()
            return {_encode(key, put, shards): _encode(item, put, shards) for key, item in items}
        case list():
            return [_encode(item, put, shards) for item in cast(list[Any], value)]
        case tuple():
            return tuple(_encode(item, put, shards) for item in cast(tuple[Any, ...], value))
        case _:
            raise TypeError(f"a state holds no {type(value).__name__}; give it as numbers, text and tensors")


def _decode(value: Any, media: MediaFolder, shards: _Shards) -> Any:
    match value:
        case {"schema": str(schema), "name": name, "shape": shape, "dtype": dtype} if schema == _SHARD:
            return shards.tensor(name, shape, dtype)
        case {"schema": str(schema)} if schema == _GROUP:
            parts = {key: _decode(item, media, shards) for key, item in value.items() if key != _SCHEMA}
            return ScoredGroup(**parts)
        case {"schema": str()}:
            return trajectory_from_json(value, media.get)
        case dict():
            return {key: _decode(item, media, shards) for key, item in cast(dict[Any, Any], value).items()}
        case list():
            return [_decode(item, media, shards) for item in cast(list[Any], value)]
        case tuple():
            return tuple(_decode(item, media, shards) for item in cast(tuple[Any, ...], value))
        case _:
            return value


def _holds_objects(path: Path) -> bool:
    """Whether the file holds objects of classes that are loaded by no state of this version."""
    try:
        return bool(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError):
        return False


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return CheckpointError(f"{path} cannot be read ({reason}); delete it to start the run afresh")


def _of_another_version(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} was written by another version of pixelreasoner; finish the run with that version, "
        f"or choose another --out"
    )
