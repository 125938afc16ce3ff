"""What PixelWorld promises: fixed tasks, splits that never meet, exact cues, exact shares, right answers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Task
from pixelreasoner.nano.question_answers import LEGIBLE_DOT_PX, LEGIBLE_GLYPH_PX
from pixelreasoner.tasks.pixelworld import KINDS, PixelWorld, WorldConfig, paint
from pixelreasoner.tasks.pixelworld.things import COLOURS, Scene, Thing
from pixelreasoner.tasks.pixelworld.world import Split

SPLITS: tuple[Split, ...] = ("base", "train", "rl", "test")
WORLD = PixelWorld()
PER_KIND = 6
OVERVIEW_PX, CROP_PX, FRAME_PX = 128, 96, 48
"""Sides of the views of the small model this world was made for: a picture, a crop, a frame of a clip."""


def cases() -> Iterator[tuple[str, int, bool]]:
    return ((kind, i, tiny) for kind in KINDS for i in range(PER_KIND) for tiny in (True, False))


def drawn(split: Split = "train") -> Iterator[tuple[Task, Scene]]:
    """Tasks with the scenes they were drawn from."""
    for kind, index, tiny in cases():
        scene, _ = WORLD.scene(split, kind, index, tiny=tiny)
        yield WORLD.task(split, kind, index, needs_operation=tiny), scene


def asked(task: Task, scene: Scene) -> Thing:
    """The one thing a question names."""
    names = [t for t in scene.things if t.name in task.question]
    assert len(names) == 1
    return names[0]


def test_a_task_is_a_function_of_its_arguments():
    again = PixelWorld()
    for kind in KINDS:
        assert again.task("train", kind, 3, needs_operation=True) == WORLD.task(
            "train", kind, 3, needs_operation=True
        )
    other = PixelWorld(WorldConfig(seed=1)).task("train", "count", 3, needs_operation=True)
    assert other.media != WORLD.task("train", "count", 3, needs_operation=True).media


def test_the_stream_can_be_entered_anywhere():
    assert list(WORLD.tasks("rl", 4, start=7)) == list(WORLD.tasks("rl", 11))[7:]


def test_splits_share_no_task_and_no_picture():
    ids: set[str] = set()
    digests: set[str] = set()
    n_media = 0
    for split in SPLITS:
        for kind, index, tiny in cases():
            task = WORLD.task(split, kind, index, needs_operation=tiny)
            ids.add(task.id)
            for item in task.media:
                n_media += 1
                digests.add(item.digest)
    assert len(ids) == len(digests) == n_media == len(SPLITS) * len(KINDS) * PER_KIND * 2


def test_handwriting_of_the_test_split_is_held_out(monkeypatch: pytest.MonkeyPatch):
    class Recorder:
        """Stands in for a generator, and keeps what it was to choose from."""

        def choice(self, pool: np.ndarray) -> int:
            pools.append(set(pool.tolist()))
            return int(pool[0])

        def uniform(self, low: float, high: float, size: int = 1) -> np.ndarray | float:
            return np.full(size, 1.0) if size > 1 else 0.0

    n_images = len(paint.handwritten_digits()[1])
    image = Image.new("RGB", (40, 40))
    seen: dict[bool, set[int]] = {}
    for test in (False, True):
        pools: list[set[int]] = []
        for digit in "0123456789":
            paint.handwritten(image, Box(0, 0, 40, 40), digit, Recorder(), test=test, ink=(0, 0, 0))  # type: ignore[arg-type]
        seen[test] = set.union(*pools)
    assert not seen[True] & seen[False]
    assert len(seen[True] | seen[False]) == n_images


def test_training_bends_the_writing_about_its_centre_and_test_shows_it_as_it_is():
    def drawn(test: bool, seed: int) -> np.ndarray:
        image = Image.new("L", (64, 64), 255).convert("RGB")
        paint.handwritten(
            image, Box(0, 0, 64, 64), "0", np.random.default_rng(seed), test=test, ink=(0, 0, 0)
        )
        return 255.0 - np.asarray(image)[..., 0]

    def as_written(test: bool, seed: int) -> np.ndarray:
        images, labels = paint.handwritten_digits()
        pool = np.flatnonzero(labels == 0)
        cut = int(len(pool) * 0.8)
        pool = pool[cut:] if test else pool[:cut]
        mask = Image.fromarray(images[int(np.random.default_rng(seed).choice(pool))])
        return np.asarray(mask.resize((64, 64), Image.Resampling.BICUBIC)).astype(float)

    rows, columns = np.mgrid[:64, :64] + 0.5
    for seed in range(20):
        assert np.abs(drawn(True, seed) - as_written(True, seed)).max() <= 1  # blending rounds
        bent, plain = drawn(False, seed), as_written(False, seed)
        assert np.abs(bent - plain).mean() > 2
        for axis in (rows, columns):
            # The map is linear about the centre, so what was near it stays near it.
            assert abs(np.average(axis, weights=bent) - np.average(axis, weights=plain)) < 4


def test_only_the_test_split_draws_from_the_held_out_handwriting(monkeypatch: pytest.MonkeyPatch):
    used: list[bool] = []
    real = paint.handwritten

    def spy(*args: object, test: bool, **more: object) -> None:
        used.append(test)
        real(*args, test=test, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(paint, "handwritten", spy)
    for split in SPLITS:
        used.clear()
        for index in range(12):
            WORLD.scene(split, "attribute", index, tiny=True)
        assert used
        assert set(used) == {split == "test"}


@pytest.mark.parametrize("split", ["train", "test"])
def test_cues_are_exact(split: Split):
    for task, scene in drawn(split):
        thing, cue = asked(task, scene), task.cue
        assert cue is not None
        assert cue.box == thing.box
        assert cue.frames == thing.frames
        (media,) = task.media
        shown = media.frames if isinstance(media, Video) else (media,)
        for number, picture in enumerate(shown, start=1):
            here = _share(picture, thing.box, thing.colour)
            if not cue.frames or number in cue.frames:
                # A row's icon is a disc in the left 48 % of its box; a board's frame is 42 % of it.
                assert here > 0.3, task.id
            elif here > 0.9:
                pytest.fail(f"{task.id}: the card stands in frame {number} too")


def test_a_cue_is_tight():
    # Cards and boards reach exactly to the edges of their boxes.
    for task, scene in drawn():
        thing = asked(task, scene)
        (media,) = task.media
        if thing.noun == "row" or isinstance(media, Video):
            continue
        left, top, right, bottom = map(int, (thing.box.x1, thing.box.y1, thing.box.x2, thing.box.y2))
        edge = (paint.ink_on(thing.colour)) if thing.noun == "card" else COLOURS[thing.colour]
        outline = media.pixels[[top, bottom - 1], left:right].reshape(-1, 3).tolist()
        outline += media.pixels[top:bottom, [left, right - 1]].reshape(-1, 3).tolist()
        assert set(map(tuple, outline)) == {edge}


def _share(picture: Picture, box: Box, colour: str) -> float:
    """The share of a box's pixels that have exactly a named colour."""
    left, top, right, bottom = box.pixel_bounds(picture.size)
    return float((picture.pixels[top:bottom, left:right] == COLOURS[colour]).all(axis=2).mean())


