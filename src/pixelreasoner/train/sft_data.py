"""The trajectories of a file, to be imitated: tokens of all in memory, layouts as far as a budget allows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pixelreasoner.chat.layout import Layout
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.records import MediaFolder, read_trajectories, trajectory_from_json
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment, Trajectory, Turn
from pixelreasoner.objectives.scored_group import ScoredGroup, imitation

LAYOUT_BYTES = 4 * 2**30
"""Layouts kept, in bytes. They hold each picture at the size the model sees."""


class SftData:
    """One group per trajectory of a file, and the layout of each.

    The groups hold tokens and no pictures: the originals of a whole file would fill the memory. A layout that
    is not kept is made again from the file.
    """

    def __init__(
        self,
        path: Path,
        encode: Callable[[Trajectory], Trajectory],
        layout: Callable[[tuple[Segment, ...]], Layout],
        *,
        max_bytes: int = LAYOUT_BYTES,
    ) -> None:
        """Read the file once.

        Args:
            path: trajectories (JSONL), written by synthesis or by a rollout.
            encode: gives a trajectory the model's tokens.
            layout: lays segments out for the model.
            max_bytes: of the layouts kept.

        Raises:
            RecordError: it cannot be read, or holds no trajectory.
        """
        self._path, self._encode, self._layout = path, encode, layout
        self._offsets = _line_offsets(path)
        self.groups: list[ScoredGroup] = []
        self._index: dict[int, int] = {}
        self._kept: dict[int, Layout] = {}
        n_bytes = 0
        for index, trajectory in enumerate(read_trajectories(path)):
            encoded = encode(trajectory)
            light = without_media(encoded)
            self.groups.append(imitation(light))
            self._index[id(light)] = index
            # The first that fit stay: with a new order in every epoch, replacing them would gain nothing.
            if n_bytes < max_bytes:
                self._kept[index] = layout(encoded.segments)
                n_bytes += _n_bytes(self._kept[index])
        if not self.groups:
            raise RecordError(f"{path} holds no trajectories; write some with `pixelreasoner synth`")

    def __len__(self) -> int:
        return len(self.groups)

    def layout_of(self, trajectory: Trajectory) -> Layout:
        """The layout of a trajectory of one of the groups."""
        index = self._index[id(trajectory)]
        kept = self._kept.get(index)
        return self._layout(self._encode(self._read(index)).segments) if kept is None else kept

    def _read(self, index: int) -> Trajectory:
        with self._path.open("rb") as file:
            file.seek(self._offsets[index])
            line = file.readline()
        return trajectory_from_json(json.loads(line), MediaFolder(self._path.parent / "media").get)


def without_media(trajectory: Trajectory) -> Trajectory:
    """What an objective reads of a trajectory: its tokens, and which of them are masked."""

    def tokens(segment: Segment | None) -> Segment | None:
        return None if segment is None else replace(segment, media=())

    return Trajectory(
        task=Task(trajectory.task.id, "", (), ()),
        turns=tuple(
            Turn("", sampled=tokens(turn.sampled), observed=tokens(turn.observed))
            for turn in trajectory.turns
        ),
        stop=trajectory.stop,
        prompt=tokens(trajectory.prompt),
        fingerprint=trajectory.fingerprint,
        coordinates=trajectory.coordinates,
    )


def _line_offsets(path: Path) -> list[int]:
    """Where each line that is not blank begins; empty for a file that is not there."""
    offsets: list[int] = []
    at = 0
    if path.is_file():
        with path.open("rb") as file:
            for line in file:
                if line.strip():
                    offsets.append(at)
                at += len(line)
    return offsets


def _n_bytes(layout: Layout) -> int:
    arrays = (layout.ids_T, layout.kind_T, layout.owner_T, layout.position_3T)
    pictures = {block.key: block.frames.nbytes for block in layout.blocks}
    return sum(array.nbytes for array in arrays) + sum(pictures.values())
