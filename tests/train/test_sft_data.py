"""Groups of a file hold tokens; layouts come from memory or, beyond the budget, from the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.chat.encode import encode_trajectory
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.objectives.loss_mask import loss_mask
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


def test_groups_hold_the_tokens_of_the_file_and_no_pictures(data, renderer, trajectories):
    loaded = data()
    assert len(loaded) == 2
    for group, trajectory in zip(loaded.groups, trajectories, strict=True):
        (light,) = group.trajectories
        encoded = encode_trajectory(trajectory, renderer, ())
        assert [s.ids for s in light.segments] == [s.ids for s in encoded.segments]
        assert loss_mask(light).tolist() == loss_mask(encoded).tolist()
        assert not any(s.media for s in light.segments)
        assert light.task.media == ()


@pytest.mark.parametrize("max_bytes", [2**30, 1, 0])
def test_layouts_are_those_of_the_pictures_whether_kept_or_made_again(
    data, renderer, trajectories, max_bytes
):
    loaded = data(max_bytes=max_bytes)
    for group, trajectory in zip(loaded.groups, trajectories, strict=True):
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
    twice = [(loaded.layout_of(y), loaded.layout_of(y)) for g in loaded.groups for y in g.trajectories]
    assert [a is b for a, b in twice] == kept


def test_a_file_without_trajectories_is_refused(tmp_path, renderer):
    path = tmp_path / "empty.jsonl"
    path.touch()
    with pytest.raises(RecordError, match="pixelreasoner synth"):
        SftData(path, lambda y: replace(y), renderer.layout)
    with pytest.raises(RecordError, match="does not exist"):
        SftData(tmp_path / "missing.jsonl", lambda y: replace(y), renderer.layout)
