"""The Python interface, on a model with random weights: what goes in, what comes out, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pixelreasoner as pr
from examples.operation import MirrorImage
from pixelreasoner.core.errors import (
    CheckpointError,
    ConfigError,
    MediaError,
    NonFiniteError,
    PixelReasonerError,
)
from pixelreasoner.core.media_io import save_image
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.trajectory import Observation, StopReason
from pixelreasoner.env.events import Finished, TextToken
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.policy.base import Sampling
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


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("part", ["head", "tower"])
def test_weights_that_are_not_finite_are_told(reasoner, picture, temperature, part):
    """Case C28: greedy and sampled; NaN of the vision tower reaches the scores, too."""
    hf = reasoner.model.hf
    weight = hf.lm_head.weight if part == "head" else hf.model.visual.merger.linear_fc2.weight
    weight.data.fill_(float("nan"))
    with pytest.raises(
        NonFiniteError, match="scores are not finite: training has diverged, or the checkpoint"
    ):
        reasoner.ask(picture(30, 30), "?", temperature=temperature)


def test_options_out_of_range_are_the_users_mistake(reasoner, qwen3_folder, picture):
    """Case C14, with its neighbours: no error of pydantic's leaves the interface."""
    for options in ({"max_operations": -1}, {"temperature": -1}, {"temperature": float("nan")}):
        with pytest.raises(ConfigError, match=r"cannot be"):
            reasoner.ask(picture(30, 30), "?", **options)
    with pytest.raises(ConfigError, match="'dtype' cannot be 'fp16'"):
        pr.load(qwen3_folder, dtype="fp16")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="'max_tokens' cannot be 0"):
        Sampling(max_tokens=0)


def test_a_question_longer_than_the_model_reads(qwen3_folder, picture):
    """Case C29: both numbers. So are messages that could be longer."""
    reasoner = pr.load(qwen3_folder)
    with pytest.raises(pr.PixelReasonerError, match=r"takes 9\d{3} tokens, .* at most 8192 .*max_position"):
        reasoner.ask(picture(30, 30), "red " * 9000, max_operations=0)
    short = Interaction.model_validate({"limits": {"max_tokens": 10}, "sampling": {"temperature": 0.0}})
    with pytest.raises(pr.PixelReasonerError, match=r"at most 10 \(interaction\.limits\.max_tokens\)"):
        pr.load(qwen3_folder, interaction=short).ask(picture(30, 30), "?")
    with pytest.raises(ConfigError, match=r"max_tokens = 9000 .* 8192 positions"):
        pr.load(qwen3_folder, interaction=Interaction(sampling=Sampling(max_tokens=9000)))


def prompt_of(reasoner: pr.Reasoner, trajectory: pr.Trajectory) -> str:
    assert trajectory.prompt is not None
    return reasoner.model.renderer.decode(trajectory.prompt.ids)


def test_c17_pillow_images_and_arrays_are_asked_like_the_picture_they_hold(reasoner, picture):
    """C17, and its neighbours: the bytes of a file, and several kinds at once."""
    same = picture(50, 40)
    expected = reasoner.ask(same, "What is it?")
    for given in (Image.fromarray(same.pixels), np.array(same.pixels)):
        assert reasoner.ask(given, "What is it?") == expected
        assert reasoner.ask([given], "What is it?") == expected
    with pytest.raises(MediaError, match="NoneType is no picture"):
        reasoner.ask(None, "What is it?")


def test_a_list_of_questions_is_a_list_of_trajectories(reasoner, picture):
    questions = ["What is it?", "Where?", "What is it?"]
    events = []
    several = reasoner.ask(picture(40, 30), questions, on_event=events.append)
    assert [t.task.question for t in several] == questions
    assert several[0] == several[2]
    assert {event.request for event in events} == {0, 1, 2}
    # One batch gives other rounding than one question, and the same texts.
    alone = reasoner.ask(picture(40, 30), questions[1])
    assert [t.text for t in several[1].turns] == [t.text for t in alone.turns]
    sampled = reasoner.ask(picture(40, 30), ("What is it?",) * 2, temperature=1.0, seed=5)
    assert sampled[0].turns != sampled[1].turns
    assert reasoner.ask(picture(40, 30), []) == []
    with pytest.raises(PixelReasonerError, match="a question is text, and this one is int: 3"):
        reasoner.ask(picture(40, 30), ["What?", 3])


def test_options_of_one_call(reasoner, picture):
    t = reasoner.ask(
        picture(30, 30), "?", max_tokens=3, system="Speak briefly.", operations=["select_frames"]
    )
    prompt = prompt_of(reasoner, t)
    assert "Speak briefly." in prompt
    assert "select_frames(" in prompt
    assert "crop_image(" not in prompt
    assert all(len(turn.sampled.ids) <= 3 for turn in t.turns)
    # The next call is as before.
    assert "Speak briefly." not in prompt_of(reasoner, reasoner.ask(picture(30, 30), "?"))
    assert "crop_image(" not in prompt_of(reasoner, reasoner.ask(picture(30, 30), "?", operations=[]))


