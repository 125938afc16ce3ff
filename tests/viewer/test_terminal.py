"""Rules of the terminal view: the whole rollout in reading order, no generated text is style."""

import io
from dataclasses import replace

from rich.console import Console

from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn
from pixelreasoner.viewer.terminal import print_trajectory


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


def test_brackets_in_generated_text_are_not_style(clip: Trajectory):
    odd = replace(clip, turns=(Turn("[bold]x[/nope]"),), answer="[red]", stop=StopReason.TOKEN_LIMIT)
    text = printed(odd)
    assert "[bold]x[/nope]" in text
    assert "Answer [red] (stopped by token limit)" in text
