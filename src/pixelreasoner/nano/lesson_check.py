"""What a base model has learned of its lessons, on scenes it has never seen.

Each question is put alone and its right answer is read by the model: a token counts when it is the likeliest
where it stands. So one figure says what the model finds or reads, and not how it would go on after a mistake.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.nano.exchanges import (
    Exchange,
    View,
    answered,
    clip_as_shown,
    close_up,
    frames_of,
    legible,
    locate,
    view_of,
)
from pixelreasoner.nano.lesson_rows import lesson_row
from pixelreasoner.nano.lessons import Lesson
from pixelreasoner.tasks.pixelworld import PixelWorld, WorldConfig
from pixelreasoner.tasks.pixelworld.questions import place_of, questions_about
from pixelreasoner.tasks.pixelworld.things import SIDES, Thing

NEAR = 80
"""A box is found when no edge is further off than this, in thousandths of the picture."""
FIRST_SCENE = 1_000_000
"""Far from the tasks of the split that reinforcement learning draws from."""


def check_lessons(
    model: VisionLanguageModel, *, scenes_per_kind: int = 60, world: WorldConfig | None = None
) -> dict[str, float]:
    """Shares of right answers by what was asked: "boxes, close-up", "digits, overview", "frames", ..."""
    was_training = model.training
    model.eval()
    hits: dict[str, list[bool]] = defaultdict(list)
    for what, exchange, view in _exam(model, PixelWorld(world), scenes_per_kind):
        hits[what].append(_is_right(model, exchange, view, what))
    model.train(was_training)
    return {what: float(np.mean(right)) for what, right in sorted(hits.items())}


def _exam(model: VisionLanguageModel, world: PixelWorld, n: int) -> Iterator[tuple[str, Exchange, View]]:
    """What is asked, as (topic, question with its answer, what it is about)."""
    r = model.renderer
    for kind in world.config.kinds:
        for index in range(n):
            scene, rng = world.scene("rl", kind, FIRST_SCENE + index, tiny=index % 2 == 0)
            media = scene.media
            if not isinstance(media, Picture):
                shown, things = clip_as_shown(media, scene.things, r.vision)
                for thing in things:
                    exchange = Exchange(
                        f"Find the frames with {thing.name}.", frames_of(thing), (place_of(thing),)
                    )
                    yield "frames", exchange, View(shown, (thing,))
                continue
            whole = Box(0, 0, *media.size)
            overview = view_of(media, scene.things, whole, r.vision.image, r.vision.factor)
            near = close_up(rng, scene.things[0], media.size)
            for where, view in (
                ("overview", overview),
                ("close-up", view_of(media, scene.things, near, r.vision.crop, r.vision.factor)),
            ):
                for thing in view.things[:2]:
                    yield f"boxes, {where}", locate(thing, view.media.size, rng), view
                    if legible(thing):
                        question = questions_about(thing, rng)[0]
                        yield f"{_topic(thing, question.answer)}, {where}", answered(question), view


def _topic(thing: Thing, answer: str) -> str:
    if thing.dots:
        return "sides" if answer in SIDES else "counts"
    return "digits" if answer.isdigit() else "letters"


@torch.no_grad()
def _is_right(model: VisionLanguageModel, exchange: Exchange, view: View, what: str) -> bool:
    lesson = Lesson((replace(exchange, media=(view.media,)),), (view,))
    layout, mask = lesson_row(lesson, model, ())
    hidden_TD = model(model.embed([layout], model.encode(layout.blocks), left=False))[0]
    likeliest_T = model.logits(hidden_TD).argmax(-1).tolist()
    decode = model.renderer.tokenizer.decode
    learned = np.flatnonzero(mask[layout.owner_T]).tolist()
    said = [decode([int(layout.ids_T[t])]).strip() for t in learned]
    heard = [decode([likeliest_T[t - 1]]).strip() for t in learned]
    if "boxes" in what or "frames" in what:
        return _same_numbers(said, heard, within=NEAR if "boxes" in what else 0)
    answer = exchange.answer[exchange.answer.index("{") + 1 : -1]  # what is in \\boxed{...}
    at = said.index(answer)
    return heard[at] == answer


def _same_numbers(said: Sequence[str], heard: Sequence[str], *, within: int) -> bool:
    pairs = [(a, b) for a, b in zip(said, heard, strict=True) if a.isdigit()]
    return all(b.isdigit() and abs(int(a) - int(b)) <= within for a, b in pairs)
