"""What stands around the question of an exported conversation: the system message, the guideline, the calls.

Exports are read by other trainers, whose chat templates may know nothing of our tools. The operations are
therefore described in the system message, and calls are JSON between tags, whatever the run's model writes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pixelreasoner.chat.chat_format import MOST_PIXELS, ChatFormat, PixelBudget
from pixelreasoner.chat.checkpoint_files import vision_spec
from pixelreasoner.chat.families import family_of
from pixelreasoner.chat.hermes import HERMES
from pixelreasoner.chat.pixels import Normalization
from pixelreasoner.chat.prompting import task_messages, trajectory_messages
from pixelreasoner.chat.renderer import ToolSchema
from pixelreasoner.chat.rerender import rewrite_texts
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.messages import Message
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.models.checkpoints import checkpoint_folder

_ANY = PixelBudget(min_pixels=1, max_pixels=MOST_PIXELS)
AS_STORED = VisionSpec(
    Unit.PIXEL, patch=1, merge=1, temporal_patch=1, normalization=Normalization((0, 0, 0), (1, 1, 1)),
    image=_ANY, crop=_ANY, video_frame=_ANY,
)  # fmt: skip
"""Shows every picture at its own size: boxes are pixels of the files, and no model's."""


@dataclass(frozen=True)
class Prompts:
    """How the conversations of a run read."""

    chat_format: ChatFormat
    """Its system message lists the operations."""
    vision: VisionSpec
    """Says what the numbers of a box mean."""
    schemas: Sequence[ToolSchema]
    """Of the operations that the prompt offers."""

    def rewritten(self, trajectory: Trajectory) -> Trajectory:
        """The trajectory with its calls as JSON, in the coordinates of `vision`.

        Raises:
            RecordError: a message does not hold the call on record.
        """
        return rewrite_texts(trajectory, self.vision, HERMES, self.schemas)

    def messages(self, trajectory: Trajectory) -> tuple[Message, ...]:
        """The conversation: system, question, then the model's messages and the results it read."""
        first = task_messages(trajectory.task, self.chat_format, tools=True)
        return (*first, *trajectory_messages(trajectory))


def run_prompts(checkpoint: str, interaction: Interaction) -> Prompts:
    """The prompts of a run of synthesis, in the coordinates of its model.

    Raises:
        CheckpointError: the checkpoint cannot be read.
    """
    folder = checkpoint_folder(checkpoint)
    chat_format = ChatFormat.load(folder).with_wording(interaction.wording)
    return _prompts(chat_format, vision_spec(folder, family_of(folder), chat_format), interaction)


def stored_prompts(checkpoint: str, interaction: Interaction) -> Prompts:
    """The same with boxes in pixels of the files, as PixelReasoner-SFT-Data has them.

    Raises:
        CheckpointError: the checkpoint cannot be read.
    """
    chat_format = ChatFormat.load(checkpoint_folder(checkpoint)).with_wording(interaction.wording)
    # A form of an operation that the checkpoint knows may speak of its own coordinates.
    return _prompts(chat_format.model_copy(update={"operations": {}}), AS_STORED, interaction)


def _prompts(chat_format: ChatFormat, vision: VisionSpec, interaction: Interaction) -> Prompts:
    toolbox = interaction.toolbox(vision.unit, chat_format)
    schemas = () if toolbox is None else tuple(toolbox.schemas)
    listed = "\n".join(json.dumps(schema, ensure_ascii=False) for schema in schemas)
    tools = chat_format.tools.replace("{tools}", listed) if schemas else ""
    system = ((chat_format.system or "") + tools).lstrip()
    return Prompts(chat_format.model_copy(update={"system": system}), vision, schemas)
