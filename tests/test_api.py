"""The Python interface, on a model with random weights: what goes in, what comes out, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import pixelreasoner as pr
from pixelreasoner.core.errors import CheckpointError, MediaError
from pixelreasoner.core.media_io import save_image
from pixelreasoner.env.events import Finished, TextToken
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.viewer.save import save
from video_files import write_video


@pytest.fixture
def reasoner(qwen3_folder: Path) -> pr.Reasoner:
    return pr.load(qwen3_folder)


def test_a_file_and_the_picture_in_it_are_asked_alike(reasoner, picture, tmp_path: Path):
    save_image(picture(50, 40), tmp_path / "a.png")
    by_path = reasoner.ask(tmp_path / "a.png", "What is it?")
    by_name = reasoner.ask(str(tmp_path / "a.png"), "What is it?")
    by_picture = reasoner.ask(picture(50, 40), "What is it?")
    assert by_path == by_name == by_picture
    assert by_path.task.media == (picture(50, 40),)


def test_several_pictures_and_a_video(reasoner, picture, video):
    assert reasoner.ask([picture(30, 30), picture(20, 40, 1)], "Which is red?").task.media[1].size == (20, 40)
    assert isinstance(reasoner.ask(video(4), "When?").task.media[0], pr.Video)
    with pytest.raises(MediaError, match="2 videos"):
        reasoner.ask([video(2), video(3)], "When?")


def test_the_seed_matters_only_above_temperature_zero(reasoner, picture):
    said = lambda **how: [t.sampled for t in reasoner.ask(picture(30, 30), "?", **how).turns]  # noqa: E731
    assert said(seed=1) == said(seed=2)
    assert said(temperature=1.0, seed=1) == said(temperature=1.0, seed=1)
    assert said(temperature=1.0, seed=1) != said(temperature=1.0, seed=2)


def test_no_operations_means_none_are_offered(reasoner, picture):
    offered = reasoner.ask(picture(30, 30), "?").prompt
    plain = reasoner.ask(picture(30, 30), "?", max_operations=0).prompt
    assert "crop_image" in reasoner.model.renderer.decode(offered.ids)
    assert "crop_image" not in reasoner.model.renderer.decode(plain.ids)


def test_the_interaction_is_that_of_a_recipe(qwen3_folder, picture):
    interaction = Interaction.model_validate(
        {
            "operations": [{"use": "crop_image", "name": "enlarge"}],
            "limits": {"max_turns": 1},
            "sampling": {"temperature": 0.0, "max_tokens": 5},
            "wording": {"system": "You look closely."},
        }
    )
    reasoner = pr.load(qwen3_folder, device="cpu", dtype="bf16", interaction=interaction)
    t = reasoner.ask(picture(30, 30), "?")
    prompt = reasoner.model.renderer.decode(t.prompt.ids)
    assert "You look closely.enlarge(bbox_2d, target_image)" in prompt
    assert "select_frames(" not in prompt
    assert len(t.turns) == 1
    assert len(t.turns[0].sampled.ids) <= 5
    assert {str(p.dtype) for p in reasoner.model.parameters()} == {"torch.bfloat16"}


def test_it_streams_as_it_speaks(reasoner, picture):
    events = []
    t = reasoner.ask(picture(30, 30), "?", on_event=events.append)
    assert isinstance(events[-1], Finished)
    assert events[-1].trajectory == t
    assert any(isinstance(e, TextToken) for e in events)


def test_what_is_not_there_is_refused_by_name(reasoner, tmp_path: Path):
    with pytest.raises(MediaError, match=r"nowhere\.jpg"):
        reasoner.ask(tmp_path / "nowhere.jpg", "?")
    with pytest.raises(CheckpointError, match="no checkpoint at 'gone'"):
        pr.load("gone")


def test_a_trajectory_is_saved_as_a_page_and_as_a_record(reasoner, picture, tmp_path: Path):
    t = reasoner.ask(picture(30, 30), "What is <it>?")
    save(t, tmp_path / "t.html")
    save(t, tmp_path / "t.jsonl")
    assert "What is &lt;it&gt;?" in (tmp_path / "t.html").read_text()
    from pixelreasoner.core.records import read_trajectories

    assert list(read_trajectories(tmp_path / "t.jsonl")) == [t]


@pytest.mark.parametrize("n", [1, 2, 3, 15, 17])
def test_short_videos_are_asked_about_with_the_frames_they_have(reasoner, tmp_path: Path, n: int):
    write_video(tmp_path / "a.mp4", n)
    asked = reasoner.ask(tmp_path / "a.mp4", "When?", max_operations=0)
    assert len(asked.task.media[0].frames) == min(n, 16)
    assert asked.turns


def test_sixty_images_in_one_question(reasoner, picture):
    asked = reasoner.ask([picture(8, 8, seed) for seed in range(60)], "Which is red?", max_operations=0)
    assert len(asked.task.media) == 60
    assert asked.turns


def test_an_address_is_told_as_one(reasoner):
    for address in ("https://example.com/a.jpg", Path("https://example.com/a.jpg")):
        with pytest.raises(MediaError, match="addresses are not fetched"):
            reasoner.ask(address, "What?")
