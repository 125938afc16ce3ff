"""The files of a run, cut where a kill left them: at any byte, the slots that were whole stay."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_refs import pictures_in
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.run_folder import RunFolder
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory
from pixelreasoner.synth.journal import Finished, Journal, filled, finished
from pixelreasoner.synth.made import Made, Rejection


def trajectory(number: int) -> Trajectory:
    picture = Picture(np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8))
    return Trajectory(
        Task(f"t{number}", "Which?", (picture,), ("A",)), (), StopReason.ANSWER, source="text_only"
    )


def slot(number: int) -> Made:
    """Slots 0 and 3 have a rejection, of 3 nothing else came; slot 1 has two, one with a trajectory."""
    rejected = Rejection(number, f"no{number}", "write", "the model refused", "No.")
    match number:
        case 0:
            return Made(0, trajectory(0), (rejected,))
        case 1:
            return Made(
                1, trajectory(1), (rejected, Rejection(9, "r1", "judge", "impossible", "", trajectory(100)))
            )
        case 3:
            return Made(3, None, (rejected,))
        case _:
            return Made(number, trajectory(number))


def write(folder: Path, *numbers: int) -> Journal:
    journal = Journal(RunFolder(folder))
    for number in numbers:
        journal.put(finished(slot(number), folder))
    journal.close()
    return journal


def lines(folder: Path, name: str) -> list[str]:
    return (folder / name).read_text().splitlines()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_written_is_in_order_and_counted(tmp_path: Path):
    journal = write(tmp_path, 2, 0, 1, 4, 3)
    assert (journal.slots, journal.done, journal.rejections) == (5, 5, 4)
    made = [json.loads(line)["task"]["id"] for line in lines(tmp_path, "trajectories.jsonl")]
    assert made == ["t0", "t1", "t2", "t4"]
    rows = [json.loads(line) for line in lines(tmp_path, "rejections.jsonl")]
    assert [(r["slot"], r["task"], r.get("trajectory")) for r in rows] == [
        (0, "no0", None),
        (1, "no1", None),
        (1, "r1", 0),
        (3, "no3", None),
    ]
    assert list(filled(RunFolder(tmp_path))) == [True, True, True, False, True]
    assert not list((tmp_path / "waiting").iterdir())


def test_rejections_are_counted_by_stage_also_those_of_slots_that_wait(tmp_path: Path):
    write(tmp_path, 1, 3)
    journal = Journal(RunFolder(tmp_path))
    assert (journal.slots, journal.rejected()) == (0, {"write": 2, "judge": 1})
    journal.put(finished(slot(0), tmp_path))
    assert (journal.slots, journal.rejected()) == (2, {"write": 3, "judge": 1})
    journal.close()


@pytest.mark.parametrize(
    "name", ["trajectories.jsonl", "rejections.jsonl", "rejected/trajectories.jsonl", "journal.jsonl"]
)
def test_a_file_that_was_cut_at_any_byte_is_mended(tmp_path: Path, name: str):
    write(tmp_path / "whole", 0, 1, 2, 3, 4)
    wanted = contents(tmp_path / "whole")
    size = len(wanted[name])
    for kept in sorted({0, 1, size // 4, size // 2, size - 30, size - 1, size} - {-30}):
        if kept < 0:
            continue
        folder = tmp_path / f"cut-{kept}"
        write(folder, 0, 1, 2, 3, 4)
        with (folder / name).open("r+b") as file:
            file.truncate(kept)
        journal = Journal(RunFolder(folder))
        first = journal.slots
        journal.close()
        write(folder, *range(first, 5))
        assert contents(folder) == wanted, (name, kept)


def test_what_a_killed_writer_left_beyond_the_journal_is_cut_off(tmp_path: Path):
    write(tmp_path / "whole", 0, 1)
    write(tmp_path / "killed", 0)
    finished(slot(1), tmp_path / "killed")  # its pictures, and no line
    for name in ("trajectories.jsonl", "rejections.jsonl", "rejected/trajectories.jsonl"):
        with (tmp_path / "killed" / name).open("ab") as file:
            file.write(b'{"schema": "pixelreasoner.traj')
    journal = Journal(RunFolder(tmp_path / "killed"))
    assert journal.slots == 1
    assert set(pictures_in(tmp_path / "killed" / "media")) == {trajectory(0).task.media[0].digest}
    assert not pictures_in(tmp_path / "killed" / "rejected" / "media")
    journal.close()
    write(tmp_path / "killed", 1)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_slot_that_waits_keeps_its_pictures_over_a_kill(tmp_path: Path):
    write(tmp_path, 1, 2)
    assert not (tmp_path / "trajectories.jsonl").read_bytes()
    journal = Journal(RunFolder(tmp_path))
    assert (journal.slots, journal.done, 1 in journal.waiting, 2 in journal.waiting) == (0, 2, True, True)
    journal.put(finished(slot(0), tmp_path))
    journal.close()
    write(tmp_path / "whole", 0, 1, 2)
    mine, wanted = contents(tmp_path), contents(tmp_path / "whole")
    assert {name: mine[name] for name in wanted} == wanted


def test_an_empty_picture_after_a_power_cut_takes_its_slot_with_it(tmp_path: Path):
    write(tmp_path, 0, 1, 2)
    write(tmp_path, 4)
    for number in (1, 4):
        (tmp_path / "media" / f"{trajectory(number).task.media[0].digest}.png").write_bytes(b"")
    journal = Journal(RunFolder(tmp_path))
    assert (journal.slots, 4 in journal.waiting) == (1, False)
    journal.close()
    write(tmp_path, 1, 2, 3, 4)
    write(tmp_path / "whole", 0, 1, 2, 3, 4)
    mine, wanted = contents(tmp_path), contents(tmp_path / "whole")
    assert {name: mine[name] for name in wanted} == wanted


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path):
    write_trajectories(tmp_path / "trajectories.jsonl", [trajectory(0), trajectory(1)])
    with (tmp_path / "trajectories.jsonl").open("ab") as file:
        file.write(b'{"schema": "pixelreasoner.traj')
    journal = Journal(RunFolder(tmp_path))
    assert journal.slots == 2
    journal.put(Finished(2, "{}", ()))
    journal.close()
    assert list(filled(RunFolder(tmp_path))) == [True, True, True]
    assert len((tmp_path / "trajectories.jsonl").read_bytes().splitlines()) == 3
