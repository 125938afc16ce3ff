"""Pre-training data: synthetic conversations and layouts, painted in parallel and deterministic."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.core.processes import worker_processes
from pixelreasoner.nano.conversations import SyntheticConversation, synthetic_conversations
from pixelreasoner.nano.question_answers import View, close_up, view_of
from pixelreasoner.tasks.pixelworld import paint, scenes
from pixelreasoner.tasks.pixelworld.world import PixelWorld, WorldConfig

CHUNK = 50
LAYOUT_CLOSE_UPS = 4
"""Close-ups per layout, at a size at which handwriting is legible."""
CARD_LAYOUTS = 5
"""Card layouts for each layout: as many pictures as the layout gives with its close-ups."""
TINY_SHARE = 2 / 3
"""Share of scenes whose details are legible only in close-ups."""


@dataclass(frozen=True)
class Curriculum:
    """The number of pictures, and the chat format and vision spec of the model."""

    world: WorldConfig
    chat_format: ChatFormat
    vision: VisionSpec
    n_scenes: int
    n_layouts: int

    def paint(self, workers: int) -> Generator[tuple[list[SyntheticConversation], list[View]]]:
        """Yield chunks of conversations and layout views, in order, painted by `workers` processes."""
        total = max(self.n_scenes, self.n_layouts)
        ranges = [range(i, min(i + CHUNK, total)) for i in range(0, total, CHUNK)]
        with worker_processes(workers) as pool:
            yield from pool.map(partial(_paint, self), ranges)


def _paint(curriculum: Curriculum, indices: Sequence[int]) -> tuple[list[SyntheticConversation], list[View]]:
    world = PixelWorld(curriculum.world)
    conversations = [
        x for i in indices if i < curriculum.n_scenes for x in _conversations(curriculum, world, i)
    ]
    views = [v for i in indices if i < curriculum.n_layouts for v in _layout_views(curriculum, i)]
    return conversations, views


def _conversations(curriculum: Curriculum, world: PixelWorld, index: int) -> list[SyntheticConversation]:
    kinds = curriculum.world.kinds
    kind, turn = kinds[index % len(kinds)], index // len(kinds)
    tiny = int((turn + 1) * TINY_SHARE) > int(turn * TINY_SHARE)
    scene, rng = world.scene("base", kind, turn, tiny=tiny)
    return synthetic_conversations(scene, rng, curriculum.chat_format, curriculum.vision)


def _layout_views(curriculum: Curriculum, index: int) -> list[View]:
    """Return the views of one layout: the full image, close-ups of some things, and card layouts."""
    world, vision = curriculum.world, curriculum.vision
    rng = np.random.default_rng([world.seed, 0xC4A27, index])
    photos = paint.photographs(world.photos)
    generator = scenes.LayoutGenerator(
        rng, photos, test=False, tiny=False, digit_share=scenes.BASE_DIGIT_SHARE
    )
    scene = scenes.mixed_layout(generator)
    picture = scene.media
    assert isinstance(picture, Picture), "a layout is a still picture"
    views = [view_of(picture, scene.things, _whole(picture), vision.image, vision.factor)]
    for at in rng.permutation(len(scene.things))[:LAYOUT_CLOSE_UPS].tolist():
        region = close_up(rng, scene.things[at], picture.size)
        views.append(view_of(picture, scene.things, region, vision.crop, vision.factor))
    card_generator = replace(generator, digit_share=scenes.CARD_LAYOUT_DIGIT_SHARE)
    for cards in (scenes.card_layout(card_generator) for _ in range(CARD_LAYOUTS)):
        assert isinstance(cards.media, Picture), "a layout is a still picture"
        views.append(view_of(cards.media, cards.things, _whole(cards.media), vision.crop, vision.factor))
    return views


def _whole(picture: Picture) -> Box:
    return Box(0, 0, picture.size.width, picture.size.height)
