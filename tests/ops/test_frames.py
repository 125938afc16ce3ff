"""select_frames: the frames asked for, and a readable refusal for everything else."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.core.errors import ConfigError, OperationError
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.ops.frames import SelectFrames
from pixelreasoner.ops.image_context import DisplayedImage, ImageContext

FRAMES = tuple(Picture(np.full((4, 6, 3), 10 * i, np.uint8)) for i in range(16))
CLIP = ImageContext(video=Video(FRAMES))
SELECT = SelectFrames("{first}-{last}: {frames}")


def refusal(value: object, context: ImageContext = CLIP) -> str:
    with pytest.raises(OperationError) as e:
        SELECT({"target_frames": value}, context)
    return str(e.value)


def test_frames_come_back_as_they_are_and_numbered():
    seen = SELECT({"target_frames": [2, 16, 1]}, CLIP)
    assert seen.images == (FRAMES[1], FRAMES[15], FRAMES[0])
    assert seen.frames == (2, 16, 1)
    assert seen.text == "1-3: 2, 16, 1"
    assert seen.valid


def test_images_are_numbered_after_those_there_are():
    context = CLIP.add(DisplayedImage(FRAMES[0], FRAMES[0].size), DisplayedImage(FRAMES[1], FRAMES[1].size))
    assert SELECT({"target_frames": [5]}, context).text == "3-3: 5"


@given(st.lists(st.integers(1, 16), min_size=1, max_size=8, unique=True))
def test_every_choice_of_up_to_eight_is_granted(numbers: list[int]):
    seen = SELECT({"target_frames": numbers}, CLIP)
    assert [FRAMES.index(p) + 1 for p in seen.images] == numbers == list(seen.frames)


def test_two_point_nought_is_two():
    assert SELECT({"target_frames": [2.0]}, CLIP).frames == (2,)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "target_frames is empty; give up to 8 numbers from 1 to 16"),
        ([0], "each of target_frames must be a whole number from 1 to 16, not 0"),
        ([1, 17], "each of target_frames must be a whole number from 1 to 16, not 17"),
        ([-1], "each of target_frames must be a whole number from 1 to 16, not -1"),
        ([2.5], "each of target_frames must be a whole number from 1 to 16, not 2.5"),
        ([math.inf], "each of target_frames must be a whole number from 1 to 16, not a huge number"),
        ([10**5000], "each of target_frames must be a whole number from 1 to 16, not a huge number"),
        (["1"], "each of target_frames must be a whole number from 1 to 16, not a string"),
        ([True], "each of target_frames must be a whole number from 1 to 16, not a boolean"),
        ([[1, 2]], "each of target_frames must be a whole number from 1 to 16, not a list"),
        ([None], "each of target_frames must be a whole number from 1 to 16, not null"),
        (list(range(1, 10)), "at most 8 frames can be selected, not 9"),
        ([3, 1, 3], "target_frames names a frame twice; name each frame once"),
        (5, "target_frames must be a list of frame numbers, not a number"),
        ("1, 2", "target_frames must be a list of frame numbers, not a string"),
        (None, "target_frames must be a list of frame numbers, not null"),
        ({}, "target_frames must be a list of frame numbers, not an object"),
    ],
)
def test_choices_that_make_no_sense_are_refused_in_words(value: object, said: str):
    assert refusal(value) == said


def test_without_a_video_there_is_nothing_to_select():
    context = ImageContext((DisplayedImage(FRAMES[0], FRAMES[0].size),))
    assert refusal([1], context) == "there is no video to select frames from"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "missing argument: target_frames"),
        ({"target_frames": [1], "fps": 2}, "unknown argument; the arguments are: target_frames"),
    ],
)
def test_arguments_must_be_exactly_those_of_the_schema(arguments: dict, said: str):
    with pytest.raises(OperationError) as e:
        SELECT(arguments, CLIP)
    assert str(e.value) == said


def test_the_most_frames_is_an_option_the_schema_shows():
    select = SelectFrames("{frames}", max_frames=2)
    assert select.schema["function"]["parameters"]["properties"]["target_frames"]["maxItems"] == 2
    with pytest.raises(OperationError, match="at most 2"):
        select({"target_frames": [1, 2, 3]}, CLIP)


def test_a_reply_that_cannot_be_filled_in_is_refused_at_once():
    with pytest.raises(ConfigError, match=r"\{first\}, \{last\}, \{frames\}"):
        SelectFrames("{index}")
