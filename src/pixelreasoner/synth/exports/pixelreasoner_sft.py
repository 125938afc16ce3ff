"""The message format of TIGER-Lab/PixelReasoner-SFT-Data, which the authors' trainer takes as it is.

::

    release.json   [{"qid": ..., "message_list": [...]}, ...]
    images/        pictures, crops and the frames of videos, named by content

Their trainer hands `message_list` to the chat template of the model. A message has a `role` (the results are
the user's) and a `content`, a list of `{"text"}`, `{"image"}` and `{"video"}`; boxes are pixels of the files.
`tasks.datasets.pixelreasoner_sft` reads this back. Three more fields of a row, which their trainer passes
over, keep what the format has no place for: `masked` (for each message of the model, the characters of its
text that are not learned, or null), `template`, and `times_s` (of the frames of a video, in seconds).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixelreasoner.core.files import writing
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.messages import Message
from pixelreasoner.core.records import MediaFolder
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.synth.exports.prompts import Prompts

GUIDELINES = "Guidelines:"
"""What the guideline of this format begins with; readers take it off from there."""
IMAGES_FOLDER = "images"
ROWS_FILE = "release.json"


def write_pixelreasoner_sft(folder: Path, trajectories: Iterable[Trajectory], prompts: Prompts) -> None:
    """Write the trajectories and their pictures into a folder.

    Args:
        folder: an empty one.
        trajectories: read one at a time.
        prompts: with boxes in pixels of the files (`prompts.stored_prompts`).

    Raises:
        RecordError: a trajectory cannot be written this way, or the folder not be written to.
        MediaError: a picture cannot be read.
    """
    prompts = _guided(prompts)
    media = MediaFolder(folder / IMAGES_FOLDER)
    with writing(folder), (folder / ROWS_FILE).open("w", encoding="utf-8") as file:
        between = "[\n"
        for trajectory in trajectories:
            file.write(between + json.dumps(_row(prompts.rewritten(trajectory), prompts, media)))
            between = ",\n"
        file.write("[]\n" if between == "[\n" else "\n]\n")


def _guided(prompts: Prompts) -> Prompts:
    """The prompts with a guideline that readers of this format find."""
    words = prompts.chat_format.guideline.strip()
    guideline = f"\n\n{words if words.startswith(GUIDELINES) else f'{GUIDELINES} {words}'}"
    return replace(prompts, chat_format=prompts.chat_format.model_copy(update={"guideline": guideline}))


def _row(trajectory: Trajectory, prompts: Prompts, media: MediaFolder) -> dict[str, Any]:
    row: dict[str, Any] = {
        "qid": trajectory.task.id,
        "message_list": [_message(message, media) for message in prompts.messages(trajectory)],
        "masked": [None if turn.masked is None else list(turn.masked) for turn in trajectory.turns],
        "template": trajectory.source,
    }
    video = next((item for item in trajectory.task.media if isinstance(item, Video)), None)
    return row if video is None else row | {"times_s": list(video.times_s)}


def _message(message: Message, media: MediaFolder) -> dict[str, Any]:
    """A message; its text comes first, as in the data set."""

    def name(picture: Picture) -> str:
        media.put(picture)
        return f"{IMAGES_FOLDER}/{media.file_name(picture)}"

    content: list[dict[str, Any]] = [{"text": message.text}]
    for part in message.parts:
        if isinstance(part, Picture):
            content.append({"image": name(part)})
        elif isinstance(part, Video):
            content.append({"video": [name(frame) for frame in part.frames]})
    return {"role": "user" if message.role == "tool" else message.role, "content": content}
