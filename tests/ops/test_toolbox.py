"""The toolbox: whatever a model puts in a call, an observation comes out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelreasoner.core.errors import ConfigError, ErrorClass, OperationError
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.trajectory import Observation
from pixelreasoner.ops.image_context import DisplayedImage, ImageContext
from pixelreasoner.ops.operation import ToolSchema, check_index, check_names, function_schema
from pixelreasoner.ops.toolbox import Toolbox
from toolboxes import standard_toolbox

PHOTO = Picture(np.arange(30 * 40 * 3, dtype=np.uint8).reshape(30, 40, 3))
SCENE = ImageContext((DisplayedImage(PHOTO, PHOTO.size),), Video((PHOTO,) * 16))


def standard(unit: Unit = Unit.RELATIVE) -> Toolbox:
    return standard_toolbox(
        unit=unit,
        crop_reply="Image {index}:",
        frames_reply="Images {first} to {last}:",
        error_reply="Failed: {error}",
    )


def test_the_operations_of_the_paper_are_there():
    toolbox = standard()
    assert toolbox.names == ("crop_image", "select_frames")
    for schema in json.loads(json.dumps(toolbox.schemas)):
        assert schema["type"] == "function"
        assert set(schema["function"]) == {"name", "description", "parameters"}
        parameters = schema["function"]["parameters"]
        assert parameters["type"] == "object"
        assert parameters["required"] == list(parameters["properties"])


def test_a_good_call_is_carried_out():
    seen = standard().execute(ToolCall("crop_image", {"bbox_2d": [0, 0, 500, 500], "target_image": 1}), SCENE)
    assert seen.valid
    assert np.array_equal(seen.images[0].pixels, PHOTO.pixels[:15, :20])
    seen = standard().execute(ToolCall("select_frames", {"target_frames": [1, 3]}), SCENE)
    assert (seen.valid, seen.text, seen.frames) == (True, "Images 2 to 3:", (1, 3))


def test_a_mistake_becomes_an_observation():
    call = ToolCall("crop_image", {"bbox_2d": [0, 0, 500, 500], "target_image": 2})
    assert standard().execute(call, SCENE) == Observation(
        "Failed: target_image must be 1, not 2", valid=False, error_class=ErrorClass.TARGET
    )


def test_an_unknown_operation_is_told_which_there_are():
    seen = standard().execute(ToolCall("zoom<|im_end|>"), SCENE)
    assert seen == Observation(
        "Failed: there is no operation of that name; the operations are: crop_image, select_frames",
        valid=False,
        error_class=ErrorClass.UNKNOWN_OPERATION,
    )
    assert "none here" in Toolbox((), "{error}").execute(ToolCall("crop_image"), SCENE).text


def test_what_could_not_be_read_is_rejected_in_the_same_words():
    # Braces in a message are not fields.
    assert standard().reject("no } in {call}") == Observation(
        "Failed: no } in {call}", valid=False, error_class=ErrorClass.UNREADABLE
    )


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("zoom", {}, "unknown_operation"),
        ("crop_image", [1], "arguments"),
        ("crop_image", {"bbox_2d": [0, 0, 500, 500]}, "arguments"),
        ("crop_image", {"bbox_2d": [0, 0, 500, 500], "target_image": 1, "zoom": 2}, "arguments"),
        ("crop_image", {"bbox_2d": "all", "target_image": 1}, "arguments"),
        ("crop_image", {"bbox_2d": [0, 0, 500], "target_image": 1}, "arguments"),
        ("crop_image", {"bbox_2d": [0, 0, 500, None], "target_image": 1}, "arguments"),
        ("crop_image", {"bbox_2d": [0, 0, 500, 500], "target_image": "1"}, "arguments"),
        ("crop_image", {"bbox_2d": [0, 0, 500, 500], "target_image": 2}, "target"),
        ("crop_image", {"bbox_2d": [0, 0, 5000, 500], "target_image": 1}, "region"),
        ("crop_image", {"bbox_2d": [500, 0, 0, 500], "target_image": 1}, "region"),
        ("crop_image", {"bbox_2d": [0, 0, 1, 1], "target_image": 1}, "region"),
        ("select_frames", {"target_frames": 1}, "arguments"),
        ("select_frames", {"target_frames": []}, "arguments"),
        ("select_frames", {"target_frames": [1, 1]}, "arguments"),
        ("select_frames", {"target_frames": [999]}, "target"),
    ],
)
def test_why_a_call_failed_is_recorded_where_it_fails(name: str, arguments: Any, expected: str):
    assert standard().execute(ToolCall(name, arguments), SCENE).error_class == expected


def test_a_reply_without_its_field_is_refused_at_once():
    with pytest.raises(ConfigError, match=r"\{error\}"):
        Toolbox((), "Failed: {message}")


# --------------------------------------------------------------------------------- an operation of one's own


@dataclass(frozen=True)
class FlipImage:
    """The example in `Operation`'s docstring."""

    name: str = "flip_image"

    @property
    def schema(self) -> ToolSchema:
        return function_schema(
            self.name,
            "Mirror an image.",
            {"target_image": {"type": "integer", "description": "Number of the image, from 1."}},
        )

    def __call__(self, arguments: Mapping[str, Any], context: ImageContext) -> Observation:
        check_names(arguments, ("target_image",))
        i = check_index(arguments["target_image"], "target_image", len(context.images))
        mirrored = Picture(np.ascontiguousarray(context.images[i - 1].picture.pixels[:, ::-1]))
        return Observation("The mirrored image:", images=(mirrored,), source=i)


