"""How one checkpoint is spoken to: wording, coordinate unit and pixel budgets, saved beside its weights.

A model that was trained with one wording and one pixel budget and is used with another loses its skill
silently, so the chat format travels with the checkpoint (`chat_format.json`). Every sentence is a field: to
use a released checkpoint, put the wording it was trained with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.geometry import Unit

CHAT_FORMAT_FILE = "chat_format.json"


class PixelBudget(Config):
    """The least and the most pixels an image is shown with; its aspect ratio is kept."""

    min_pixels: int
    max_pixels: int


class ChatFormat(Config):
    """Everything about a conversation that is not in the tokenizer's chat template."""

    unit: Unit | None = None
    """What the numbers of a box mean; None takes the family's own convention."""
    system: str = "You are a helpful assistant."
    """The system message; the chat template adds the tools to it."""
    tools: str = (
        "\n\n# Tools\n\nVisual operations you may use, one JSON description per line:\n"
        "<tools>\n{tools}\n</tools>\n\n"
        "To use one, write its name and its arguments as JSON between tags:\n<tool_call>\n"
        '{"name": <name>, "arguments": <arguments>}\n</tool_call>'
    )
    """Added to the system message where the chat template knows nothing of tools, as that of Qwen2.5-VL;
    `{tools}` in it stands for them, one JSON object per line."""
    guideline: str = (
        "\n\nStudy the visual input and the question. Where a closer look would help, use a visual "
        "operation: `crop_image` enlarges a region of an image, `select_frames` shows frames of a video. "
        "Think step by step about what you see, and give the final answer within \\boxed{}."
    )
    """Appended to the question when operations are offered."""
    guideline_without_tools: str = "\n\nThink step by step, and give the final answer within \\boxed{}."
    """Appended to the question when no operation is offered."""
    observation_role: Literal["user", "tool"] = "user"
    """Who speaks an operation's result; the paper's data uses a user turn."""
    crop_reply: str = "Image {index} is the cropped region ({width}x{height} pixels):"
    """Fields: index, width, height (original pixels of the crop), target."""
    frames_reply: str = "Images {first} to {last} are the selected frames {frames}:"
    """Fields: first, last (image indices), frames (1-based frame numbers)."""
    error_reply: str = "The operation failed: {error}"
    """Fields: error."""
    frame_marker: str = "<{seconds:.1f} seconds>"
    """Written before each temporal patch of a video. Fields: first, last (1-based frames), seconds.
    Qwen3-VL only: Qwen2.5-VL has the time in its positions."""
    video_brackets: bool = False
    """Whether the marked patches stand in a pair of vision brackets of their own. Qwen3-VL was trained
    without; the processor of transformers 5.10 to 5.19 leaves the pair in. Qwen3-VL only."""
    image: PixelBudget = PixelBudget(min_pixels=256 * 28 * 28, max_pixels=5120 * 28 * 28)
    """Images of the question."""
    crop: PixelBudget = PixelBudget(min_pixels=256 * 28 * 28, max_pixels=1280 * 28 * 28)
    """Crops and selected frames."""
    video_frame: PixelBudget = PixelBudget(min_pixels=16 * 28 * 28, max_pixels=512 * 28 * 28)
    """Each frame of the overview of a video."""

    def save(self, folder: Path) -> None:
        (folder / CHAT_FORMAT_FILE).write_text(self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> ChatFormat:
        """The chat_format saved in a checkpoint folder, or the default where there is none.

        Raises:
            CheckpointError: the file is there and cannot be read.
        """
        path = folder / CHAT_FORMAT_FILE
        if not path.exists():
            return cls()
        try:
            return cls.model_validate_json(path.read_text())
        except (ValidationError, OSError) as e:
            raise CheckpointError(f"{path} is not a chat format file: {e}") from e
