"""Toolboxes from a recipe: registered operations and one's own, under any name."""

from __future__ import annotations

import pytest

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.geometry import Unit
from pixelreasoner.ops.build import PAPER, OperationConfig, Replies, build_toolbox

REPLIES = Replies("Image {index}:", "Images {first} to {last}:", "Error: {error}")
MIRROR = "examples.operation:MirrorImage"


def build(*operations: OperationConfig, unit: Unit = Unit.RELATIVE):
    return build_toolbox(operations, unit=unit, replies=REPLIES)


def test_the_operations_of_the_paper_in_the_models_unit():
    crop, frames = build(*PAPER, unit=Unit.PIXEL).operations
    assert (crop.name, crop.unit, crop.reply) == ("crop_image", Unit.PIXEL, "Image {index}:")
    assert (frames.name, frames.reply) == ("select_frames", "Images {first} to {last}:")


def test_a_name_and_a_description_of_the_recipe_reach_the_model():
    toolbox = build(OperationConfig(use="crop_image", name="zoom", description="Look closer."))
    (schema,) = toolbox.schemas
    assert (schema["function"]["name"], schema["function"]["description"]) == ("zoom", "Look closer.")
    assert toolbox.names == ("zoom",)


def test_options_reach_an_operation():
    (crop,) = build(OperationConfig(use="crop_image", options={"min_side_px": 28})).operations
    assert crop.min_side_px == 28


def test_one_of_ones_own_beside_the_others():
    assert build(*PAPER, OperationConfig(use=MIRROR)).names == ("crop_image", "select_frames", "mirror_image")
    assert build(OperationConfig(use=MIRROR, name="flip")).names == ("flip",)


class WithoutSchema:
    name, schema = "mine", {}

    def __call__(self, arguments, context):
        raise NotImplementedError


@pytest.mark.parametrize(("config", "message"), [
    (OperationConfig(use="crop"), "no operation 'crop'; the registered ones are crop_image, crop_image_nor"),
    (OperationConfig(use="examples.operation:Nothing"), "has no 'Nothing'"),
    (OperationConfig(use="no_such_package:X"), "no module no_such_package"),
    (OperationConfig(use=MIRROR, options={"axis": 1}), "cannot be called with the options"),
    (OperationConfig(use="crop_image", options={"side": 1}), "cannot be called with the options"),
    (OperationConfig(use="json:dumps"), "'json:dumps' is no operation: it needs a name"),
    (OperationConfig(use=f"{__name__}:WithoutSchema"), r"its schema is \{\}; make one with"),
])  # fmt: skip
def test_what_a_recipe_can_get_wrong(config, message):
    with pytest.raises(ConfigError, match=message):
        build(config)


def test_a_name_is_given_once():
    with pytest.raises(ConfigError, match="two operations are called"):
        build(*PAPER, OperationConfig(use=MIRROR, name="crop_image"))
