"""The config.json of a checkpoint, looked at before a model is made of it: its sizes have to fit together.

transformers builds what it can, and what cannot be computed fails later, in the middle of a pass, with a
message about the shapes of tensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig

from pixelreasoner.chat.families import family_of
from pixelreasoner.core.errors import CheckpointError

FILE = "config.json"
_FIELD = re.compile(r"[Ff]ield '(\w+)'")
_COUNTS = {
    "text_config": (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "intermediate_size",
    ),
    "vision_config": ("hidden_size", "depth", "num_heads", "patch_size", "spatial_merge_size",
                      "temporal_patch_size", "intermediate_size", "out_hidden_size"),
}  # fmt: skip
"""What has to be 1 at least."""


def model_config(folder: Path) -> PreTrainedConfig:
    """The configuration of a checkpoint folder, as transformers reads it.

    Raises:
        CheckpointError: there is none, its architecture is not supported, or a field has a value of the wrong
            kind or one that does not fit the others; the file and the field are named.
    """
    family_of(folder)
    path = folder / FILE
    try:
        config: Any = AutoConfig.from_pretrained(folder)
    except (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError, OSError) as e:
        # The lines of a validation error: what failed, then why.
        reason = " ".join(str(e).split())
        field = _FIELD.search(reason)
        named = f"{field[1]}: " if field else ""
        raise CheckpointError(f"{path}: {named}{reason}; download it again") from e
    for field, problem in _problems(config):
        raise CheckpointError(f"{path}: {field} {problem}; its sizes do not fit together, download it again")
    return config


def _problems(config: Any) -> Iterator[tuple[str, str]]:
    """Fields that cannot be, each with what is wrong with it."""
    for section, names in _COUNTS.items():
        part = getattr(config, section)
        for name in names:
            value = getattr(part, name, 1)
            if not isinstance(value, int) or value < 1:
                yield f"{section}.{name}", f"is {value!r}, and at least 1 is needed"
    yield from _text_problems(config.text_config)
    yield from _vision_problems(config.vision_config, config.text_config.hidden_size)


def _text_problems(text: Any) -> Iterator[tuple[str, str]]:
    heads, kv_heads = text.num_attention_heads, text.num_key_value_heads
    if heads % kv_heads:
        yield "text_config.num_key_value_heads", f"is {kv_heads}, which does not divide the {heads} heads"
    width = getattr(text, "head_dim", None)
    if width is None and text.hidden_size % heads:
        yield "text_config.num_attention_heads", f"is {heads}, which does not divide {text.hidden_size}"
    width = width or text.hidden_size // heads
    rope: Any = text.rope_parameters or {}
    rotated = int(width * rope.get("partial_rotary_factor", 1.0))
    sections = rope.get("mrope_section")
    if sections is not None and 2 * sum(sections) != rotated:
        yield (
            "text_config.rope_parameters.mrope_section",
            f"is {list(sections)}, which adds up to {sum(sections)} and not to half of {rotated} dimensions",
        )
    kinds = getattr(text, "layer_types", None)
    if kinds is not None and len(kinds) != text.num_hidden_layers:
        yield "text_config.layer_types", f"has {len(kinds)} entries for {text.num_hidden_layers} layers"
    keys = getattr(text, "linear_num_key_heads", None)
    if keys and text.linear_num_value_heads % keys:
        yield (
            "text_config.linear_num_value_heads",
            f"is {text.linear_num_value_heads}, no multiple of the {keys} heads of keys",
        )


def _vision_problems(vision: Any, width: int) -> Iterator[tuple[str, str]]:
    if vision.hidden_size % vision.num_heads:
        yield "vision_config.num_heads", f"is {vision.num_heads}, which does not divide {vision.hidden_size}"
    if vision.out_hidden_size != width:
        yield "vision_config.out_hidden_size", f"is {vision.out_hidden_size}, and the decoder reads {width}"
    for name in ("deepstack_visual_indexes", "fullatt_block_indexes"):
        for index in getattr(vision, name, None) or ():
            if not 0 <= index < vision.depth:
                yield f"vision_config.{name}", f"names layer {index} of {vision.depth}"
