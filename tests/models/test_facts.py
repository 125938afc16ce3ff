"""What a result says of its model."""

from __future__ import annotations

import json
from pathlib import Path

from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.config import LoraConfig, ModelConfig
from pixelreasoner.models.digests import checkpoint_digests
from pixelreasoner.models.facts import checkpoint_facts, model_facts
from pixelreasoner.models.loader import load_model


def test_a_checkpoint_is_named_with_the_digests_of_its_files():
    config = ModelConfig(device="cpu")
    digests = checkpoint_digests(checkpoint_folder("nano"))
    assert digests.keys() == {"weights", "tokenizer", "config"}
    facts = model_facts(config, load_model(config, training=False))
    assert facts["checkpoint"] == {"name": "nano", "chat_format": None, **digests}
    assert (facts["compute"]["device"], facts["compute"]["dtype"]) == ("cpu", "float32")


def test_adapters_are_named_with_what_they_belong_to(tmp_path: Path):
    alone, elsewhere = tmp_path / "alone", tmp_path / "elsewhere"
    (alone / "adapter").mkdir(parents=True)
    elsewhere.mkdir()
    (alone / "config.json").write_text("{}")
    (alone / "adapter" / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "nano"}))
    (elsewhere / "adapter_model.safetensors").write_text("x")
    base = checkpoint_digests(checkpoint_folder("nano"))
    facts = checkpoint_facts(ModelConfig(checkpoint=str(alone)))
    assert facts["base"] == base
    assert facts["adapters"] == checkpoint_digests(alone / "adapter")
    facts = checkpoint_facts(ModelConfig(lora=LoraConfig(start=elsewhere)))
    assert facts["adapters"] == checkpoint_digests(elsewhere)
    assert (facts["weights"], "base" in facts) == (base["weights"], False)
