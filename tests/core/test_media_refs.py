"""What a killed writer of records leaves: put in order, and its pictures collected."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pixelreasoner.core.files import left_name
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import keep_image
from pixelreasoner.core.media_refs import digests_in, recover
from pixelreasoner.core.records import read_trajectories, write_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory


def noise(seed: int) -> Picture:
    return Picture(np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8))


def records(n: int) -> list[Trajectory]:
    return [Trajectory(Task(f"t{i}", "Which?", (noise(i),), ()), (), StopReason.ANSWER) for i in range(n)]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_pictures_of_a_record_that_was_never_written_are_removed_and_the_users_files_stay(tmp_path: Path):
    path, media = tmp_path / "trajectories.jsonl", tmp_path / "media"
    write_trajectories(path, records(2))
    used = names(media)
    keep_image(noise(7), media / f"{noise(7).digest}.png")
    left_name(media / f"{noise(8).digest}.png").write_bytes(b"half a picture")
    (media / "notes.txt").write_text("mine")
    write_trajectories(
        tmp_path / "other.jsonl",
        [*records(0), Trajectory(Task("o", "q", (noise(9),), ()), (), StopReason.ANSWER)],
    )
    assert recover(path) == 2
    assert names(media) == {*used, "notes.txt", f"{noise(9).digest}.png"}


def test_records_from_the_first_one_whose_picture_a_power_cut_emptied_are_made_again(tmp_path: Path):
    path = tmp_path / "trajectories.jsonl"
    write_trajectories(path, records(4))
    (tmp_path / "media" / f"{noise(2).digest}.png").write_bytes(b"")
    assert recover(path) == 2
    assert [y.task.id for y in read_trajectories(path)] == ["t0", "t1"]
    assert digests_in(path) == {noise(0).digest, noise(1).digest}
    assert names(tmp_path / "media") == {f"{noise(i).digest}.png" for i in (0, 1)}


def test_a_file_that_is_whole_stays_to_the_byte(tmp_path: Path):
    path = tmp_path / "trajectories.jsonl"
    write_trajectories(path, records(3))
    before = path.read_bytes()
    assert recover(path) == 3
    assert path.read_bytes() == before
    assert len(names(tmp_path / "media")) == 3
