"""The model to be taught, as far as synthesis has to know it: how it sees, points, calls and is asked."""

from __future__ import annotations

from dataclasses import dataclass

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.checkpoint_files import vision_spec
from pixelreasoner.chat.families import CallSyntax, family_of
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.outline import Tools


@dataclass(frozen=True)
class Taught:
    """What is read of a checkpoint; its weights are not."""

    chat_format: ChatFormat
    syntax: CallSyntax
    tools: Tools

    @classmethod
    def load(cls, config: SynthConfig) -> Taught:
        """The model of a recipe.

        Raises:
            CheckpointError: the checkpoint cannot be read.
            SynthesisError: the operations of the recipe are not those that the templates use.
        """
        folder = checkpoint_folder(config.checkpoint)
        family, interaction = family_of(folder), config.interaction
        chat_format = ChatFormat.load(folder).with_wording(interaction.wording)
        vision = vision_spec(folder, family, chat_format)
        toolbox = interaction.toolbox(vision.unit, chat_format)
        tools = Tools.of(vision, config.coordinate_step, toolbox, clearance=config.clearance)
        return cls(chat_format, family.syntax, tools)
