"""Teacher-forced accuracy of a base model on held-out scenes.

Each question is a conversation of its own, with its right answer appended. An answer token is right when it
is the most likely one at its position. An early mistake therefore does not affect later tokens.
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
from pixelreasoner.nano.conversation_rows import conversation_row
from pixelreasoner.nano.conversations import SyntheticConversation
from pixelreasoner.nano.question_answers import (
    QuestionAnswer,
    View,
    answered,
    clip_as_shown,
    close_up,
    frames_of,
    legible,
    locate,
    view_of,
)
from pixelreasoner.tasks.pixelworld import PixelWorld, WorldConfig
from pixelreasoner.tasks.pixelworld.questions import place_of, questions_about
from pixelreasoner.tasks.pixelworld.things import SIDES, Thing

NEAR = 80
"""A box is right when no edge deviates by more than this, in relative coordinates (0-1000)."""
FIRST_SCENE = 1_000_000
"""Index of the first scene: outside the range that reinforcement learning draws tasks from."""


def check_base(
    model: VisionLanguageModel, *, scenes_per_kind: int = 60, world: WorldConfig | None = None
) -> dict[str, float]:
    """Return the share of right answers by topic: "boxes, close-up", "digits, full image", "frames", ..."""
    was_training = model.training
    model.eval()
    hits: dict[str, list[bool]] = defaultdict(list)
    for topic, pair, view in _questions(model, PixelWorld(world), scenes_per_kind):
        hits[topic].append(_is_right(model, pair, view, topic))
    model.train(was_training)
    return {topic: float(np.mean(right)) for topic, right in sorted(hits.items())}


def _questions(
    model: VisionLanguageModel, world: PixelWorld, n: int
) -> Iterator[tuple[str, QuestionAnswer, View]]:
    """Yield (topic, question with its answer, view)."""
    r = model.renderer
    for kind in world.config.kinds:
        for index in range(n):
            scene, rng = world.scene("rl", kind, FIRST_SCENE + index, tiny=index % 2 == 0)
            media = scene.media
            if not isinstance(media, Picture):
                shown, things = clip_as_shown(media, scene.things, r.vision)
                for thing in things:
                    pair = QuestionAnswer(
                        f"Find the frames with {thing.name}.", frames_of(thing), (place_of(thing),)
                    )
                    yield "frames", pair, View(shown, (thing,))
                continue
            whole = Box(0, 0, *media.size)
            full_image = view_of(media, scene.things, whole, r.vision.image, r.vision.factor)
            near = close_up(rng, scene.things[0], media.size)
            for where, view in (
                ("full image", full_image),
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
def _is_right(model: VisionLanguageModel, pair: QuestionAnswer, view: View, topic: str) -> bool:
    conversation = SyntheticConversation((replace(pair, media=(view.media,)),), (view,))
    layout, mask = conversation_row(conversation, model, ())
    hidden_TD = model(model.embed([layout], model.encode(layout.blocks), left=False))[0]
    likeliest_T = model.logits(hidden_TD).argmax(-1).tolist()
    decode = model.renderer.tokenizer.decode
    answer_T = np.flatnonzero(mask[layout.owner_T]).tolist()
    expected = [decode([int(layout.ids_T[t])]).strip() for t in answer_T]
    predicted = [decode([likeliest_T[t - 1]]).strip() for t in answer_T]
    if "boxes" in topic or "frames" in topic:
        return _same_numbers(expected, predicted, within=NEAR if "boxes" in topic else 0)
    answer = pair.answer[pair.answer.index("{") + 1 : -1]  # what is in \\boxed{...}
    at = expected.index(answer)
    return predicted[at] == answer


def _same_numbers(expected: Sequence[str], predicted: Sequence[str], *, within: int) -> bool:
    pairs = [(a, b) for a, b in zip(expected, predicted, strict=True) if a.isdigit()]
    return all(b.isdigit() and abs(int(a) - int(b)) <= within for a, b in pairs)
