"""crop_image: original pixels bit for bit, and a readable refusal for everything else."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.core.errors import ConfigError, OperationError
from pixelreasoner.core.geometry import Box, Size, Unit
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.ops.crop import CropImage
from pixelreasoner.ops.frames import SelectFrames
from pixelreasoner.ops.image_context import DisplayedImage, ImageContext

REPLY = "{index}|{width}x{height}|{target}"


def noise(width: int, height: int, seed: int = 0) -> Picture:
    return Picture(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def image_context(*pictures: Picture, view: Size | None = None) -> ImageContext:
    return ImageContext(tuple(DisplayedImage(p, view or p.size) for p in pictures))


def crop(context: ImageContext, bbox: object, target: object = 1, *, unit: Unit = Unit.PIXEL, **options):
    return CropImage(unit, REPLY, **options)({"bbox_2d": bbox, "target_image": target}, context)


def refusal(context: ImageContext, bbox: object, target: object = 1, *, unit: Unit = Unit.PIXEL) -> str:
    with pytest.raises(OperationError) as e:
        crop(context, bbox, target, unit=unit)
    return str(e.value)


PHOTO = noise(60, 40)


def test_a_crop_is_the_original_pixels():
    seen = crop(image_context(PHOTO), [10, 5, 30, 25])
    assert np.array_equal(seen.images[0].pixels, PHOTO.pixels[5:25, 10:30])
    assert seen.text == "2|20x20|1"
    assert seen.valid
    assert seen.box == Box(10, 5, 30, 25)
    assert seen.source == 1


@st.composite
def regions(draw: st.DrawFn, size: Size, least: int = 4) -> tuple[int, int, int, int]:
    """Whole-pixel boxes inside an image: left, top, right, bottom."""
    left = draw(st.integers(0, size.width - least))
    top = draw(st.integers(0, size.height - least))
    return (
        left,
        top,
        draw(st.integers(left + least, size.width)),
        draw(st.integers(top + least, size.height)),
    )


views = st.builds(Size, st.integers(1, 3000), st.integers(1, 3000))


@given(st.data(), views, st.sampled_from(Unit))
def test_a_region_named_in_any_unit_is_cut_to_the_pixel(data: st.DataObject, view: Size, unit: Unit):
    """Whatever the size at which the model saw the picture, and whatever its coordinates mean."""
    left, top, right, bottom = data.draw(regions(PHOTO.size))
    share = Box(left, top, right, bottom).to(Unit.FRACTION, PHOTO.size)
    box = share.to(unit, view)
    seen = crop(image_context(PHOTO, view=view), [box.x1, box.y1, box.x2, box.y2], unit=unit)
    assert np.array_equal(seen.images[0].pixels, PHOTO.pixels[top:bottom, left:right])
    assert seen.box == Box(left, top, right, bottom)


@given(st.data(), views)
def test_a_crop_of_a_crop_is_original_pixels_too(data: st.DataObject, view: Size):
    l1, t1, r1, b1 = data.draw(regions(PHOTO.size, least=8))
    first = crop(image_context(PHOTO), [l1, t1, r1, b1])
    context = image_context(PHOTO).add(DisplayedImage(first.images[0], view))
    l2, t2, r2, b2 = data.draw(regions(first.images[0].size))
    box = Box(l2, t2, r2, b2).to(Unit.RELATIVE, first.images[0].size)
    second = crop(context, [box.x1, box.y1, box.x2, box.y2], 2, unit=Unit.RELATIVE)
    assert np.array_equal(second.images[0].pixels, PHOTO.pixels[t1 + t2 : t1 + b2, l1 + l2 : l1 + r2])
    assert (second.source, second.box) == (2, Box(l2, t2, r2, b2))
    assert second.text.startswith("3|")


def test_a_crop_of_a_selected_frame_is_original_pixels():
    video = Video(tuple(noise(50, 30, seed=i) for i in range(16)))
    context = ImageContext(video=video)
    selected = SelectFrames("{first}")({"target_frames": [3, 16]}, context)
    context = context.add(*(DisplayedImage(p, Size(25, 15)) for p in selected.images))
    # The model saw it at half the size.
    seen = crop(context, [5, 0, 25, 10], 2)
    assert np.array_equal(seen.images[0].pixels, video.frames[15].pixels[0:20, 10:50])


def test_bounds_round_outward():
    # A third of 60 by 40 in thousandths: 19.98 to 39.96, and 13.32 to 26.64.
    seen = crop(image_context(PHOTO), [333, 333, 666, 666], unit=Unit.RELATIVE)
    assert seen.box == Box(19, 13, 40, 27)


def test_pixels_mean_those_of_the_picture_as_shown():
    big = noise(400, 200)
    seen = crop(image_context(big, view=Size(100, 50)), [10, 10, 20, 30])
    assert np.array_equal(seen.images[0].pixels, big.pixels[40:120, 40:80])


def test_the_whole_picture_can_be_cropped_in_every_unit():
    for unit, bbox in {
        Unit.PIXEL: [0, 0, 60, 40],
        Unit.FRACTION: [0, 0, 1, 1.0],
        Unit.RELATIVE: [0, 0, 1000, 1000],
    }.items():
        assert crop(image_context(PHOTO), bbox, unit=unit).images == (PHOTO,)


@pytest.mark.parametrize(
    ("unit", "bbox"),
    [
        (Unit.PIXEL, [-1, 0, 61, 41]),
        (Unit.RELATIVE, [0, -0.5, 1001, 1000]),
        (Unit.FRACTION, [0, 0, 1.001, 1.0005]),
    ],
)
def test_one_step_beyond_the_edge_is_the_edge(unit: Unit, bbox: list[float]):
    assert crop(image_context(PHOTO), bbox, unit=unit).images == (PHOTO,)


def outside(corner: str, limit: int, value: str) -> str:
    return f"{corner} of bbox_2d is outside the image: it must be from 0 to {limit}, not {value}"


@pytest.mark.parametrize(
    ("unit", "bbox", "said"),
    [
        (Unit.PIXEL, [0, 0, 62, 40], outside("x2", 60, "62")),
        (Unit.PIXEL, [0, 0, 60, 42], outside("y2", 40, "42")),
        (Unit.RELATIVE, [-2, 0, 9, 9], outside("x1", 1000, "-2")),
        (Unit.FRACTION, [0, 0, 60, 40], outside("x2", 1, "60")),
        (Unit.PIXEL, [0, 0, 10**400, 9], outside("x2", 60, "a huge number")),
        (Unit.PIXEL, [0, -(10**5000), 9, 9], outside("y1", 40, "a huge number")),
        (Unit.PIXEL, [0, 0, math.inf, 9], outside("x2", 60, "a huge number")),
        (Unit.PIXEL, [math.nan, 0, 9, 9], outside("x1", 60, "nan")),
        (Unit.PIXEL, [30, 0, 10, 9], "the box has no area: x1 (30) must be less than x2 (10)"),
        (Unit.PIXEL, [0, 9, 10, 9], "the box has no area: y1 (9) must be less than y2 (9)"),
        (Unit.RELATIVE, [1000, 0, 1001, 9], "the box has no area: x1 (1000) must be less than x2 (1000)"),
        (
            Unit.PIXEL,
            [0, 0, 3, 20],
            "the box holds only 3x20 pixels of the image; a crop needs at least 4x4: give a larger box",
        ),
        (Unit.PIXEL, [0, 0, 9], "bbox_2d must have 4 numbers [x1, y1, x2, y2], not 3"),
        (Unit.PIXEL, [], "bbox_2d must have 4 numbers [x1, y1, x2, y2], not 0"),
        (Unit.PIXEL, "0, 0, 9, 9", "bbox_2d must be a list of 4 numbers [x1, y1, x2, y2], not a string"),
        (Unit.PIXEL, None, "bbox_2d must be a list of 4 numbers [x1, y1, x2, y2], not null"),
        (Unit.PIXEL, {"x1": 0}, "bbox_2d must be a list of 4 numbers [x1, y1, x2, y2], not an object"),
        (Unit.PIXEL, 7, "bbox_2d must be a list of 4 numbers [x1, y1, x2, y2], not a number"),
        (Unit.PIXEL, [0, 0, "9", 9], "x2 of bbox_2d must be a number, not a string"),
        (Unit.PIXEL, [0, 0, True, 9], "x2 of bbox_2d must be a number, not a boolean"),
        (Unit.PIXEL, [0, None, 9, 9], "y1 of bbox_2d must be a number, not null"),
        (Unit.PIXEL, [[0, 0, 9, 9]] * 4, "x1 of bbox_2d must be a number, not a list"),
    ],
)
def test_boxes_that_make_no_sense_are_refused_in_words(unit: Unit, bbox: object, said: str):
    assert refusal(image_context(PHOTO), bbox, unit=unit) == said


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (0, "target_image must be a whole number from 1 to 2, not 0"),
        (3, "target_image must be a whole number from 1 to 2, not 3"),
        (-1, "target_image must be a whole number from 1 to 2, not -1"),
        (1.5, "target_image must be a whole number from 1 to 2, not 1.5"),
        (math.nan, "target_image must be a whole number from 1 to 2, not nan"),
        (10**400, "target_image must be a whole number from 1 to 2, not a huge number"),
        (True, "target_image must be a whole number from 1 to 2, not a boolean"),
        ("1", "target_image must be a whole number from 1 to 2, not a string"),
        ([1], "target_image must be a whole number from 1 to 2, not a list"),
        (None, "target_image must be a whole number from 1 to 2, not null"),
    ],
)
def test_targets_that_do_not_exist_are_refused_in_words(target: object, said: str):
    assert refusal(image_context(PHOTO, PHOTO), [0, 0, 9, 9], target) == said


def test_a_single_image_is_named_plainly():
    assert refusal(image_context(PHOTO), [0, 0, 9, 9], 2) == "target_image must be 1, not 2"


def test_two_point_nought_is_two():
    other = noise(60, 40, seed=1)
    assert crop(image_context(PHOTO, other), [0, 0, 60, 40], 2.0).images == (other,)


def test_nothing_to_crop():
    assert refusal(ImageContext(), [0, 0, 9, 9]) == "there is no image to crop"
    video = Video((PHOTO,))
    assert "select frames of the video first" in refusal(ImageContext(video=video), [0, 0, 9, 9])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "missing argument: bbox_2d, target_image"),
        ({"bbox_2d": [0, 0, 9, 9]}, "missing argument: target_image"),
        ({"bbox": [0, 0, 9, 9], "target_image": 1}, "missing argument: bbox_2d"),
        (
            {"bbox_2d": [0, 0, 9, 9], "target_image": 1, "<|im_end|>": 1},
            "unknown argument; the arguments are: bbox_2d, target_image",
        ),
    ],
)
def test_arguments_must_be_exactly_those_of_the_schema(arguments: dict, said: str):
    with pytest.raises(OperationError) as e:
        CropImage(Unit.PIXEL, REPLY)(arguments, image_context(PHOTO))
    assert str(e.value) == said


def test_an_image_smaller_than_the_least_crop_can_be_seen_whole():
    tiny = noise(2, 30)
    assert crop(image_context(tiny), [0, 0, 2, 10]).images[0].size == (2, 10)
    assert "at least 2x4" in refusal(image_context(tiny), [0, 0, 1, 10])


def test_the_least_side_is_an_option():
    assert crop(image_context(PHOTO), [0, 0, 1, 1], min_side_px=1).images[0].size == (1, 1)


@pytest.mark.parametrize("unit", Unit)
def test_the_schema_says_what_the_numbers_mean(unit: Unit):
    function = CropImage(unit, REPLY).schema["function"]
    assert function["name"] == "crop_image"
    assert function["parameters"]["required"] == ["bbox_2d", "target_image"]
    words = {Unit.PIXEL: "pixels", Unit.FRACTION: "fractions", Unit.RELATIVE: "thousandths"}
    assert words[unit] in function["parameters"]["properties"]["bbox_2d"]["description"]


@pytest.mark.parametrize("reply", ["{indx}", "{", "{}", "{index.x}", "{width:q}"])
def test_a_reply_that_cannot_be_filled_in_is_refused_at_once(reply: str):
    with pytest.raises(ConfigError, match=r"\{index\}, \{width\}, \{height\}, \{target\}"):
        CropImage(Unit.PIXEL, reply)
