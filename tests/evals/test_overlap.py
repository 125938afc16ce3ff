"""Rules of the check for overlap, on two small sets with one planted match of each kind."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Task
from pixelreasoner.evals.catalogue import Catalogue, plain_text
from pixelreasoner.evals.overlap import find_overlap, overlap_json
from pixelreasoner.evals.overlap_sources import open_side
from seed_files import make_sa_1b


def photo(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC)


def picture(image: Image.Image) -> Picture:
    return Picture(np.asarray(image))


def recompressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.crop((8, 4, 312, 236)).resize((160, 120)).save(buffer, "JPEG", quality=60)
    return Image.open(buffer)


@pytest.fixture
def catalogues() -> Iterator[tuple[Catalogue, Catalogue]]:
    a = [
        Task("a0", "How many?", (picture(photo(0)),), ("1",)),
        Task("a1", "Which colour is the car?", (picture(photo(1)),), ("red",)),
        Task("a2", "What happens?", (Video(tuple(picture(photo(s)) for s in (2, 3))),), ("x",)),
        Task("a3", "Where?", (Picture(np.full((50, 50, 3), 9, np.uint8)),), ("left",)),
        Task("a4", "Unlike?", (picture(photo(4)),), ("no",)),
    ]
    b = [
        Task("exact", "Another question", (picture(photo(0)),), ("1",), "one"),
        Task("near", "<image>\nwhich COLOUR is the car", (picture(recompressed(photo(1))),), ("red",), "one"),
        Task("frame", "What is seen?", (picture(recompressed(photo(3))),), ("x",), "two"),
        Task("flat", "Which shade?", (Picture(np.full((60, 60, 3), 9, np.uint8)),), ("dark",), "two"),
        Task("named", "Who?", (picture(photo(8)),), ("me",), "two"),
        Task("asked", "How many?", (picture(photo(9)),), ("3",), "two"),
    ]
    with Catalogue() as first, Catalogue() as second:
        first.add_all((task, frozenset({"sa_4711"} if task.id == "a4" else ())) for task in a)
        second.add_all((task, frozenset({"sa_4711"} if task.id == "named" else ())) for task in b)
        yield first, second


def test_each_planted_match_is_found_and_nothing_else(catalogues: tuple[Catalogue, Catalogue]):
    a, b = catalogues
    found = find_overlap(a, b, watch=lambda done, total: None)
    ids = {key: sorted(b.ids[at] for at in tasks) for key, tasks in found.tasks.items()}
    assert ids == {
        "exact": ["exact"],
        "near": ["frame", "near"],
        "name": ["named"],
        "question": ["asked", "near"],
    }
    assert sorted(b.ids[at] for at in found.any) == ["exact", "frame", "named", "near"]


def test_what_was_found_is_json_with_counts_by_kind(catalogues: tuple[Catalogue, Catalogue]):
    a, b = catalogues
    report = overlap_json(a, b, find_overlap(a, b, watch=lambda done, total: None), ("A", "B"))
    assert json.loads(json.dumps(report)) == report
    assert report["a"] == {"name": "A", "tasks": 5, "pictures": 6, "flat": 1}
    assert report["by_kind"] == {"one": {"tasks": 2, "any": 2}, "two": {"tasks": 4, "any": 2}}
    assert [(m["match"], m["a"], m["b"]) for m in report["pictures"][:1]] == [("exact", ["a0"], ["exact"])]
    assert report["names"] == [{"name": "sa_4711", "a": "a4", "b": "named"}]
    assert {q["question"] for q in report["questions"]} == {"how many", "which colour is the car"}


def test_a_picture_of_many_tasks_is_kept_once():
    same = picture(photo(5))
    with Catalogue() as c:
        c.add_all((Task(f"t{i}", "?", (same,), ()), frozenset()) for i in range(3))
        assert [list(owners) for owners in c.owners] == [[0, 1, 2]]


def test_questions_are_the_same_but_for_what_says_nothing():
    assert plain_text("<image> Is  it RED?") == plain_text("is it red") == "is it red"
    assert plain_text("Is it red?") != plain_text("Is it green?")


def test_sides_are_files_with_the_names_of_their_rows_folders_of_images_and_endless_sources(tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    photo(0).save(tmp_path / "pictures" / "sa_223750.png")
    row = {"question": "Which?", "images": ["pictures/sa_223750.png"], "answers": ["a"]}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row) + "\n")
    for name in ("mine.jsonl", "pictures"):
        side = open_side(str(tmp_path / name))
        assert [("sa_223750" in names, len(task.media)) for task, names in side.tasks()] == [(True, 1)]
        assert side.task(0).media == (picture(photo(0)),)
    (_, names), *_ = open_side(str(tmp_path / "mine.jsonl")).tasks()
    assert names == {"sa_223750"}  # not the id that the file gives its rows
    endless = open_side("pixelworld", limit=3)
    assert (endless.size, endless.endless, len(list(endless.tasks()))) == (3, True, 3)


def test_seeds_are_a_side_with_the_names_of_their_pictures(tmp_path: Path):
    """V* Bench is made of pictures of SA-1B, which come in archives."""
    make_sa_1b(tmp_path / "packed", 2, shards=1)
    make_sa_1b(tmp_path / "unpacked", 2, shards=1, packed=False)
    for name in ("packed", "unpacked"):
        tasks = [task for task, _ in open_side(str(tmp_path / name)).tasks()]
        assert [task.id for task in tasks] == ["sa_1", "sa_2"]
        assert all(task.is_seed for task in tasks)
