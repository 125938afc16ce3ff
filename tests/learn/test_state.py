"""The state on disk: what goes in comes out, by a reader that runs no code; other files are refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from disk import full_disk
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.media_io import load_image, save_image
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn
from pixelreasoner.learn.state import load_state, save_state
from pixelreasoner.objectives.scored_group import ScoredGroup, score_group


def noise(seed: int, side: int = 64) -> Picture:
    return Picture(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def group(*pictures: Picture) -> ScoredGroup:
    """Two rollouts that crop; their log-probabilities are no round numbers."""
    cue = Cue(Box(np.float64(1), 2, np.float32(3), np.int64(4)))  # type: ignore[arg-type]
    task = Task("t", "Which?", (pictures[0], Video(pictures[:2])), ("K",), cue=cue)
    rollouts = tuple(
        Trajectory(
            task,
            (
                Turn(
                    "Closer.",
                    observation=Observation("Image 2:", (picture,)),
                    sampled=Segment((5, 6), logprobs=(-0.1, -1 / 3)),
                    observed=Segment((7,), media=(picture,)),
                    weight_version=4,
                ),
            ),
            StopReason.ANSWER,
            prompt=Segment((1, 2), media=(pictures[0],)),
        )
        for picture in (pictures[0].crop(1, 2, 30, 40), pictures[1])
    )
    terms = {"correctness": (1.0, 0.0), "curiosity": (0.05, 0.1)}
    return score_group(rollouts, terms, scale="std", scores=(1.0, 0.0))


def test_a_state_comes_back_as_it_was(tmp_path: Path):
    weight = torch.nn.Parameter(torch.randn(3, 2))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    weight.sum().backward()
    optimizer.step()
    state = {
        "step": 3,
        "learner": {"model": {"w": weight.detach()}, "optimizer": optimizer.state_dict()},
        "replay": {
            "groups": [group(noise(1), noise(2)), group(noise(3), noise(2))],
            "generator": np.random.default_rng(7).bit_generator.state,
        },
        "losses": [0.5, None, float("inf")],
        "seen": np.float64(1 / 3),
    }
    save_state(tmp_path / "state.pt", state)
    back = load_state(tmp_path / "state.pt")
    assert back is not None
    assert torch.equal(back["learner"]["model"].pop("w"), state["learner"]["model"].pop("w"))
    assert str(back["learner"]["optimizer"]) == str(state["learner"]["optimizer"])
    assert back["replay"] == state["replay"]
    assert {k: back[k] for k in ("step", "losses", "seen")} == {
        k: state[k] for k in ("step", "losses", "seen")
    }
    again = torch.optim.AdamW([weight], lr=0.1)
    again.load_state_dict(back["learner"]["optimizer"])


def test_pictures_are_in_the_media_folder_once_and_not_in_the_state(tmp_path: Path):
    save_image(noise(1, side=500), tmp_path / "a.jpg")
    photo, other = load_image(tmp_path / "a.jpg"), noise(2, side=500)
    save_state(tmp_path / "run.pt", {"groups": [group(photo, photo)] * 4})
    assert (tmp_path / "media" / f"{photo.digest}.jpg").read_bytes() == (tmp_path / "a.jpg").read_bytes()
    save_state(tmp_path / "run.pt", {"groups": [group(other, other)] * 4})
    assert (tmp_path / "run.pt").stat().st_size < 20_000
    assert len(list((tmp_path / "media").iterdir())) == 2, (
        "a picture and its crop; those of the state before are gone"
    )
    back = load_state(tmp_path / "run.pt")
    assert back is not None
    found = back["groups"][0].trajectories[0].prompt.media[0]
    assert np.array_equal(found.pixels, other.pixels)
    assert found is back["groups"][3].trajectories[1].task.media[0]


def test_a_state_without_its_pictures_is_refused(tmp_path: Path):
    save_state(tmp_path / "state.pt", {"groups": [group(noise(1), noise(2))]})
    (tmp_path / "media" / f"{noise(1).digest}.png").unlink()
    with pytest.raises(CheckpointError, match=r"cannot be read .*does not exist.*start the run afresh"):
        load_state(tmp_path / "state.pt")


@pytest.mark.parametrize("state", [{"format": 2, "step": 1}, {"step": 1}, {"format": 2, "x": noise(1)}])
def test_a_state_of_another_version_is_refused_in_one_sentence(tmp_path: Path, state: dict):
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="written by another version of pixelreasoner") as e:
        load_state(tmp_path / "state.pt")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("left", [0, 10, 300])
def test_a_damaged_state_is_refused_in_one_sentence(tmp_path: Path, left: int):
    save_state(tmp_path / "state.pt", {"step": 1, "w": torch.zeros(100)})
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:left])
    with pytest.raises(CheckpointError, match=r"state\.pt cannot be read") as e:
        load_state(tmp_path / "state.pt")
    assert "\n" not in str(e.value)
    assert load_state(tmp_path / "none.pt") is None


def test_other_objects_are_a_bug_of_who_saves_them(tmp_path: Path):
    with pytest.raises(TypeError, match="Generator"):
        save_state(tmp_path / "state.pt", {"rng": np.random.default_rng(0)})
    assert not (tmp_path / "state.pt").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_on_a_full_disk_the_old_state_stays_and_nothing_else(tmp_path: Path):
    save_state(tmp_path / "state.pt", {"step": 1})
    with (
        full_disk(20_000),
        pytest.raises(CheckpointError, match=r"state\.pt cannot be written: the disk is full"),
    ):
        save_state(tmp_path / "state.pt", {"step": 2, "w": torch.zeros(100_000)})
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]
    assert load_state(tmp_path / "state.pt") == {"step": 1}


def test_the_bytes_of_a_state_follow_from_what_is_in_it(tmp_path: Path):
    """A state that was read has other objects for equal strings than one that was made."""
    state = {"step": 1, "learner": {"step": torch.arange(9.0), "kind": "".join(["st", "ep"])}}
    save_state(tmp_path / "a.pt", state)
    again = load_state(tmp_path / "a.pt")
    assert again is not None
    save_state(tmp_path / "b.pt", again)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
