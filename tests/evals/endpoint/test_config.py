"""What an endpoint's section has to say, and what follows for pictures and boxes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pixelreasoner.chat.chat_format import Wording
from pixelreasoner.chat.checkpoint_files import load_vision_spec
from pixelreasoner.chat.xml_calls import XML_CALLS
from pixelreasoner.core.errors import ConfigError, MissingExtraError
from pixelreasoner.core.geometry import Size, Unit
from pixelreasoner.evals.endpoint.client import ChatClient
from pixelreasoner.evals.endpoint.config import EndpointConfig, spoken
from pixelreasoner.evals.run import EvalConfig
from pixelreasoner.models.checkpoints import SHIPPED

URL = "http://localhost:1/v1"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "say what the numbers of a box mean"),
        ({"family": "llava"}, "there is no family 'llava'"),
        ({"family": "qwen3_vl", "checkpoint": "nano"}, "read from the checkpoint"),
        ({"unit": "pixel", "url": "localhost:8000"}, "begins with http"),
        ({"unit": "pixel", "timeout_s": 0}, "greater than 0"),
    ],
)
def test_what_is_missing_or_wrong_is_named(values: dict[str, object], said: str):
    with pytest.raises(ConfigError, match=said):
        EndpointConfig(**{"url": URL, "model": "m", **values})  # pyright: ignore[reportArgumentType]


def test_one_thing_is_evaluated():
    endpoint = EndpointConfig(url=URL, model="m", unit=Unit.PIXEL)
    with pytest.raises(ConfigError, match="one is evaluated"):
        EvalConfig(out=Path("out"), endpoint=endpoint, policy="a:b")
    assert EvalConfig(out=Path("out"), endpoint=endpoint).subject == "m"
    assert EvalConfig(out=Path("out"), policy="a:b").subject == "a:b"


@pytest.mark.parametrize(
    ("family", "unit", "size", "role"),
    [
        # Multiples of 28 nearest to 1000 and 500.
        ("qwen2_5_vl", Unit.PIXEL, Size(1008, 504), "user"),
        ("qwen3_vl", Unit.RELATIVE, Size(992, 512), "user"),
        ("qwen3_5", Unit.RELATIVE, Size(992, 512), "tool"),
    ],
)
def test_a_family_says_unit_sizes_and_role(family: str, unit: Unit, size: Size, role: str, picture):
    about = spoken(EndpointConfig(url=URL, model="m", family=family), Wording())
    assert about.vision.unit is unit
    assert about.vision.size_of(picture(1000, 500), crop=False) == size
    assert about.chat_format.observation_role == role
    assert (about.syntax is XML_CALLS) == (family == "qwen3_5")


def test_a_checkpoint_says_what_it_says_in_this_process():
    about = spoken(EndpointConfig(url=URL, model="m", checkpoint="nano"), Wording())
    assert about.vision == load_vision_spec(SHIPPED / "nano")


def test_another_model_sees_pictures_as_they_are_up_to_the_budget_of_the_recipe(picture):
    config = EndpointConfig(url=URL, model="m", unit=Unit.PIXEL)
    assert spoken(config, Wording()).vision.size_of(picture(301, 77), crop=False) == Size(301, 77)
    small = Wording.model_validate({"image": {"min_pixels": 1, "max_pixels": 100}})
    assert spoken(config, small).vision.size_of(picture(40, 10), crop=True) == Size(20, 5)


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pixelreasoner\[endpoint\]'"):
        ChatClient(EndpointConfig(url=URL, model="m", unit=Unit.PIXEL))


def test_a_key_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("openai")
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ConfigError, match="environment variable MY_KEY is not set"):
        ChatClient(EndpointConfig(url=URL, model="m", unit=Unit.PIXEL, api_key_env="MY_KEY"))