class Moody(FlipImage):
    def __call__(self, arguments: Mapping[str, Any], context: ImageContext) -> Observation:
        raise OperationError("not today")


def test_a_reason_without_a_class_is_another_reason():
    seen = Toolbox((Moody(),), "{error}").execute(ToolCall("flip_image"), SCENE)
    assert seen == Observation("not today", valid=False, error_class=ErrorClass.OTHER)


def test_an_operation_of_ones_own_works_like_the_others():
    toolbox = standard().add(FlipImage())
    assert toolbox.names == ("crop_image", "select_frames", "flip_image")
    assert toolbox.schemas[2]["function"]["parameters"]["required"] == ["target_image"]
    seen = toolbox.execute(ToolCall("flip_image", {"target_image": 1}), SCENE)
    assert np.array_equal(seen.images[0].pixels, PHOTO.pixels[:, ::-1])
    failed = toolbox.execute(ToolCall("flip_image", {"target_image": 1}), ImageContext())
    assert failed == Observation(
        "Failed: target_image: there is none to choose from", valid=False, error_class=ErrorClass.TARGET
    )
    assert standard().names == ("crop_image", "select_frames")


def test_a_name_can_be_taken_once():
    with pytest.raises(ConfigError, match="crop_image"):
        standard().add(FlipImage(name="crop_image"))


@dataclass(frozen=True)
class Broken(FlipImage):
    error: type[Exception] = KeyError

    def __call__(self, arguments: Mapping[str, Any], context: ImageContext) -> Observation:
        raise self.error("from inside")


def test_only_the_models_mistakes_are_caught():
    call = ToolCall("flip_image")
    assert not Toolbox((Broken(error=OperationError),), "{error}").execute(call, SCENE).valid
    with pytest.raises(KeyError, match="from inside"):
        Toolbox((Broken(),), "{error}").execute(call, SCENE)


# ---------------------------------------------------------------------------------------------------- fuzz

numbers = st.one_of(
    st.integers(-3, 1003),
    st.integers(),
    st.floats(),
    st.sampled_from([10**400, -(10**400), 2.0, 1e308, -0.0, True, False]),
)
leaves = st.one_of(numbers, st.none(), st.text(max_size=5))
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=10,
)
fields = st.sampled_from(["bbox_2d", "target_image", "target_frames", "x"])
nearly_right = st.fixed_dictionaries(
    {"bbox_2d": st.lists(numbers, min_size=4, max_size=4) | values, "target_image": numbers | values}
) | st.fixed_dictionaries({"target_frames": st.lists(numbers, max_size=9) | values})
arguments = nearly_right | st.dictionaries(fields, values, max_size=4)
scenes = st.sampled_from(
    [
        SCENE,
        ImageContext(),
        ImageContext(SCENE.images * 3),
        ImageContext(video=SCENE.video),
        ImageContext(video=Video((PHOTO,))),
    ]
)


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(["crop_image", "select_frames", "", "zoom"]), arguments, scenes, st.sampled_from(Unit))
def test_no_call_can_raise(name: str, arguments: dict[str, Any], context: ImageContext, unit: Unit):
    seen = standard(unit).execute(ToolCall(name, arguments), context)
    assert bool(seen.images) == seen.valid
    assert seen.text.startswith("Image" if seen.valid else "Failed: ")
    # A small model reads it, and its context is short.
    assert len(seen.text) < 160


@pytest.mark.parametrize("arguments", [None, [], "bbox_2d", 7])
def test_arguments_that_are_no_object_are_an_observation_too(arguments: Any):
    seen = standard().execute(ToolCall("crop_image", arguments), SCENE)
    assert seen == Observation(
        "Failed: the arguments must be an object with names and values",
        valid=False,
        error_class=ErrorClass.ARGUMENTS,
    )
