"""Any folder of images and videos as a source of seeds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pixelreasoner.core.errors import ConfigError, RecordError
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.tasks.datasets.known import recognised
from pixelreasoner.tasks.datasets.media_folder import media_folder
from tasks.datasets.conftest import put
from video_files import write_video


def opened(path: Path, **options):
    return media_folder(split="train", path=str(path), **options)


def test_images_and_videos_in_natural_order_from_folders_however_deep(tmp_path: Path):
    put(tmp_path, "img10.png", "img2.png", "b/a.PNG", "b/deep/10.png", ".hidden.png", ".git/x.png")
    write_video(tmp_path / "b" / "clip.mp4", 8)
    (tmp_path / "notes.txt").write_text("not media")
    tasks = opened(tmp_path, n_frames=3)
    assert tasks.kinds == ("image", "video")
    found = list(tasks.take(0, 99))
    assert [t.id for t in found] == ["b/a.PNG", "b/clip.mp4", "b/deep/10.png", "img2.png", "img10.png"]
    assert all(t.is_seed and t.cue is None for t in found)
    assert [t.kind for t in found] == ["image", "video", "image", "image", "image"]
    assert isinstance(found[0].media[0], Picture)
    assert isinstance(found[1].media[0], Video)
    assert len(found[1].media[0].frames) == 3
    assert [t.id for t in tasks.select(kind="video").take(0, 9)] == ["b/clip.mp4"]
    assert list(tasks.report.lines()) == ["1 file left out: neither an image nor a video", "  notes.txt"]


def test_a_damaged_file_shows_when_it_is_taken(tmp_path: Path):
    put(tmp_path, "a.png", "c.png")
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    tasks = opened(tmp_path)
    assert [t.id for at in (0, 2) for t in tasks.take(at, 1)] == ["a.png", "c.png"]
    with pytest.raises(RecordError, match=r"b\.jpg is a text file, not an image"):
        list(tasks.take(1, 1))


def test_a_link_to_the_folder_above_is_not_followed(tmp_path: Path):
    put(tmp_path, "in/a.png")
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    assert [t.id for t in opened(tmp_path).take(0, 9)] == ["in/a.png"]


def test_names_that_are_no_text(tmp_path: Path):
    put(tmp_path, "a.png")
    (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    (task,) = opened(tmp_path).take(0, 1)
    assert task.id == "caf?.png"


@pytest.mark.parametrize("path", ["gone", "a.txt"])
def test_only_folders_are_opened(path: str, tmp_path: Path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(RecordError, match="is no folder"):
        opened(tmp_path / path)
    with pytest.raises(RecordError, match="holds neither images nor videos"):
        opened(tmp_path)
    with pytest.raises(ConfigError, match=r"media-folder needs a folder; give it: tasks\.options\.path"):
        media_folder(split="train")


def test_a_folder_with_files_of_rows_is_not_taken_for_one_of_media(tmp_path: Path):
    put(tmp_path, "deep/a.png")
    found = recognised(tmp_path)
    assert found is not None
    assert found.name == "media-folder"
    (tmp_path / "rows.json").write_text("[]")
    assert recognised(tmp_path) is None
