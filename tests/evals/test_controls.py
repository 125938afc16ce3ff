"""Rules of the controls: same size, other pixels; drawn by seed, task and turn; apart from what matters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.geometry import Box, Size
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.env.rollout import RolloutRequest
from pixelreasoner.evals.controls import (
    ControlConfig,
    PlainRun,
    blank,
    random_crop,
    requests_of,
    swap,
)
from pixelreasoner.ops.image_context import DisplayedImage, ImageContext

NOISE = np.random.default_rng(3).integers(0, 256, (12, 60, 80, 3), dtype=np.uint8)
IMAGE = Picture(NOISE[0])
VIDEO = Video(tuple(Picture(frame) for frame in NOISE[1:]))
CONTEXT = ImageContext((DisplayedImage(IMAGE, IMAGE.size),), VIDEO)
CUE = Box(0, 0, 20, 20)
TASK = Task("a", "Which?", (IMAGE,), ("K",), cue=Cue(CUE))
EMPTY = PlainRun.of(())


def crop_at(*corners: int, image: Picture = IMAGE) -> Observation:
    return Observation("Image 2:", (image.crop(*corners),), box=Box(*corners))


def rollout_of(task: Task, *seen: Observation, correct: float = 1.0) -> Trajectory:
    turns = tuple(Turn("look", observation=observation) for observation in seen)
    return Trajectory(task, (*turns, Turn("K")), StopReason.ANSWER, "K", metrics={"correct": correct})


ASKED = crop_at(10, 5, 40, 25)


def test_a_blank_is_grey_and_of_the_same_size_and_shows_no_place():
    shown = blank(TASK, 0, EMPTY).apply(ASKED, 0, CONTEXT)
    assert shown.images[0].size == Size(30, 20)
    assert (shown.images[0].pixels == 128).all()
    assert (shown.text, shown.box, shown.valid, shown.replaced) == (ASKED.text, None, True, "blank")


def test_a_random_crop_is_of_the_same_image_apart_from_the_cue_and_from_what_was_asked():
    for seed in range(20):
        shown = random_crop(TASK, seed, EMPTY).apply(ASKED, 0, CONTEXT)
        assert shown.box is not None
        assert shown.images[0].size == Size(30, 20)
        x, y = int(shown.box.x1), int(shown.box.y1)
        np.testing.assert_array_equal(shown.images[0].pixels, NOISE[0][y : y + 20, x : x + 30])
        assert not shown.box.overlaps(CUE)
        assert not shown.box.overlaps(Box(10, 5, 40, 25))


def test_a_random_crop_depends_on_the_seed_and_the_turn_only():
    shown = [random_crop(TASK, 1, EMPTY).apply(ASKED, turn, CONTEXT) for turn in (0, 0, 1)]
    assert shown[0] == shown[1]
    assert shown[0].box != shown[2].box
    assert random_crop(TASK, 2, EMPTY).apply(ASKED, 0, CONTEXT).box != shown[0].box


def test_where_no_place_is_apart_the_crop_shows_as_little_of_the_cue_as_it_can():
    asked = crop_at(0, 0, 78, 58)
    boxes = [random_crop(TASK, seed, EMPTY).apply(asked, 0, CONTEXT).box for seed in range(10)]
    # Of 3 x 3 places, the farthest one leaves out two columns and two rows of the cue.
    assert boxes == [Box(2, 2, 80, 60)] * 10


def test_a_random_crop_of_a_crop_is_cut_from_that_crop():
    inner = IMAGE.crop(40, 20, 80, 60)
    context = CONTEXT.add(DisplayedImage(inner, inner.size))
    asked = replace(crop_at(0, 0, 10, 10, image=inner), source=2)
    shown = random_crop(TASK, 0, EMPTY).apply(asked, 1, context)
    assert shown.box is not None
    assert (shown.source, shown.box.overlaps(Box(0, 0, 10, 10))) == (2, False)
    x, y = int(shown.box.x1), int(shown.box.y1)
    np.testing.assert_array_equal(shown.images[0].pixels, inner.pixels[y : y + 10, x : x + 10])


def test_random_frames_are_others_of_the_same_video():
    task = Task("v", "Which?", (VIDEO,), ("K",), cue=Cue(frames=(1, 2, 3)))
    asked = Observation("Images 1 to 2:", VIDEO.frames[3:5], frames=(4, 5))
    for seed in range(10):
        shown = random_crop(task, seed, EMPTY).apply(asked, 0, ImageContext((), VIDEO))
        assert len(shown.frames) == 2
        assert not {1, 2, 3, 4, 5} & set(shown.frames)
        assert shown.images == tuple(VIDEO.frames[i - 1] for i in shown.frames)


def test_where_frames_run_out_the_cues_come_last():
    task = Task("v", "Which?", (VIDEO,), ("K",), cue=Cue(frames=(1, 2, 3)))
    asked = Observation("", VIDEO.frames[3:11], frames=tuple(range(4, 12)))
    shown = random_crop(task, 0, EMPTY).apply(asked, 0, ImageContext((), VIDEO))
    assert shown.frames == tuple(range(4, 12))


def test_a_swap_is_what_another_task_got_unaltered_with_its_words():
    theirs = Picture(np.full((10, 15, 3), 77, np.uint8))
    seen = Observation("Image 2 (15x10):", (theirs,), box=Box(0, 0, 15, 10))
    plain = PlainRun.of((rollout_of(TASK, ASKED), rollout_of(replace(TASK, id="b", answers=("T",)), seen)))
    replacement = swap(TASK, 0, plain)
    assert replacement is not None
    shown = replacement.apply(ASKED, 0, CONTEXT)
    assert (shown.images, shown.text, shown.donor, shown.box) == ((theirs,), seen.text, "b", None)


def test_where_its_words_would_count_wrongly_a_swap_is_scaled_to_the_size_asked_for():
    theirs = Picture(np.full((10, 15, 3), 77, np.uint8))
    two_pictures = replace(TASK, id="b", answers=("T",), media=(IMAGE, IMAGE))
    seen = Observation("Image 3:", (theirs,), box=Box(0, 0, 15, 10))
    replacement = swap(TASK, 0, PlainRun.of((rollout_of(TASK, ASKED), rollout_of(two_pictures, seen))))
    assert replacement is not None
    shown = replacement.apply(ASKED, 0, CONTEXT)
    assert (shown.images[0].size, shown.text, shown.donor) == (Size(30, 20), ASKED.text, "b")
    assert (shown.images[0].pixels == 77).all()


def test_further_results_are_swapped_for_the_donors_further_ones_and_then_its_last():
    seen = [
        Observation("", (Picture(np.full((20, 30, 3), v, np.uint8)),), box=Box(0, 0, 30, 20)) for v in (1, 2)
    ]
    donor = rollout_of(replace(TASK, id="b", answers=("T",)), *seen)
    replacement = swap(TASK, 0, PlainRun.of((rollout_of(TASK, ASKED), donor)))
    assert replacement is not None
    shown = [int(replacement.apply(ASKED, turn, CONTEXT).images[0].pixels[0, 0, 0]) for turn in range(3)]
    assert shown == [1, 2, 2]


def test_a_task_without_a_result_is_taken_over_and_one_without_a_plain_rollout_is_refused(tmp_path):
    silent = rollout_of(replace(TASK, id="b"))
    write_trajectories(tmp_path / "trajectories.jsonl", (rollout_of(TASK, ASKED), silent))
    prepared = requests_of(ControlConfig(use="blank", plain=tmp_path))
    assert prepared(silent.task, 5) == silent
    request = prepared(TASK, 5)
    assert isinstance(request, RolloutRequest)
    assert request.replacement is not None
    assert (request.seed, request.replacement.name) == (5, "blank")
    with pytest.raises(ConfigError, match="no rollout of task c"):
        prepared(replace(TASK, id="c"), 5)
    with pytest.raises(ConfigError, match="task a is another one than in"):
        prepared(replace(TASK, question="What else?"), 5)


def test_no_donor_no_swap(tmp_path):
    write_trajectories(tmp_path / "trajectories.jsonl", (alone := rollout_of(TASK, ASKED),))
    assert requests_of(ControlConfig(use="swap", plain=tmp_path))(TASK, 0) == alone


def test_two_tasks_of_one_id_are_refused(tmp_path):
    write_trajectories(tmp_path / "trajectories.jsonl", (rollout_of(TASK, ASKED), rollout_of(TASK)))
    with pytest.raises(ConfigError, match="the same id"):
        requests_of(ControlConfig(use="blank", plain=tmp_path))


def test_an_unknown_control_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no control 'grey'; the registered ones are blank"):
        requests_of(ControlConfig(use="grey", plain=tmp_path))
