"""SA-1B's archives and folders as a source of seeds."""

from __future__ import annotations

import json
import pickle
import tarfile
import tracemalloc
from itertools import repeat
from pathlib import Path

import pytest

from pixelreasoner.core.errors import ConfigError, RecordError
from pixelreasoner.core.geometry import Size
from pixelreasoner.tasks.config import TasksConfig, build_tasks
from pixelreasoner.tasks.datasets import sa_shards
from pixelreasoner.tasks.datasets.report import LoadReport
from pixelreasoner.tasks.datasets.sa_1b import sa_1b
from pixelreasoner.tasks.datasets.seeds import SeedTasks
from pixelreasoner.tasks.source import TaskLabel
from seed_files import SA_SIZE, make_sa_1b, sa_mask, write_tar


@pytest.fixture(autouse=True)
def fresh():
    sa_shards.index_of.cache_clear()


def opened(path: Path, **options) -> SeedTasks:
    return sa_1b(split="train", path=str(path), **options)


def files_of(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {Path(m.name).name: tar.extractfile(m).read() for m in tar}


def test_seeds_have_a_picture_and_candidates_and_no_question(tmp_path: Path):
    made = make_sa_1b(tmp_path, 9, shards=2)
    tasks = opened(tmp_path)
    assert (tasks.size, tasks.kinds, tasks.needs("sa-1b")) == (9, ("sa-1b",), {None})
    assert tasks.report.summary.endswith(": 9 pictures")
    for task, picture in zip(tasks.take(0, 99), made, strict=True):
        assert (task.id, task.question, task.answers, task.is_seed) == (picture.name, "", (), True)
        assert task.media[0].size == Size(*SA_SIZE)
        assert task.cue is not None
        assert task.cue.box is None
        # The signs first, by their letters; the plain plates after them. Nothing else is a candidate.
        found = [(box.x1, box.y1, box.x2, box.y2) for box in task.cue.boxes]
        signs = sorted(picture.signs, key=lambda sign: -len(sign.word))
        assert len(found) == 4
        assert {*found[:2]} == {sign.box for sign in signs}
        assert {*found[2:]} == {*picture.plates}
        if len(signs[0].word) > len(signs[1].word):
            assert found[0] == signs[0].box


def test_archives_and_folders_hold_the_same_and_nothing_is_unpacked(tmp_path: Path):
    for name, packed in (("tars", True), ("folders", False)):
        make_sa_1b(tmp_path / name, 6, shards=2, packed=packed)
    before = sorted(tmp_path.rglob("*"))
    packed, unpacked = opened(tmp_path / "tars"), opened(tmp_path / "folders")
    assert list(packed.take(0, 9)) == list(unpacked.take(0, 9))
    assert sorted(tmp_path.rglob("*")) == before
    one = opened(tmp_path / "tars" / "sa_000001.tar")
    assert [t.id for t in one.take(0, 9)] == ["sa_4", "sa_5", "sa_6"]


def test_positions_stay_in_any_order_selection_and_process(tmp_path: Path):
    make_sa_1b(tmp_path, 7, shards=3)
    tasks = opened(tmp_path)
    ids = [t.id for t in tasks.take(0, 9)]
    assert [t.id for t in tasks.reordered([6, 0, 3]).take(0, 9)] == ["sa_7", "sa_1", "sa_4"]
    assert [t.id for t in tasks.select(kind="sa-1b").take(2, 2)] == ids[2:4]
    again = pickle.loads(pickle.dumps(tasks))
    assert [t.id for t in again.take(5, 1)] == [ids[5]]


def test_shards_come_in_natural_order(tmp_path: Path):
    make_sa_1b(tmp_path, 3, shards=3)
    for i in range(3):
        (tmp_path / f"sa_{i:06d}.tar").rename(tmp_path / f"sa_{8 + i}.tar")
    assert [t.id for t in opened(tmp_path).take(0, 9)] == ["sa_1", "sa_2", "sa_3"]


def test_what_is_not_a_pair_is_left_out_and_counted(tmp_path: Path):
    make_sa_1b(tmp_path, 4, shards=1)
    archive = tmp_path / "sa_000000.tar"
    files = files_of(archive)
    del files["sa_2.json"], files["sa_3.jpg"]
    write_tar(archive, {**files, "LICENSE": b"research"})
    tasks = opened(tmp_path)
    assert [t.id for t in tasks.take(0, 9)] == ["sa_1", "sa_4"]
    assert list(tasks.report.lines()) == [
        "1 picture left out: a picture without annotations",
        f"  {archive}, sa_2.jpg",
        "1 picture left out: annotations without their picture",
        f"  {archive}, sa_3.json",
    ]


def test_an_archive_is_looked_through_once(tmp_path: Path, monkeypatch):
    make_sa_1b(tmp_path, 4, shards=2)
    ids = [t.id for t in opened(tmp_path).take(0, 9)]
    sa_shards.index_of.cache_clear()
    monkeypatch.setattr(tarfile, "open", None)  # another process finds the places kept, and needs no tarfile
    assert [t.id for t in opened(tmp_path).take(0, 9)] == ids


def test_of_an_archive_only_what_is_taken_is_read(tmp_path: Path):
    make_sa_1b(tmp_path, 4, shards=1)
    archive = tmp_path / "sa_000000.tar"
    tasks = opened(tmp_path)
    first, second = sa_shards.TarShard(archive).index().entries[:2]
    with archive.open("r+b") as file:
        file.seek(int(second[1]))
        file.write(b"\0" * int(second[2]))
    assert [t.id for t in tasks.take(0, 1)] == ["sa_1"]
    with pytest.raises(RecordError, match=r"sa_000000\.tar, sa_2: .*sa_2\.jpg in .*is no image"):
        list(tasks.take(1, 1))
    assert [t.id for t in tasks.take(2, 2)] == ["sa_3", "sa_4"]
    assert first[0] == 1


def test_an_archive_that_is_cut_off_is_named(tmp_path: Path):
    make_sa_1b(tmp_path, 4, shards=1)
    archive = tmp_path / "sa_000000.tar"
    archive.write_bytes(archive.read_bytes()[:20_000])
    with pytest.raises(RecordError, match=r"sa_000000\.tar is no whole tar archive .*fetch it again"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "another form than SA-1B's"),
        (b'{"image": {"width": 640, "height": 480}}', r"another form .*KeyError: 'annotations'"),
        (
            json.dumps({"image": {"width": 64, "height": 48}, "annotations": []}).encode(),
            "are of a picture of 64x48, and it has 640x480; the two files do not belong together",
        ),
    ],
)
def test_wrong_annotations_show_when_the_seed_is_taken(content: bytes, message: str, tmp_path: Path):
    make_sa_1b(tmp_path, 2, shards=1, packed=False)
    (tmp_path / "sa_000000" / "sa_1.json").write_bytes(content)
    tasks = opened(tmp_path)
    with pytest.raises(RecordError, match=rf"sa_000000, sa_1: .*{message}"):
        list(tasks.take(0, 1))
    assert [t.id for t in tasks.take(1, 1)] == ["sa_2"]


