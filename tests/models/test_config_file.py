"""A config.json that cannot be is refused in one line that names the file and the field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.models.config_file import model_config

ROPE = {"rope_type": "default", "rope_theta": 1e4}


@pytest.fixture
def changed(folder, tmp_path) -> Callable[..., Path]:
    """A folder of nothing but a family's config.json, with one field of a section set."""

    def make(section: str | None, **values: object) -> Path:
        config = json.loads((folder / "config.json").read_text())
        (config if section is None else config[section]).update(values)
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path

    return make


def test_those_that_fit_are_read(changed):
    config = model_config(changed(None))
    assert config.text_config.hidden_size == config.vision_config.out_hidden_size


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("text_config", {"hidden_size": "wide"}, "hidden_size"),
        ("text_config", {"num_hidden_layers": 0}, "num_hidden_layers"),
        ("text_config", {"num_attention_heads": 3, "num_key_value_heads": 2},
         "text_config.num_key_value_heads is 2, which does not divide the 3 heads"),
        ("vision_config", {"num_heads": 5}, "vision_config.num_heads is 5, which does not divide 32"),
        ("vision_config", {"out_hidden_size": 7}, "out_hidden_size is 7, and the decoder reads 32"),
        ("vision_config", {"patch_size": -4}, "vision_config.patch_size is -4"),
        ("text_config", {"rope_parameters": ROPE | {"mrope_section": [9, 1, 1]}},
         "text_config.rope_parameters.mrope_section is [9, 1, 1], which adds up to 11"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_is_named(changed, section, values, said):
    folder = changed(section, **values)
    with pytest.raises(CheckpointError) as e:
        model_config(folder)
    assert str(folder / "config.json") in str(e.value)
    assert said in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"layer_types": ["linear_attention"]}, "layer_types"),
        ({"linear_num_key_heads": 4, "linear_num_value_heads": 6}, "text_config.linear_num_value_heads is 6"),
    ],
)
def test_the_layers_of_qwen35(qwen35_folder, tmp_path, values, said):
    config = json.loads((qwen35_folder / "config.json").read_text())
    config["text_config"].update(values)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError) as e:
        model_config(tmp_path)
    assert said in str(e.value)
    assert "\n" not in str(e.value)


def test_a_tower_without_the_layers_that_are_named(tmp_path, qwen3_folder):
    config = json.loads((qwen3_folder / "config.json").read_text())
    config["vision_config"]["deepstack_visual_indexes"] = [0, 99]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="deepstack_visual_indexes names layer 99 of 3"):
        model_config(tmp_path)
