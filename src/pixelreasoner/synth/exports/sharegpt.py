"""ShareGPT conversations with pictures, as LLaMA-Factory reads them.

::

    train.jsonl         {"conversations": [{"from": "human", "value": "<image>..."}, {"from": "gpt", ...},
                         {"from": "observation", ...}, ...], "system": ..., "images": [...], "videos": [...]}
    images/             the pictures, named by content
    dataset_info.json   the description that LLaMA-Factory asks for

Source: LLaMA-Factory's `data/README.md` and `src/llamafactory/data/converter.py`. Messages of `human` and
`observation` take turns with those of `gpt` and `function_call`; each `<image>` stands for the next of
`images`, each `<video>` for the next of `videos`, and a video may be a list of its frames; paths are relative
to `media_dir`, which is the data set's folder by default. A call stays in the text of a `gpt` message, since
`function_call` has no room for the words before it.

LLaMA-Factory knows no loss mask within a message: `masked` is an extra column that it passes over, and it
learns wrong operations like right ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pixelreasoner.core.files import writing
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import Message
from pixelreasoner.core.records import MediaFolder
from pixelreasoner.core.trajectory import Trajectory, Turn
from pixelreasoner.synth.exports.prompts import Prompts

IMAGE, VIDEO = "<image>", "<video>"
NAMES = {"user": "human", "assistant": "gpt", "tool": "observation"}
IMAGES_FOLDER = "images"
ROWS_FILE = "train.jsonl"


def write_sharegpt(folder: Path, trajectories: Iterable[Trajectory], prompts: Prompts) -> None:
    """Write the trajectories and their pictures into a folder.

    Args:
        folder: an empty one; its name in the end becomes no part of the files.
        trajectories: read one at a time.
        prompts: in the coordinates that the texts are to have.

    Raises:
        RecordError: a trajectory cannot be written this way, or the folder not be written to.
        MediaError: a picture cannot be read.
    """
    media = MediaFolder(folder / IMAGES_FOLDER)
    with writing(folder), (folder / ROWS_FILE).open("w", encoding="utf-8") as file:
        for trajectory in trajectories:
            file.write(json.dumps(_row(prompts.rewritten(trajectory), prompts, media)) + "\n")
        (folder / "dataset_info.json").write_text(json.dumps(_description(), indent=2) + "\n")


def _row(trajectory: Trajectory, prompts: Prompts, media: MediaFolder) -> dict[str, Any]:
    images: list[str] = []
    videos: list[list[str]] = []

    def name(picture: Picture) -> str:
        media.put(picture)
        return f"{IMAGES_FOLDER}/{media.file_name(picture)}"

    def value(message: Message) -> str:
        text = ""
        for part in message.parts:
            if isinstance(part, str):
                text += without_placeholders(part)
            elif isinstance(part, Picture):
                images.append(name(part))
                text += IMAGE
            else:
                videos.append([name(frame) for frame in part.frames])
                text += VIDEO
        return text

    messages = prompts.messages(trajectory)
    system = "".join(m.text for m in messages if m.role == "system")
    said = [{"from": NAMES[m.role], "value": value(m)} for m in messages if m.role != "system"]
    return {
        "id": trajectory.task.id,
        "template": trajectory.source,
        "conversations": said,
        "system": without_placeholders(system),
        "images": images,
        "videos": videos,
        "masked": [_masked(turn) for turn in trajectory.turns],
    }


def _masked(turn: Turn) -> list[int]:
    """The characters of a message, as it is written here, that are not learned; empty for none."""
    return [len(without_placeholders(turn.text[:place])) for place in turn.masked or ()]


def without_placeholders(text: str) -> str:
    """A text in which nothing stands for a picture: `<image>` of a question becomes `< image>`."""
    return text.replace(IMAGE, "< image>").replace(VIDEO, "< video>")


def _description() -> dict[str, Any]:
    return {
        "pixelreasoner": {
            "file_name": ROWS_FILE,
            "formatting": "sharegpt",
            "columns": {
                "messages": "conversations",
                "system": "system",
                "images": "images",
                "videos": "videos",
            },
            "tags": {
                "role_tag": "from",
                "content_tag": "value",
                "user_tag": NAMES["user"],
                "assistant_tag": NAMES["assistant"],
                "observation_tag": NAMES["tool"],
                "function_tag": "function_call",
                "system_tag": "system",
            },
        }
    }
