"""Small trajectories made by hand."""

import numpy as np
import pytest

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn


def cut(picture: Picture, box: Box) -> Picture:
    return Picture(picture.pixels[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)])


@pytest.fixture
def zoomed() -> Trajectory:
    """A crop, a failed call, a crop of the crop, the answer."""
    pixels = np.random.default_rng(0).integers(0, 255, (100, 200, 3), dtype=np.uint8)
    photo = Picture(pixels)
    wide, narrow = Box(100, 20, 180, 80), Box(120, 40, 140, 60)
    turns = (
        Turn(
            'Too small <to read>.\n<tool_call>{"name": "crop_image"}</tool_call>',
            ToolCall("crop_image", {"bbox_2d": [100, 20, 180, 80], "target_image": 1}),
            Observation("Image 2:", (cut(photo, wide),), box=wide, source=1),
        ),
        Turn(
            "Again.",
            ToolCall("crop_image", {}),
            Observation("there is no image 9", valid=False),
            masked=(5, 9),
        ),
        Turn(
            "Closer.",
            ToolCall("crop_image", {"bbox_2d": [20, 20, 40, 40], "target_image": 2}),
            Observation("Image 3:", (cut(photo, narrow),), box=Box(20, 20, 40, 40), source=2),
        ),
        Turn("It reads K."),
    )
    task = Task(
        "t", "Which <b>letter</b>?", (photo,), ("K",), "attribute", Cue(box=Box(125, 45, 135, 55)), True
    )
    return Trajectory(task, turns, StopReason.ANSWER, "K", metrics={"correct": 1.0, "curiosity": 0.0875})


@pytest.fixture
def clip() -> Trajectory:
    """Two of four frames selected, then a wrong answer."""
    frames = tuple(Picture(np.full((30, 40, 3), 60 * i, np.uint8)) for i in range(4))
    task = Task(
        "v", "What turns red?", (Video(frames, (0.0, 0.5, 1.0, 1.5)),), ("cup",), "clip", Cue(frames=(3,))
    )
    observation = Observation("Images 1 to 2:", (frames[1], frames[2]), frames=(2, 3))
    turns = (
        Turn("Look.", ToolCall("select_frames", {"target_frames": [2, 3]}), observation),
        Turn("spoon"),
    )
    return Trajectory(task, turns, StopReason.ANSWER, "spoon", metrics={"correct": 0.0})
