"""Tokens of the embedded model, recorded before prompts were rendered from messages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.vlm import renderer_of
from prompting import prompt_of

GOLDEN = json.loads((Path(__file__).parent / "nano_prompts.json").read_text())
CALL = (
    'It reads K.\n<tool_call>\n{"name": "crop_image", "arguments": {"bbox_2d": [20, 40, 500, 1000], '
    '"target_image": 1}}\n</tool_call>'
)


def noise(width: int, height: int, seed: int = 0) -> Picture:
    draws = np.random.default_rng([seed, width, height])
    return Picture(draws.integers(0, 256, (height, width, 3), dtype=np.uint8))


CLIP = Video(tuple(noise(48, 32, seed) for seed in range(5)), (0.0, 0.5, 1.0, 1.5, 2.0))
MEDIA: dict[str, tuple[Media, ...]] = {
    "none": (), "image": (noise(300, 200),), "two": (noise(300, 200), noise(64, 64, 1)), "video": (CLIP,),
    "mixed": (noise(90, 50), CLIP),
}  # fmt: skip
RESULT = Observation("Image 2:", (noise(200, 120),))


@pytest.fixture(scope="module")
def nano():
    return renderer_of(checkpoint_folder("nano"))


@pytest.mark.parametrize("case", GOLDEN["prompts"], ids=range(len(GOLDEN["prompts"])))
def test_prompts(nano, case):
    toolbox = Interaction().toolbox(nano.vision.unit, nano.chat_format)
    prompt = prompt_of(
        nano, Task("t", case["question"], MEDIA[case["media"]], ()), toolbox.schemas if case["tools"] else ()
    )
    assert list(prompt.ids) == case["ids"]
    row = nano.layout([prompt, nano.observation(RESULT)])
    assert [len(row), int(row.position_3T.sum()), int(row.ids_T.sum())] == case["row"]
    assert [list(block.grid_thw) for block in row.blocks] == case["grids"]


def test_results_messages_and_ids(nano):
    assert list(nano.observation(RESULT).ids) == GOLDEN["observation"]
    assert list(nano.encode(CALL)) == GOLDEN["encode"]
    assert sorted(nano.stop_ids) == GOLDEN["stop"]
    assert sorted(nano.forbidden_ids) == GOLDEN["forbidden"]
