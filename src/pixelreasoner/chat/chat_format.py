"""How one checkpoint is spoken to: wording, coordinate unit and pixel budgets, saved beside its weights.

A model that was trained with one wording and one pixel budget and is used with another loses its skill
silently, so the chat format travels with the checkpoint (`chat_format.json`). Every sentence is a field: to
use a released checkpoint, put the wording it was trained with.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from pixelreasoner.core.config import Config, explain
from pixelreasoner.core.damage import damage_of
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.geometry import Unit
from pixelreasoner.ops.build import OperationConfig
from pixelreasoner.ops.operation import check_template

CONFIG_FILE = "config.json"
CHAT_FORMAT_FILE = "chat_format.json"
MARK_FILE = "pixelreasoner.json"
"""In every checkpoint folder that this package writes."""
OLD_FILE = "dialect.json"
"""What the first release called it."""
REMEDY = "copy the file from where the folder came from"
MOST_PIXELS = 2**40
SHIPPED_FORMATS = Path(__file__).parent / "formats"
"""Chat formats of released checkpoints, which come without such a file."""
CONFIG_MARK = "pixelreasoner_format"
"""A key in the `config.json` of every checkpoint that this package writes: a copy that lacks the chat format
file shows by it."""


_ADDED_LATER = ("thinking", "operations")
"""Options of the chat format that the fingerprints of older records know nothing of."""


class PixelBudget(Config):
    """The least and the most pixels an image is shown with; its aspect ratio is kept."""

    min_pixels: int = Field(ge=1, le=MOST_PIXELS)
    """An image with fewer is enlarged."""
    max_pixels: int = Field(ge=1, le=MOST_PIXELS)
    """An image with more is made smaller."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels ({self.min_pixels}) is more than max_pixels ({self.max_pixels})")
        return self


class Wording(Config):
    """What of a chat format a recipe may set: sentences and pixel budgets; None keeps the checkpoint's."""

    system: str | None = None
    """The system message."""
    tools: str | None = None
    """Added to the system message where the chat template knows no tools."""
    guideline: str | None = None
    """Added to the question when operations are offered."""
    guideline_without_tools: str | None = None
    """Added to the question when no operation is offered."""
    observation_role: Literal["user", "tool"] | None = None
    """Who speaks the result of an operation."""
    thinking: Literal["on", "off"] | None = None
    """The switch of a chat template that has one, as that of Qwen3.5."""
    crop_reply: str | None = None
    """Before a crop. Fields: index, width, height, and those of `chat_format.crop_reply`."""
    frames_reply: str | None = None
    """Before selected frames. Fields: first, last (image indices), frames (numbers from 1)."""
    error_reply: str | None = None
    """In place of a result, when an operation failed. Fields: error."""
    frame_marker: str | None = None
    """Before each temporal patch of a video. Fields: those of `chat_format.frame_marker`."""
    image: PixelBudget | None = None
    """Pixels that an image of the question is shown with."""
    crop: PixelBudget | None = None
    """Pixels of crops and selected frames; those of `image` where only that is set."""
    video_frame: PixelBudget | None = None
    """Pixels of each frame of a video."""

    @property
    def given(self) -> dict[str, Any]:
        """The fields that are set, by name."""
        return {name: value for name, value in self if value is not None}