def test_operations_are_those_offered_those_registered_or_your_own(qwen3_folder, picture):
    renamed = {"use": "crop_image", "name": "enlarge"}
    reasoner = pr.load(qwen3_folder, interaction=Interaction.model_validate({"operations": [renamed]}))

    def names(**options) -> list[str]:
        prompt = prompt_of(reasoner, reasoner.ask(picture(30, 30), "?", max_tokens=2, **options))
        return [n for n in ("enlarge", "crop_image", "select_frames", "mirror_image") if f"{n}(" in prompt]

    assert names() == ["enlarge"]
    assert names(operations=["enlarge", MirrorImage()]) == ["enlarge", "mirror_image"]
    assert names(operations=["select_frames", "examples.operation:MirrorImage"]) == [
        "select_frames",
        "mirror_image",
    ]
    for wrong, words in (
        ("enlarge", "a list, as \\['enlarge'\\]"),
        (["no_such"], "no_such"),
        ([MirrorImage], "give MirrorImage"),
        ([3], "'int' is no operation"),
        ([MirrorImage(), MirrorImage()], "called"),
    ):
        with pytest.raises(ConfigError, match=words):
            names(operations=wrong)


@pytest.mark.parametrize(
    "option",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"max_operations": -1},
        {"max_tokens": 0},
        {"system": 3},
    ],
)
def test_c14_a_value_out_of_range_is_one_line_of_ours(reasoner, picture, option):
    """C14 in Python; its neighbours: the other options, and `load`."""
    [(name, value)] = option.items()
    with pytest.raises(ConfigError, match=f"'{name}' cannot be {value}"):
        reasoner.ask(picture(30, 30), "?", **option)
    with pytest.raises(ConfigError, match=f"'{name}' cannot be {value}"):
        reasoner.chat(picture(30, 30), **option)


def test_c14_load_refuses_a_dtype_there_is_not(qwen3_folder):
    with pytest.raises(ConfigError, match="'dtype' cannot be 'fp64'"):
        pr.load(qwen3_folder, dtype="fp64")  # pyright: ignore[reportArgumentType]


def test_a_conversation_begins_like_a_single_question(reasoner, picture):
    chat = reasoner.chat(picture(40, 30), system="Look.")
    assert chat.ask("What is it?") == reasoner.ask(picture(40, 30), "What is it?", system="Look.")
    assert repr(chat) == "Chat(1 question, 1 media item)"


def test_a_conversation_keeps_what_was_said_and_shown(reasoner, picture):
    chat = reasoner.chat(picture(40, 30))
    first = chat.ask("What is it?")
    second = chat.ask("And this?", picture(20, 24, 1))
    assert chat.trajectories == (first, second)
    prompt = prompt_of(reasoner, second)
    places = [prompt.index(text) for text in ("What is it?", first.turns[0].text, "And this?")]
    assert places == sorted(places)
    # The same tokens as before, then the model's own, then the new question.
    assert second.prompt.ids[: len(first.prompt.ids)] == first.prompt.ids
    assert second.task.media == (picture(40, 30), picture(20, 24, 1))
    assert second.prompt.media == second.task.media


def test_a_result_stays_in_the_conversation_under_its_number(reasoner, picture, monkeypatch):
    chat = reasoner.chat(picture(40, 30))
    crop = picture(9, 8, 2)
    looked = (
        pr.Turn(
            "Zoom.", ToolCall("crop_image", {}), Observation("Image 2:", (crop,), box=pr.Box(0, 0, 9, 8))
        ),
        pr.Turn("It is K."),
    )
    real = reasoner.ask(picture(40, 30), "?")
    settings = type(chat._settings)
    told = [replace(real, turns=looked, stop=StopReason.ANSWER)]
    with monkeypatch.context() as patch:
        patch.setattr(settings, "run", lambda self, requests, on_event: told)
        chat.ask("What is it?")
    after = chat.ask("And now?")
    assert after.task.media == (picture(40, 30), crop)
    assert after.prompt.crops == (1,)  # the second picture is a result, and shown within its budget
    prompt = prompt_of(reasoner, after)
    assert (
        prompt.index("Zoom.") < prompt.index("Image 2:") < prompt.index("It is K.") < prompt.index("And now?")
    )


def test_a_question_that_fails_leaves_the_conversation_as_it_was(reasoner, picture, video):
    chat = reasoner.chat(video(4))
    chat.ask("When?")
    with pytest.raises(MediaError, match="2 videos"):
        chat.ask("And here?", video(3))
    with pytest.raises(PixelReasonerError, match=r"takes \d+ tokens"):
        chat.ask("word " * 40_000)
    with pytest.raises(PixelReasonerError, match="a question is text"):
        chat.ask(None)
    assert len(chat.trajectories) == 1
    assert chat.ask("When?").task.media == (video(4),)


def test_several_trajectories_are_saved_together(reasoner, picture, tmp_path: Path):
    from pixelreasoner.core.records import read_trajectories

    several = reasoner.ask(picture(30, 30), ["What?", "Where?"], max_tokens=4)
    save(several, tmp_path / "t.jsonl")
    save(several, tmp_path / "t.html")
    assert list(read_trajectories(tmp_path / "t.jsonl")) == several
    assert (tmp_path / "t_files").is_dir()


def test_a_reasoner_says_what_it_is(reasoner, qwen3_folder):
    text = repr(reasoner)
    assert text.startswith(f"Reasoner({qwen3_folder.name}, 0.")
    assert text.endswith("M weights, float32 on cpu, operations: crop_image, select_frames)")
    assert reasoner.world is None


def test_importing_the_package_imports_nothing_heavy():
    import subprocess
    import sys

    code = "import sys, pixelreasoner; print(*{'torch', 'numpy', 'PIL', 'jinja2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


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
        with pytest.raises(MediaError, match="is an address"):
            reasoner.ask(address, "What?")
