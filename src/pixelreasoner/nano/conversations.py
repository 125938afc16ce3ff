"""Lessons for a model that has yet to learn to see: dense questions about pictures, never an operation.

One scene gives the full_image with questions about where things are and what the legible ones show, and a
few close-ups, each with its own questions. This is what a general vision-language model already knows
before the warm start: grounding, reading, counting, and looking at the picture a question came with.
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
"""How often a picture is described as a whole rather than thing by thing."""
GUESSED = 3
"""How many things in an full_image that are too small to read are asked about all the same, in a conversation of
their own. To choose among what a question offers is learned on these: where the answer can be read, no
choices are needed, and among other questions these weigh too little."""
IN_ONE = 0.25
"""How often the pictures of a scene follow one another in one conversation."""
BESIDE = 0.5
"""How often a close-up that makes a conversation of its own is shown after the picture it was taken from."""
DEFERRED = 0.7
"""How often there is a conversation in which the question comes first and the close-up that answers it later.
Whoever reads what an operation returned answers a question that lies some messages back."""
DISTRACTED = 0.4
"""How often another close-up comes between the two, without what the question is about."""
NEAREST, FARTHEST = 1.1, 9.0
"""Side of the close-up that answers such a question, in sides of the thing; half of them are wider than the
root of the two. What cannot be read there must still be one of the choices that were offered."""
NOWHERE: questions.Places = (questions.Place(()),)
"""What a name stands for that is not in the picture."""


@dataclass(frozen=True)
class SyntheticConversation:
    """A conversation about one scene; the first pair brings the first picture."""

    pairs: tuple[QuestionAnswer, ...]
    views: tuple[View, ...]
    """What is in the conversation to see, for dense supervision of the vision tower."""


def synthetic_conversations(
    scene: Scene, rng: np.random.Generator, chat_format: ChatFormat, vision: VisionSpec
) -> list[SyntheticConversation]:
    """The conversations of a scene: its full_image, then some close-ups; everything is drawn from `rng`.

    Most pictures make a conversation of their own: short conversations teach more per second than long ones. In
    the others the close-ups follow the full_image, as an operation's result will. A close-up with a conversation of
    its own may come beside the full_image, in one question about both: whoever is to read what an operation
    returned must not read the picture it came from. And a question may come first, with the full_image, and
    the close-up that answers it later, as after an operation.
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
    """Questions about the last of some pictures or clips, the first of which brings them along."""
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
    """A close-up of another thing that shows nothing of this one, if there is one."""
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
    """A question about a thing, asked of the full_image and answered once a close-up has been shown.

    What is written on it comes with choices, and must be pairs at any size; no conversation about a board whose dots
    cannot be pairs apart there either.
    """
    seen = [t for t in near.things if t.name == name and (t.glyph or legible(t))]
    if not seen:
        return []
    asked = _one_question(seen[0], rng)
    subject = questions.capital(name)
    place = regions_of([t for t in whole.things if t.name == name]) or NOWHERE
    pairs = [QuestionAnswer(f"{asked.text} Look closer.", f"{subject} is small.", place, (whole.media,))]
    if distractor is not None:
        pairs.append(
            _shown_later(distractor, QuestionAnswer("", f"{subject} is not here.", NOWHERE), 2, chat_format)
        )
    pairs.append(_shown_later(near, answered(asked), len(pairs) + 1, chat_format))
    return [SyntheticConversation(tuple(pairs), (near,))]


def _shown_later(view: View, pairs: QuestionAnswer, index: int, chat_format: ChatFormat) -> QuestionAnswer:
    """An pair in which a picture is shown as an operation would show it, and nothing is asked."""
    width, height = view.media.size
    caption = chat_format.crop_reply.format(index=index, width=width, height=height, target=1)
    return replace(pairs, question=caption, media=(view.media,))


def _questions_on(view: View, rng: np.random.Generator, *, n_boxes: int) -> list[QuestionAnswer]:
    """In random order: where things are, and what the legible ones show, all at once and one by one."""
    things = [view.things[i] for i in rng.permutation(len(view.things)).tolist()]
    size = view.media.size
    # A thing is located once and read once: a second time would only teach to copy.
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
    """Questions that cannot be answered at this size: the answer is one of the choices, whichever."""
    unreadable = [t for t in things if not legible(t)]
    chosen = [unreadable[i] for i in rng.permutation(len(unreadable))[:GUESSED].tolist()]
    return [answered(_one_question(t, rng)) for t in chosen]


def _one_question(thing: Thing, rng: np.random.Generator) -> questions.Question:
    """One question about a thing; with choices if something is written on it."""
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
    """Which frames show a card, what a large card shows, then single frames as pictures."""
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
    """Two pairs of neighbouring frames as the tower sees them, each with what both frames show."""
    firsts = rng.permutation(len(video.frames) // 2)[:2] * 2
    views = []
    for first in firsts.tolist():
        shown = [t for t in things if {first + 1, first + 2} <= set(t.frames)]
        clip = Video(video.frames[first : first + 2], video.times_s[first : first + 2])
        views.append(View(clip, tuple(shown)))
    return views
