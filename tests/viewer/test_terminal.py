"""Rules of the terminal view: the whole rollout in reading order, no generated text is style."""

import io
from dataclasses import replace

from rich.console import Console

from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.viewer.terminal import print_trajectory, trajectory_table


def printed(trajectory: Trajectory) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    print_trajectory(console, trajectory)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_rollout_is_printed_in_order(zoomed: Trajectory):
    text = printed(zoomed)
    places = [
        text.index(words)
        for words in (
            "Which <b>letter</b>?", "image 200×100", "Too small <to read>.",
            "▸ crop_image(bbox_2d=[100, 20, 180, 80]",
            "✓ Image 2 · pixels 100, 20 to 180, 80", "✗ there is no image 9", "deliberately wrong",
            "It reads K.", "Answer K", "reference K", "✓ right", "curiosity 0.0875",
        )
    ]  # fmt: skip
    assert places == sorted(places)


def test_a_video_and_a_wrong_answer(clip: Trajectory):
    text = printed(clip)
    assert "video of 4 frames 40×30" in text
    assert "✗ wrong" in text


HOSTILE = "\x1b[2Jgone\r\x9b1m\u202ezip\x07"


def test_control_characters_are_shown_and_not_obeyed(zoomed: Trajectory):
    """In messages, questions, ids, answers, arguments and observations."""
    call = ToolCall("crop_\x1b[2J", {"a\x1b": HOSTILE})
    odd = replace(
        zoomed,
        task=replace(zoomed.task, id=f"t\n{HOSTILE}", question=HOSTILE, answers=(HOSTILE,), kind=HOSTILE),
        turns=(Turn(HOSTILE, call, Observation(HOSTILE, valid=False)),),
        answer=f"{HOSTILE}\n",
        metrics={f"m{HOSTILE}": 1.0},
    )
    console = Console(file=io.StringIO(), width=400, color_system=None)
    print_trajectory(console, odd)
    console.print(trajectory_table([odd], width=400))
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert not set(said) & set("\x1b\r\x9b\u202e\x07")
    assert said.count("␛[2Jgone␍") >= 8
    assert "t␊␛[2Jgone␍" in said


def test_brackets_in_generated_text_are_not_style(clip: Trajectory):
    odd = replace(clip, turns=(Turn("[bold]x[/nope]"),), answer="[red]", stop=StopReason.TOKEN_LIMIT)
    text = printed(odd)
    assert "[bold]x[/nope]" in text
    assert "Answer [red] (stopped by token limit)" in text
