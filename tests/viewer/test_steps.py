"""Rules of the view: which image a crop belongs to, where its box is drawn, which frames are marked."""

from dataclasses import replace

import pytest

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.viewer.pictures import Mark
from pixelreasoner.viewer.steps import call_text, view, written_text


def test_every_crop_and_the_cue_are_drawn_on_the_original(zoomed: Trajectory):
    (photo,) = view(zoomed).figures
    # The photo is 200 x 100 pixels, so a pixel is half a percent across and one percent down.
    assert photo.marks == (
        Mark("crop", "2", left=50, top=20, width=40, height=60),
        Mark("crop", "3", left=60, top=40, width=10, height=20),
        Mark("cue", "", left=62.5, top=45, width=5, height=10),
    )


def test_a_crop_of_a_crop_is_located_on_the_first_crop(zoomed: Trajectory):
    first, failed, second, last = view(zoomed).turns
    assert first.source_figure is not None
    assert (first.source_figure.label, first.source_figure.marks[0].left) == ("in image 1", 50)
    # Its box starts 20 pixels right of and 20 below the corner of image 2, which is 80 x 60 pixels.
    assert second.source_figure is not None
    assert second.source_figure.label == "in image 2"
    assert second.source_figure.marks == (Mark("crop", "3", left=25, top=33.333, width=25, height=33.333),)
    assert failed.source_figure is None
    assert last.source_figure is None


def test_images_are_numbered_in_order_of_appearance(zoomed: Trajectory, clip: Trajectory):
    assert [f.label for t in view(zoomed).turns for f in t.images] == ["Image 2", "Image 3"]
    assert [(f.label, f.note) for f in view(clip).turns[0].images] == [
        ("Image 1", "frame 2"),
        ("Image 2", "frame 3"),
    ]


def test_selected_frames_and_cue_frames_are_marked(clip: Trajectory):
    (strip,) = view(clip).strips
    assert [f.selected for f in strip] == [False, True, True, False]
    assert [bool(f.marks) for f in strip] == [False, False, True, False]
    assert [f.note for f in strip] == ["0.0 s", "0.5 s", "1.0 s", "1.5 s"]


def test_a_turn_has_the_status_of_its_call(zoomed: Trajectory):
    turns = view(zoomed).turns
    assert [t.status for t in turns] == ["valid", "invalid", "valid", "none"]
    assert [bool(t.masked) for t in turns] == [False, True, False, False]
    assert turns[0].text == "Too small <to read>."


@pytest.mark.parametrize(
    ("metrics", "correct"), [({"correct": 1}, True), ({"correct": 0}, False), ({}, None)]
)
def test_the_verdict_is_the_recorded_one(zoomed: Trajectory, metrics, correct):
    assert view(replace(zoomed, metrics=metrics)).correct is correct


def test_facts_name_what_is_out_of_the_ordinary(zoomed: Trajectory):
    assert view(zoomed).facts == ("needs an operation", "2 operations", "1 invalid call")
    cut_off = replace(zoomed, turns=(), stop=StopReason.TOKEN_LIMIT, source="recrop_once")
    assert view(cut_off).facts == (
        "needs an operation", "no operations", "stopped by token limit", "template: recrop once",
    )  # fmt: skip


def test_a_result_that_did_not_fit_is_no_operation(zoomed: Trajectory):
    cut_off = replace(zoomed, turns=zoomed.turns[:-1], stop=StopReason.IMAGE_LIMIT)
    assert view(cut_off).facts == (
        "needs an operation", "1 operation", "1 invalid call", "1 result that did not fit",
        "stopped by image limit",
    )  # fmt: skip


def test_the_markup_of_a_call_that_was_not_read_stays_in_view():
    broken = Turn("Look <tool_call>{oops", observation=Observation("not JSON", valid=False))
    assert written_text(broken) == "Look <tool_call>{oops"
    cut = Turn("Look <tool_call>{}", ToolCall("crop_image"), Observation("done"))
    assert written_text(cut) == "Look"


def test_a_call_is_written_in_python_notation():
    call = ToolCall("crop_image", {"bbox_2d": [1, 2, 3, 4], "target_image": 1})
    assert call_text(call) == "crop_image(bbox_2d=[1, 2, 3, 4], target_image=1)"


def test_the_candidates_of_a_seed_are_drawn_with_their_numbers(zoomed: Trajectory):
    cue = Cue(boxes=(Box(0, 0, 20, 10), Box(100, 50, 200, 100)))
    seed = Task("sa_1", "", zoomed.task.media, (), cue=cue)
    shown = view(Trajectory(seed, (), StopReason.ANSWER, None, source="reference"))
    assert shown.figures[0].marks == (
        Mark("cue", "1", left=0, top=0, width=10, height=10),
        Mark("cue", "2", left=50, top=50, width=50, height=50),
    )
    assert shown.question == "sa_1: the question is still to be written"
    assert shown.legend == (("cue", "candidates for a region to ask about"),)
