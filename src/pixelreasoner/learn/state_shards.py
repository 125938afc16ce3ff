"""The tensors of a state that are split over processes, on disk: `torch.distributed.checkpoint`.

Each process writes its parts, and any number of processes reads them back, each the parts that it is to hold.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint import CheckpointException, FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Shard
from torch.distributed.tensor import zeros as split_zeros

from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.files import remove_folder
from pixelreasoner.learn.processes import Processes

FOLDER = "shards"
"""Of the parts of a state, with a number behind it."""
METADATA_FILE = ".metadata"


def write_shards(folder: Path, tensors: Mapping[str, Tensor], processes: Processes) -> None:
    """Write this process's parts into a new folder; all processes call it together.

    Raises:
        CheckpointError: one of them cannot be written.
    """
    with _explained(folder, "written; make room, or check the permissions of its folder"):
        dcp.save(dict(tensors), checkpoint_id=folder, no_dist=processes.size == 1)


def read_shards(folder: Path, tensors: Mapping[str, Tensor], processes: Processes) -> None:
    """Fill tensors, whole or split, with what was written under their names; all processes call it together.

    Raises:
        CheckpointError: the folder is damaged, or lacks one of them.
    """
    remedy = "read; delete the state beside it to start the run afresh"
    with processes.agreed(), _explained(folder, remedy):
        _Reader(folder).read_metadata()  # of a table that is damaged torch would say little
    with _explained(folder, remedy), warnings.catch_warnings():
        # With one process torch says that it takes it for one.
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        dcp.load(dict(tensors), storage_reader=_Reader(folder), no_dist=processes.size == 1)


def mesh_of(processes: Processes) -> DeviceMesh | None:
    """Over which tensors in CPU memory are split; None with one process."""
    return None if processes.size == 1 else init_device_mesh("cpu", (processes.size,))


def empty_tensor(shape: tuple[int, ...], dtype: str, mesh: DeviceMesh | None) -> Tensor:
    """What `read_shards` fills: whole without a mesh, else split along the first dimension."""
    kind = getattr(torch, dtype)
    if mesh is None:
        return torch.zeros(shape, dtype=kind)
    return split_zeros(*shape, dtype=kind, device_mesh=mesh, placements=[Shard(0)])


def next_folder(beside: Path) -> str:
    """The name of a folder for shards that is not there yet."""
    taken = [int(path.name.rpartition("-")[2]) for path in shard_folders(beside)]
    return f"{FOLDER}-{max(taken, default=0) + 1}"


def remove_shards(beside: Path, *, but: str | None) -> None:
    """Remove all folders of shards except one: those of older states, and of one that was not finished."""
    for path in shard_folders(beside):
        if path.name != but:
            remove_folder(path)


def shard_folders(beside: Path) -> list[Path]:
    """The folders of shards beside a state."""
    found = beside.parent.glob(f"{FOLDER}-*")
    return [path for path in found if path.name.rpartition("-")[2].isdigit()]


_EXPECTED = (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError)


@contextmanager
def _explained(folder: Path, remedy: str) -> Generator[None]:
    """What goes wrong within torch, on any process, in one sentence."""
    try:
        yield
    except CheckpointException as e:  # of any process, raised on all; no Exception
        causes = [failure[0] for failure in e.failures.values()]
        if not all(isinstance(cause, _EXPECTED) for cause in causes):
            raise
        raise _error(folder, causes[0], remedy) from e
    except _EXPECTED as e:
        raise _error(folder, e, remedy) from e


def _error(folder: Path, cause: BaseException, remedy: str) -> CheckpointError:
    reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    return CheckpointError(f"{folder} ({reason}) cannot be {remedy}")


class _Reader(FileSystemReader):
    """Reads the table of the parts without running code: only classes of numbers and names are made."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The table, as torch reads it."""
        with (Path(self.path) / METADATA_FILE).open("rb") as file:
            metadata = _Unpickler(file).load()
        if getattr(metadata, "storage_meta", None) is None:
            metadata.storage_meta = StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _Unpickler(pickle.Unpickler):
    _NAMES = frozenset(
        {
            ("torch", "Size"),
            ("torch.serialization", "_get_layout"),
            ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
            ("pathlib", "PosixPath"),
            ("pathlib", "WindowsPath"),
            ("pathlib._local", "PosixPath"),
            ("pathlib._local", "WindowsPath"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if module == Metadata.__module__ or (module, name) in self._NAMES:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no state holds")
