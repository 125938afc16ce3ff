"""A served model in an eval recipe: where it is, how it is asked, and what its boxes mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import field_validator, model_validator

from pixelreasoner.chat.chat_format import ChatFormat, PixelBudget, Wording
from pixelreasoner.chat.checkpoint_files import vision_spec, with_format
from pixelreasoner.chat.families import FAMILIES, CallSyntax, Family, family_of
from pixelreasoner.chat.hermes import HERMES
from pixelreasoner.chat.pixels import Normalization
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.config import MAY_CHANGE, Count
from pixelreasoner.core.geometry import Unit
from pixelreasoner.endpoint.access import ServerConfig
from pixelreasoner.models.checkpoints import checkpoint_folder

CHECKPOINT_FILES = ("*.json", "*.jinja")
"""What is fetched of a checkpoint of the hub: no weights."""
UNKNOWN_FAMILY = VisionSpec(
    unit=Unit.PIXEL,
    patch=1,
    merge=1,
    temporal_patch=1,
    normalization=Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    image=PixelBudget(min_pixels=1, max_pixels=2**22),
    crop=PixelBudget(min_pixels=1, max_pixels=2**22),
    video_frame=PixelBudget(min_pixels=1, max_pixels=2**20),
)
"""How pictures go to a model whose resizing is not known: as they are, up to 4 megapixels, frames up to 1."""


class EndpointConfig(ServerConfig):
    """A model behind an OpenAI-compatible chat endpoint, as of vLLM and SGLang; needs the extra `endpoint`.

    What its boxes mean has to be said, by one of `checkpoint`, `family` and `unit`. Where the pictures of an
    observation go is `interaction.wording.observation_role`; how many pixels are sent at most is
    `interaction.wording.image`, `crop` and `video_frame`.
    """

    checkpoint: str | None = None
    """What is served: a folder, a shipped checkpoint's name, or a hub id. How it sees, points and is spoken
    to is read from its files; its weights are not."""
    family: str | None = None
    """Its family, where the checkpoint is not at hand: `qwen2_5_vl`, `qwen3_vl` or `qwen3_5`."""
    unit: Unit | None = None
    """What the numbers of a box mean, for a model of no such family: `pixel` (of the picture as it is sent),
    `relative` (0 to 1000) or `fraction`; in place of the family's where both are given."""
    calls: Literal["text", "native"] = "text"
    """How operations are offered and called. text: in words of the prompt, and between tags of the message;
    any server does. native: as `tools` of the request and `tool_calls` of the reply; the server needs the
    model's parser of calls."""
    max_failures: Annotated[Count, MAY_CHANGE] = 20
    """After so many tasks that got no reply, no other one is begun."""

    @field_validator("family")
    @classmethod
    def _is_known(cls, family: str | None) -> str | None:
        if family is not None and family not in FAMILIES:
            raise ValueError(
                f"there is no family '{family}'; they are {', '.join(FAMILIES)}. "
                f"Leave it out for another model, and give unit"
            )
        return family

    @model_validator(mode="after")
    def _says_what_boxes_mean(self) -> Self:
        if self.checkpoint is not None and self.family is not None:
            raise ValueError("the family is read from the checkpoint; leave one of them out")
        if self.checkpoint is None and self.family is None and self.unit is None:
            raise ValueError(
                "say what the numbers of a box mean, which a server does not tell: give checkpoint, family "
                "or unit"
            )
        return self


@dataclass(frozen=True)
class Spoken:
    """How a served model is spoken to."""

    vision: VisionSpec
    """The sizes at which pictures are sent, and what the numbers of a box mean."""
    chat_format: ChatFormat
    syntax: CallSyntax
    """How a native call is written in the record."""


def spoken(config: EndpointConfig, wording: Wording) -> Spoken:
    """How the model of an endpoint is spoken to, in the words of a recipe.

    Raises:
        CheckpointError: there is no such checkpoint, or a file of it cannot be read.
    """
    chat_format, vision, syntax = ChatFormat(), UNKNOWN_FAMILY, HERMES
    if config.checkpoint is not None:
        folder = checkpoint_folder(config.checkpoint, CHECKPOINT_FILES)
        family, saved = family_of(folder), ChatFormat.load(folder)
        chat_format = _with_role(saved, family)
        vision, syntax = vision_spec(folder, family, saved), family.syntax
    elif config.family is not None:
        family = FAMILIES[config.family]
        chat_format, vision, syntax = _with_role(chat_format, family), _usual_vision(family), family.syntax
    chat_format = chat_format.with_wording(wording)
    if config.unit is not None:
        chat_format = chat_format.model_copy(update={"unit": config.unit})
    return Spoken(with_format(vision, chat_format), chat_format, syntax)


def _with_role(chat_format: ChatFormat, family: Family) -> ChatFormat:
    """The format with the role that the family gives to results, where the format does not say one."""
    if "observation_role" in chat_format.model_fields_set:
        return chat_format
    return chat_format.model_copy(update={"observation_role": family.observation_role})


def _usual_vision(family: Family) -> VisionSpec:
    """How the released checkpoints of a family see."""
    return VisionSpec(
        unit=family.unit,
        patch=family.token_side,
        merge=1,
        temporal_patch=2,
        normalization=family.normalization,
        image=family.image,
        crop=family.image,
        video_frame=family.video_frame,
    )
