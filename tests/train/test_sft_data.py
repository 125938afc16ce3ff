"""Trajectories and layouts come from memory or, beyond the budget, from the file; both are the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.chat.encode import encode_trajectory
from pixelreasoner.core import media
from pixelreasoner.core.byte_cache import ByteCache
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.media import pictures_of
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.objectives.loss_mask import loss_mask
from pixelreasoner.objectives.scored_group import ScoredGroup
from pixelreasoner.train.sft_data import SftData


@pytest.fixture
def trajectories(picture) -> list[Trajectory]:
    """Words of a teacher, without tokens; the second one crops, and its crop was deliberately wrong."""
    crop = Turn("Closer.", observation=Observation("Image 2:", (picture(16, 24),)), masked=(0, 3))
    return [
        Trajectory(Task("a", "Which?", (picture(40, 24),), ("K",)), (Turn("It is K."),), StopReason.ANSWER),
        Trajectory(
            Task("b", "Which?", (picture(24, 24, 1),), ("7",)), (crop, Turn("It reads 7.")), StopReason.ANSWER
        ),
    ]


@pytest.fixture
def data(tmp_path, renderer, trajectories):
    path = tmp_path / "data.jsonl"
    write_trajectories(path, trajectories)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\n", 1))  # blank lines are skipped

    def load(**options) -> SftData:
        return SftData(path, lambda y: encode_trajectory(y, renderer, ()), renderer.layout, **options)

    return load


def groups_of(data: SftData) -> list[ScoredGroup]:
    return [data[i] for i in range(len(data))]


@pytest.mark.parametrize("max_bytes", [2**30, 1, 0])
def test_groups_hold_the_trajectories_of_the_file_and_no_pixels(data, renderer, trajectories, max_bytes):
    loaded = data(max_bytes=max_bytes)
    assert len(loaded) == 2
    for group, trajectory in zip(groups_of(loaded), trajectories, strict=True):
        (found,) = group.trajectories
        encoded = encode_trajectory(trajectory, renderer, ())
        assert found == encoded
        assert group.advantages == (1.0,)
        assert loss_mask(found).tolist() == loss_mask(encoded).tolist()
        assert all(p.n_bytes == 0 for s in found.segments for p in pictures_of(s.media))


def test_what_is_not_kept_is_not_decoded(data, renderer, monkeypatch):
    monkeypatch.setattr(media, "DECODED", ByteCache(2**20))
    loaded = data(max_bytes=0)
    assert media.DECODED.n_bytes == 0
    groups = groups_of(loaded)
    assert media.DECODED.n_bytes == 0
    loaded.layout_of(groups[0].trajectories[0])
    assert media.DECODED.n_bytes == 40 * 24 * 3


@pytest.mark.parametrize("max_bytes", [2**30, 1, 0])
def test_layouts_are_those_of_the_pictures_whether_kept_or_made_again(
    data, renderer, trajectories, max_bytes
):
    loaded = data(max_bytes=max_bytes)
    for group, trajectory in zip(groups_of(loaded), trajectories, strict=True):
        found = loaded.layout_of(group.trajectories[0])
        wanted = renderer.layout(encode_trajectory(trajectory, renderer, ()).segments)
        np.testing.assert_array_equal(found.ids_T, wanted.ids_T)
        np.testing.assert_array_equal(found.position_3T, wanted.position_3T)
        assert [b.key for b in found.blocks] == [b.key for b in wanted.blocks]


@pytest.mark.parametrize(
    ("max_bytes", "kept"), [(2**30, [True, True]), (1, [True, False]), (0, [False, False])]
)
def test_the_first_ones_are_kept_until_the_budget_is_spent(data, max_bytes, kept):
    loaded = data(max_bytes=max_bytes)
    twice = [(loaded.layout_of(y), loaded.layout_of(y)) for g in groups_of(loaded) for y in g.trajectories]
    assert [a is b for a, b in twice] == kept


def test_a_damaged_picture_is_named_with_its_trajectory(data, tmp_path, trajectories, monkeypatch):
    monkeypatch.setattr(media, "DECODED", ByteCache(2**20))
    digest = trajectories[1].task.media[0].digest
    (damaged,) = (tmp_path / "media").glob(f"{digest}.png")
    damaged.write_bytes(damaged.read_bytes()[:60])
    with pytest.raises(RecordError, match=rf"trajectory 2: .*{digest}\.png is a damaged"):
        data()


def test_a_file_without_trajectories_is_refused(tmp_path, renderer):
    path = tmp_path / "empty.jsonl"
    path.touch()
    with pytest.raises(RecordError, match="pixelreasoner synth"):
        SftData(path, lambda y: replace(y), renderer.layout)
    with pytest.raises(RecordError, match="does not exist"):
        SftData(tmp_path / "missing.jsonl", lambda y: replace(y), renderer.layout)