class ChatFormat(Config):
    """Everything about a conversation that is not in the tokenizer's chat template."""

    unit: Unit | None = None
    """What the numbers of a box mean; None takes the family's own convention."""
    system: str | None = None
    """The system message; the chat template adds the tools to it. None: the template's own, if it has one."""
    tools: str = (
        "\n\n# Tools\n\nVisual operations you may use, one JSON description per line:\n"
        "<tools>\n{tools}\n</tools>\n\n"
        "To use one, write its name and its arguments as JSON between tags:\n<tool_call>\n"
        '{"name": <name>, "arguments": <arguments>}\n</tool_call>'
    )
    """Added to the system message where the chat template knows nothing of tools, as that of Qwen2.5-VL;
    `{tools}` in it stands for them, one JSON object per line. A released checkpoint whose text-only template
    lists tools gives its own words instead."""
    guideline: str = (
        "\n\nStudy the visual input and the question. Where a closer look would help, use a visual "
        "operation: `crop_image` enlarges a region of an image, `select_frames` shows frames of a video. "
        "Think step by step about what you see, and give the final answer within \\boxed{}."
    )
    """Appended to the question when operations are offered."""
    guideline_without_tools: str = "\n\nThink step by step, and give the final answer within \\boxed{}."
    """Appended to the question when no operation is offered."""
    observation_role: Literal["user", "tool"] = "user"
    """Who speaks an operation's result; the paper's data uses a user turn. "tool" needs a chat template that
    has a form for results. A checkpoint without a chat format file gets what its family takes: "tool" for
    Qwen3.5."""
    thinking: Literal["on", "off"] | None = None
    """The switch of a chat template that has one, as that of Qwen3.5: whether the model's message begins with
    thoughts. None: as the template does by itself."""
    operations: dict[str, OperationConfig] = Field(default_factory=dict)
    """The form in which the checkpoint knows operations, offered where a recipe only names the key."""
    crop_reply: str = "Image {index} is the cropped region ({width}x{height} pixels):"
    """Fields: index, width, height (original pixels of the crop), shown_width, shown_height (its pixels as
    shown), target."""
    frames_reply: str = "Images {first} to {last} are the selected frames {frames}:"
    """Fields: first, last (image indices), frames (1-based frame numbers), shown_width, shown_height (pixels
    as shown)."""
    error_reply: str = "The operation failed: {error}"
    """Fields: error."""
    frame_marker: str = "<{seconds:.1f} seconds>"
    """Written before each temporal patch of a video. Fields: first, last (1-based frames), seconds.
    Qwen3-VL only: Qwen2.5-VL has the time in its positions."""
    video_brackets: bool = False
    """Whether the marked patches stand in a pair of vision brackets of their own. Qwen3-VL was trained
    without; the processor of transformers 5.10 to 5.19 leaves the pair in. Qwen3-VL only."""
    image: PixelBudget | None = None
    """Images of the question; None takes what the checkpoint's processor file says. So for the two below."""
    crop: PixelBudget | None = None
    """Crops and selected frames; None takes the budget of images."""
    video_frame: PixelBudget | None = None
    """Each frame of a video; None takes what the checkpoint's video processor says, or the family's."""

    @field_validator("frame_marker")
    @classmethod
    def _usable_marker(cls, template: str) -> str:
        check_template(template, "the marker of a frame", first=1, last=2, seconds=0.5)
        return template

    def with_wording(self, wording: Wording) -> ChatFormat:
        """The format with the words and the budgets of a recipe in place of its own."""
        return self.model_copy(update=wording.given)

    @property
    def identity(self) -> str:
        """Equal where conversations are worded alike; options added later count once they are set."""
        unset = {name for name in _ADDED_LATER if not getattr(self, name)}
        return self.model_dump_json(exclude=unset)

    def save(self, folder: Path) -> None:
        """Write `chat_format.json`, and the mark that says the folder was written by this package.

        The mark comes last: a folder that has it is a whole one, where this is called last.
        """
        (folder / CHAT_FORMAT_FILE).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / MARK_FILE).write_text('{"format": 1}\n', encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ChatFormat:
        """The chat format saved in a checkpoint folder, or the default in one that is not of this package.

        Raises:
            CheckpointError: the file cannot be read, or is missing from a folder that this package wrote.
        """
        path = folder / CHAT_FORMAT_FILE
        if not path.exists() and (folder / OLD_FILE).exists():
            path = folder / OLD_FILE
        if not path.exists():
            if (folder / MARK_FILE).exists() or _is_marked(folder):
                raise CheckpointError(
                    f"{folder} was written by pixelreasoner and lacks its {CHAT_FORMAT_FILE}: with another "
                    f"wording the model would lose its skill; {REMEDY}"
                )
            return cls()
        return cls.read(path)

    def replaced_by(self, other: ChatFormat) -> ChatFormat:
        """The format with what another one says, in the place of its own."""
        return self.model_copy(update={name: getattr(other, name) for name in other.model_fields_set})

    @classmethod
    def read(cls, path: Path) -> ChatFormat:
        """The chat format in a file.

        Raises:
            CheckpointError: it cannot be read, or is none.
        """
        try:
            # The name of the unit before it was called relative.
            text = path.read_text(encoding="utf-8-sig").replace('"unit": "permille"', '"unit": "relative"')
            table = json.loads(text)
        except OSError as e:
            raise CheckpointError(f"{path} cannot be read: {e.strerror}") from e
        except (ValueError, RecursionError) as e:
            raise CheckpointError(f"{path} cannot be read ({damage_of(path)}); {REMEDY}") from e
        try:
            return cls.model_validate(table)
        except ValidationError as e:
            problems = "; ".join(explain(error) for error in e.errors())
            raise CheckpointError(f"{path} is not a chat format file ({problems}); {REMEDY}") from e


def find_format(name: str) -> ChatFormat:
    """The chat format that ships with the package under `name`, or the one in the file of that name.

    Raises:
        CheckpointError: there is neither, or the file is no chat format.
    """
    shipped = {path.stem: path for path in SHIPPED_FORMATS.glob("*.json")}
    path = shipped.get(name, Path(name))
    if not path.is_file():
        raise CheckpointError(
            f"there is no chat format {name!r}: give a file, or one of {', '.join(sorted(shipped))}"
        )
    return ChatFormat.read(path)


def mark_config(folder: Path) -> None:
    """Write into the `config.json` of a folder that a chat format file belongs to it."""
    path = folder / CONFIG_FILE
    config = json.loads(path.read_text(encoding="utf-8")) | {CONFIG_MARK: 1}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _is_marked(folder: Path) -> bool:
    try:
        return CONFIG_MARK in json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # what is wrong with the file is said by whoever needs it
        return False
