"""The trajectories of a file, to be imitated: as many in memory as a budget allows, the others read again."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from pixelreasoner.chat.layout import Layout
from pixelreasoner.core.errors import MediaError, RecordError
from pixelreasoner.core.footprint import n_bytes
from pixelreasoner.core.media import decode
from pixelreasoner.core.prefetch import prefetch
from pixelreasoner.core.progress_line import tracked
from pixelreasoner.core.records import MediaFolder, is_json, read_trajectories, trajectory_from_json
from pixelreasoner.core.trajectory import Segment, Trajectory
from pixelreasoner.objectives.scored_group import ScoredGroup, imitation

DATA_BYTES = 2**30
"""Trajectories kept in memory with their layouts, in bytes."""
DECODED_AHEAD = 4
"""Trajectories whose pictures are decoded ahead of their layouts."""


class SftData:
    """One group per trajectory of a file, in its order, and the layout of each.

    A layout holds each picture at the size the model sees. What the budget has no room for is read from the
    file whenever it is asked for.
    """

    def __init__(
        self,
        path: Path,
        encode: Callable[[Trajectory], Trajectory],
        layout: Callable[[tuple[Segment, ...]], Layout],
        *,
        max_bytes: int = DATA_BYTES,
        label: str | None = None,
    ) -> None:
        """Read the file once; of what is not kept, no picture is decoded.

        Args:
            path: trajectories (JSONL), written by synthesis or by a rollout.
            encode: gives a trajectory the model's tokens.
            layout: lays segments out for the model.
            max_bytes: of the trajectories and layouts kept.
            label: what the reading is called on its progress line; None shows none.

        Raises:
            RecordError: it cannot be read, or holds no trajectory.
        """
        self._path, self._encode, self._layout = path, encode, layout
        self._media = MediaFolder(path.parent / "media")
        self._offsets = _line_offsets(path)
        # The first that fit stay: with a new order in every epoch, replacing them would gain nothing.
        self._free = max_bytes
        self._kept: list[ScoredGroup] = []
        self._layouts: dict[int, Layout] = {}
        """By the identity of a kept trajectory."""
        read = self._read_all()
        if label is not None:
            read = tracked(read, label, total=len(self._offsets))
        for trajectory in read:
            encoded = encode(trajectory)
            if self._free > 0:
                self._keep(encoded)
        if not self._offsets:
            raise RecordError(f"{path} holds no trajectories; write some with `pixelreasoner synth`")

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int, /) -> ScoredGroup:
        """The group of trajectory number `index`, from 0."""
        return self._kept[index] if index < len(self._kept) else imitation(self._encode(self._read(index)))

    def layout_of(self, trajectory: Trajectory) -> Layout:
        """The layout of a trajectory of one of the groups.

        Raises:
            MediaError: the file of a picture is damaged, or was changed or removed.
        """
        kept = self._layouts.get(id(trajectory))
        return self._layout(trajectory.segments) if kept is None else kept

    def _keep(self, trajectory: Trajectory) -> None:
        layout = self._layout(trajectory.segments)
        self._kept.append(imitation(trajectory))
        self._layouts[id(trajectory)] = layout
        self._free -= n_bytes(trajectory) + _layout_bytes(layout)

    def _read_all(self) -> Iterator[Trajectory]:
        """All trajectories, the pictures of those that may be kept decoded in a thread of its own."""

        def decoded(numbered: tuple[int, Trajectory]) -> Trajectory:
            number, trajectory = numbered
            try:
                if self._free > 0:
                    decode(trajectory.task.media)
                    for turn in trajectory.turns:
                        decode(turn.observation.images if turn.observation is not None else ())
            except MediaError as e:
                raise RecordError(f"{self._path}, trajectory {number}: {e}") from e
            return trajectory

        with (
            ThreadPoolExecutor(1) as pool,
            closing(read_trajectories(self._path, tolerate_truncation=True)) as read,
            closing(prefetch(pool, decoded, enumerate(read, start=1), ahead=DECODED_AHEAD)) as trajectories,
        ):
            yield from trajectories

    def _read(self, index: int) -> Trajectory:
        with self._path.open("rb") as file:
            file.seek(self._offsets[index])
            line = file.readline()
        return trajectory_from_json(json.loads(line), self._media.get)


def _line_offsets(path: Path) -> array[int]:
    """Where each line that holds a record begins: none in a file that is not there.

    A last line that its writer was killed in holds none.
    """
    offsets, at = array("q"), 0
    if path.is_file():
        with path.open("rb") as file:
            for line in file:
                if line.strip() and (line.endswith(b"\n") or is_json(line)):
                    offsets.append(at)
                at += len(line)
    return offsets


def _layout_bytes(layout: Layout) -> int:
    arrays = (layout.ids_T, layout.kind_T, layout.owner_T, layout.position_3T)
    pictures = {block.key: block.frames.nbytes for block in layout.blocks}
    return sum(array.nbytes for array in arrays) + sum(pictures.values())