def test_a_picture_without_a_candidate_is_a_seed_all_the_same(tmp_path: Path):
    make_sa_1b(tmp_path, 1, shards=1, packed=False)
    path = tmp_path / "sa_000000" / "sa_1.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "annotations": [sa_mask((0, 0, 640, 480))]}))
    (task,) = opened(tmp_path).take(0, 1)
    assert (task.is_seed, task.cue) == (True, None)


def test_a_picture_that_is_there_twice_is_refused(tmp_path: Path):
    make_sa_1b(tmp_path, 4, shards=2)
    for name, content in files_of(tmp_path / "sa_000001.tar").items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=r"sa_3 is in .* and in .*sa_000001\.tar; keep .*2 pictures"):
        opened(tmp_path)


def test_a_folder_without_pictures_is_refused(tmp_path: Path):
    with pytest.raises(RecordError, match=r"no picture with annotations\nit has no sa_\*\.jpg"):
        opened(tmp_path)


def test_options_are_checked(tmp_path: Path):
    make_sa_1b(tmp_path, 1, shards=1)
    (task,) = opened(tmp_path, candidates=1).take(0, 1)
    assert len(task.cue.boxes) == 1
    assert opened(tmp_path, most_share=0.02).take(0, 1).__next__().cue is None  # a sign takes 0.047
    with pytest.raises(ConfigError, match=r"least_share is 0\.5 and most_share 0\.1"):
        opened(tmp_path, least_share=0.5)
    for wrong in ({"candidates": 0}, {"most_share": 1.5}, {"choices": 3}):
        config = TasksConfig(source="sa-1b", options={"path": str(tmp_path), **wrong})
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            build_tasks(config, seeds=True)


def test_an_index_holds_no_object_for_a_picture():
    n = 200_000
    tracemalloc.start()
    tasks = SeedTasks(repeat(TaskLabel("sa-1b", is_seed=True), n), lambda _: iter(()), LoadReport("x"))
    selected = tasks.select(kind="sa-1b")
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tasks.size, selected.size) == (n, n)
    assert used < 4 * n  # three bytes for each, and what the arrays keep free for more
