"""Synthetic conversations for pre-training: many questions per picture, without operations.

A scene gives one conversation about the full image, with questions about positions and legible details, and
one for each of a few close-ups. They cover what a general vision-language model can do before the warm start:
grounding, reading and counting in the picture that a question refers to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.nano.question_answers import (
    QuestionAnswer,
    View,
    answered,
    around,
    clip_as_shown,
    close_up,
    frames_of,
    legible,
    locate,
    locate_all,
    read_all,
    regions_of,
    view_of,
)
from pixelreasoner.tasks.pixelworld import questions
from pixelreasoner.tasks.pixelworld.things import Scene, Thing

ALL_AT_ONCE = 0.5
"""Probability that one question covers all things of a picture, instead of one thing each."""
GUESSED = 3
"""Number of illegible things of a full image that are asked about, in a conversation of their own. They train
the model to answer with one of the offered choices. Legible things do not need the choices, and mixed with
other questions the illegible ones have too little weight."""
IN_ONE = 0.25
"""Probability that all pictures of a scene share one conversation."""
BESIDE = 0.5
"""Probability that a close-up with a conversation of its own is preceded by the picture it was cut from."""
DEFERRED = 0.7
"""Probability of a conversation in which the close-up that answers a question is shown in a later message, as
the result of an operation is."""
DISTRACTED = 0.4
"""Probability that a close-up without the asked-for thing is shown between the two."""
NEAREST, FARTHEST = 1.1, 9.0
"""Range of the side of the close-up that answers such a question, in sides of the thing; log-uniform. The
answer is one of the offered choices even where it is illegible."""
NOWHERE: questions.Places = (questions.Place(()),)
"""The regions of a name that is not in the picture."""


@dataclass(frozen=True)
class SyntheticConversation:
    """A conversation about one scene; the first pair holds the first picture."""

    pairs: tuple[QuestionAnswer, ...]
    views: tuple[View, ...]
    """Pictures of the conversation that get token labels, for auxiliary supervision of the vision tower."""


def synthetic_conversations(
    scene: Scene, rng: np.random.Generator, chat_format: ChatFormat, vision: VisionSpec
) -> list[SyntheticConversation]:
    """Return the conversations of a scene: its full image, then some close-ups; `rng` decides everything.

    Most pictures have a conversation of their own, because short conversations train faster than long ones.
    Otherwise the close-ups follow the full image, as results of operations do. A close-up with a conversation
    of its own may be shown after the full image, in one message: the model learns to read the latest picture
    and not its source. A question may also refer to a close-up in a later message, as after an operation.
    """
    in_one = bool(rng.random() < IN_ONE)
    if isinstance(scene.media, Video):
        conversations = _clip_conversations(scene, scene.media, rng, chat_format, vision, in_one)
    else:
        conversations = _picture_conversations(scene, scene.media, rng, chat_format, vision, in_one)
    if in_one:
        pairs = tuple(e for conversation in conversations for e in conversation.pairs)
        return [
            SyntheticConversation(
                pairs, tuple(view for conversation in conversations for view in conversation.views)
            )
        ]
    return conversations


def _conversation(
    asked: Sequence[QuestionAnswer], views: Sequence[View], *media: Media
) -> SyntheticConversation:
    """Return a conversation about the last of some pictures or clips, all of them in the first message."""
    return SyntheticConversation((replace(asked[0], media=media), *asked[1:]), tuple(views))


def _picture_conversations(
    scene: Scene,
    picture: Picture,
    rng: np.random.Generator,
    chat_format: ChatFormat,
    vision: VisionSpec,
    in_one: bool,
) -> list[SyntheticConversation]:
    size = picture.size
    full_image = view_of(picture, scene.things, Box(0, 0, *size), vision.image, vision.factor)
    conversations = [_conversation(_questions_on(full_image, rng, n_boxes=3), [full_image], full_image.media)]
    if not in_one and (guesses := _guesses(full_image.things, rng)):
        conversations.append(_conversation(guesses, (), full_image.media))
    for index in rng.permutation(len(scene.things))[: int(rng.integers(1, 4))].tolist():
        region = close_up(rng, scene.things[index], size)
        view = view_of(picture, scene.things, region, vision.crop, vision.factor)
        if about := _questions_on(view, rng, n_boxes=1):
            before = (full_image.media,) if not in_one and rng.random() < BESIDE else ()
            conversations.append(_conversation(about, [view], *before, view.media))
        if not in_one and rng.random() < DEFERRED:
            thing = scene.things[index]
            distractor = (
                _distractor(thing, scene, rng, chat_format, vision) if rng.random() < DISTRACTED else None
            )
            sides = math.exp(rng.uniform(math.log(NEAREST), math.log(FARTHEST)))
            region = around(rng, thing, size, sides=sides)
            near = view_of(picture, scene.things, region, vision.crop, vision.factor)
            conversations += _deferred(thing.name, near, full_image, distractor, rng, chat_format)
    return conversations


def _distractor(
    thing: Thing, scene: Scene, rng: np.random.Generator, chat_format: ChatFormat, vision: VisionSpec
) -> View | None:
    """Return a close-up of another thing that shows nothing of this one, if there is one."""
    assert isinstance(scene.media, Picture), "close-ups are cut from pictures"
    for index in rng.permutation(len(scene.things)).tolist():
        region = close_up(rng, scene.things[index], scene.media.size)
        if region.coverage_of(thing.box) == 0:
            return view_of(scene.media, scene.things, region, vision.crop, vision.factor)
    return None


def _deferred(
    name: str,
    near: View,
    whole: View,
    distractor: View | None,
    rng: np.random.Generator,
    chat_format: ChatFormat,
) -> list[SyntheticConversation]:
    """Return a conversation that asks about a thing in the full image and answers after a close-up.

    Questions about a glyph offer choices and are answered at any size. A board whose dots are illegible in
    the close-up gives no conversation.
    """
    shown = [t for t in near.things if t.name == name and (t.glyph or legible(t))]
    if not shown:
        return []
    asked = _one_question(shown[0], rng)
    subject = questions.capital(name)
    regions = regions_of([t for t in whole.things if t.name == name]) or NOWHERE
    pairs = [QuestionAnswer(f"{asked.text} Look closer.", f"{subject} is small.", regions, (whole.media,))]
    if distractor is not None:
        pairs.append(
            _shown_later(distractor, QuestionAnswer("", f"{subject} is not here.", NOWHERE), 2, chat_format)
        )
    pairs.append(_shown_later(near, answered(asked), len(pairs) + 1, chat_format))
    return [SyntheticConversation(tuple(pairs), (near,))]


def _shown_later(view: View, pair: QuestionAnswer, index: int, chat_format: ChatFormat) -> QuestionAnswer:
    """Return the pair with a picture in the form of a tool result in place of its question."""
    width, height = view.media.size
    caption = chat_format.crop_reply.format(index=index, width=width, height=height, target=1)
    return replace(pair, question=caption, media=(view.media,))


def _questions_on(view: View, rng: np.random.Generator, *, n_boxes: int) -> list[QuestionAnswer]:
    """Return questions in random order: positions of things and readings of legible ones."""
    things = [view.things[i] for i in rng.permutation(len(view.things)).tolist()]
    size = view.media.size
    # A thing is located once and read once: a second time would only train copying.
    if len(things) > 1 and rng.random() < ALL_AT_ONCE:
        out = [locate_all(things, size)]
    else:
        out = [locate(t, size, rng) for t in things[:n_boxes]]
    readable = [t for t in things if legible(t)]
    if readable and rng.random() < ALL_AT_ONCE:
        out.append(read_all([readable[i] for i in rng.permutation(len(readable)).tolist()]))
    else:
        out += [answered(_one_of(questions.questions_about(t, rng), rng)) for t in readable[:3]]
    return [out[i] for i in rng.permutation(len(out))]


def _guesses(things: Sequence[Thing], rng: np.random.Generator) -> list[QuestionAnswer]:
    """Return questions that are illegible at this size; the answer is one of the choices."""
    unreadable = [t for t in things if not legible(t)]
    chosen = [unreadable[i] for i in rng.permutation(len(unreadable))[:GUESSED].tolist()]
    return [answered(_one_question(t, rng)) for t in chosen]


def _one_question(thing: Thing, rng: np.random.Generator) -> questions.Question:
    """Return one question about a thing; with choices if it has a glyph."""
    if thing.glyph:
        return questions.read_glyph(thing, rng)
    return _one_of(questions.questions_about(thing, rng), rng)


def _one_of(asked: Sequence[questions.Question], rng: np.random.Generator) -> questions.Question:
    return asked[int(rng.integers(len(asked)))]


def _clip_conversations(
    scene: Scene,
    video: Video,
    rng: np.random.Generator,
    chat_format: ChatFormat,
    vision: VisionSpec,
    in_one: bool,
) -> list[SyntheticConversation]:
    """Return conversations about the frames of a card, legible cards, and single frames as pictures."""
    small, things = clip_as_shown(video, scene.things, vision)
    asked: list[QuestionAnswer] = []
    order = [things[i] for i in rng.permutation(len(things)).tolist()]
    if rng.random() < ALL_AT_ONCE:
        answer = "\n".join(frames_of(t) for t in order)
        asked.append(QuestionAnswer("Find the frames of everything.", answer, regions_of(order)))
    else:
        asked += [
            QuestionAnswer(f"Find the frames with {t.name}.", frames_of(t), regions_of([t])) for t in order
        ]
    for thing in order:
        if legible(thing):
            asked += [answered(q) for q in questions.questions_about(thing, rng)]
    asked = [asked[i] for i in rng.permutation(len(asked))]
    conversations = [_conversation(asked, _frame_pairs(small, order, rng), small)]
    if not in_one and (guesses := _guesses(order, rng)):
        conversations.append(_conversation(guesses, (), small))
    for index in rng.permutation(len(scene.things))[:2].tolist():
        thing = scene.things[index]
        frame = video.frames[int(rng.choice(thing.frames)) - 1]
        view = view_of(frame, (thing,), Box(0, 0, *video.size), vision.crop, vision.factor)
        before = (small,) if not in_one and rng.random() < BESIDE else ()
        conversations.append(_conversation(_questions_on(view, rng, n_boxes=1), [view], *before, view.media))
        if not in_one and rng.random() < DEFERRED:
            conversations += _deferred(thing.name, view, View(small, tuple(order)), None, rng, chat_format)
    return conversations


def _frame_pairs(video: Video, things: Sequence[Thing], rng: np.random.Generator) -> list[View]:
    """Return two pairs of neighbouring frames, each one temporal patch, with the things in both frames."""
    firsts = rng.permutation(len(video.frames) // 2)[:2] * 2
    views = []
    for first in firsts.tolist():
        shown = [t for t in things if {first + 1, first + 2} <= set(t.frames)]
        clip = Video(video.frames[first : first + 2], video.times_s[first : first + 2])
        views.append(View(clip, tuple(shown)))
    return views