def _view_scale(task: Task, thing: Thing, *, crop: bool) -> float:
    """View pixels per original pixel: of the overview, or of a selected frame or a crop of 3 sides."""
    (media,) = task.media
    overview = FRAME_PX if thing.frames else OVERVIEW_PX
    whole = (media.size.width * media.size.height) ** 0.5
    if not crop:
        return overview / whole
    return CROP_PX / (whole if thing.frames else 3 * thing.box.area**0.5)


def test_the_operation_is_needed_exactly_where_the_task_says_so():
    for task, scene in drawn():
        thing = asked(task, scene)
        least = LEGIBLE_DOT_PX if thing.noun == "board" else LEGIBLE_GLYPH_PX
        assert (thing.detail_px * _view_scale(task, thing, crop=False) < least) == task.needs_operation, (
            task.id
        )
        if task.needs_operation:
            assert thing.detail_px * _view_scale(task, thing, crop=True) >= least, task.id


def test_the_name_a_question_asks_about_is_unique_and_things_do_not_touch():
    for _, scene in drawn():
        assert len({t.name for t in scene.things}) == len(scene.things)
        for a, b in itertools.combinations(scene.things, 2):
            # Cards of a clip may stand in one place, at different times.
            assert not set(a.frames) & set(b.frames)
            assert a.frames or not a.box.pad(7).overlaps(b.box.pad(6))


def test_answers_are_right_by_an_independent_recount():
    for task, scene in drawn("test"):
        thing = asked(task, scene)
        assert task.answers == (_recount(task.question, thing),), task.id
        assert task.subject == thing.name


def _recount(question: str, thing: Thing) -> str:
    """The answer from where things stand, with nothing of the generator's own code."""
    if many := re.match(r"How many (\w+) dots", question):
        return str([d.colour for d in thing.dots].count(many[1]))
    if where := re.search(r"Where is the (\w+) dot relative to the (\w+) dot", question):
        at = {d.colour: d.box.center for d in thing.dots}
        (x1, y1), (x2, y2) = at[where[1]], at[where[2]]
        # Pictures have y pointing down; the longer axis decides.
        sides = {x2 - x1: "left", x1 - x2: "right", y2 - y1: "above", y1 - y2: "below"}
        return sides[max(sides)]
    assert thing.glyph
    return thing.glyph


def test_painted_dots_are_where_the_scene_says():
    for index in range(8):
        scene, _ = WORLD.scene("train", "count", index, tiny=False)
        assert isinstance(scene.media, Picture)
        for thing in scene.things:
            for dot in thing.dots:
                x, y = map(int, dot.box.center)
                assert tuple(scene.media.pixels[y, x].tolist()) == COLOURS[dot.colour]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_the_share_that_needs_the_operation_is_exact(share: float, monkeypatch: pytest.MonkeyPatch):
    # Only which tasks are drawn matters here, not their pictures.
    monkeypatch.setattr(
        PixelWorld, "task", lambda self, split, kind, index, *, needs_operation: (kind, needs_operation)
    )
    world = PixelWorld(WorldConfig(needs_operation_share=share))
    stream = list(world.tasks("train", 100))
    for kind in KINDS:
        assert stream.count((kind, True)) == round(20 * share)
        assert stream.count((kind, False)) == 20 - round(20 * share)


def test_clips_show_their_cards_in_whole_pairs_of_two_or_four_of_sixteen_frames():
    for index in range(6):
        scene, _ = WORLD.scene("train", "clip", index, tiny=True)
        assert isinstance(scene.media, Video)
        assert len(scene.media.frames) == 16
        for thing in scene.things:
            assert thing.frames == tuple(range(thing.frames[0], thing.frames[-1] + 1))
            assert len(thing.frames) in (2, 4)
            assert thing.frames[0] % 2 == 1, "the tower sees frames 1-2, 3-4, ..."


def test_a_world_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="unknown PixelWorld kinds"):
        PixelWorld(WorldConfig(kinds=("chess",)))
    with pytest.raises(ConfigError, match="less than or equal to 1"):
        PixelWorld(WorldConfig(needs_operation_share=1.5))
