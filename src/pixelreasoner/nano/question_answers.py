"""Question-answer pairs and views: the parts of synthetic conversations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from pixelreasoner.chat.chat_format import PixelBudget
from pixelreasoner.chat.pixels import fit
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.geometry import Box, Size, Unit
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.tasks.pixelworld import questions
from pixelreasoner.tasks.pixelworld.things import Thing

COORDINATE_STEP = 20
"""Boxes are written in relative coordinates (0-1000), rounded outward to this step."""
WHERE = (
    "\n{box}",
    ".\n{box}",
    " is here.\n{box}",
    ". It is in this region of the picture:\n{box}",
    '.\n{{"picture": 1, "region": {box}}}',
    '.\n{{"what": "one thing", "where": {{"in": "the picture", "region": {box}}}}}',
    '. This is what was asked for, and where it is to be found:\n{{"found": 1, "region": {box}}}',
)
"""Texts between the name of a thing and its box. They vary, so that the model learns to attend to the name at
any distance and in any format."""
ROOMY = 0.4
"""Probability that a thing is located with a margin, as in a crop."""
ROOM = (0.5, 1.2)
"""Range of that margin on each side, in sides of the thing."""
LEGIBLE_GLYPH_PX = 9.0
LEGIBLE_DOT_PX = 3.2


@dataclass(frozen=True)
class QuestionAnswer:
    """A question with its answer and the pictures of its message; it is about the last picture."""

    question: str
    answer: str
    regions: questions.Places
    """Regions of the answer's colour words, in order, in pixels of the latest picture or video."""
    media: tuple[Media, ...] = ()


@dataclass(frozen=True)
class View:
    """A visual block at the size the model gets it, with its things in pixels of that size."""

    media: Picture | Video
    """A picture, or the frames of one temporal patch of a video."""
    things: tuple[Thing, ...]


def view_of(
    picture: Picture, things: tuple[Thing, ...], region: Box, budget: PixelBudget, factor: int
) -> View:
    """Return the `region` of a picture (in pixels) at the budget's size, with the things inside it."""
    left, top, right, bottom = region.pixel_bounds(picture.size)
    size = fit(Size(right - left, bottom - top), budget, factor=factor)
    crop = Image.fromarray(picture.pixels[top:bottom, left:right])
    shown = Picture(np.asarray(crop.resize(size, Image.Resampling.BICUBIC)))
    sx, sy = size.width / (right - left), size.height / (bottom - top)

    def moved(box: Box) -> Box:
        return Box((box.x1 - left) * sx, (box.y1 - top) * sy, (box.x2 - left) * sx, (box.y2 - top) * sy)

    kept = [
        replace(
            t,
            box=moved(t.box),
            detail_px=t.detail_px * min(sx, sy),
            frames=(),
            dots=tuple(replace(d, box=moved(d.box)) for d in t.dots),
        )
        for t in things
        if region.coverage_of(t.box) > 0.9
    ]
    return View(shown, tuple(kept))


def close_up(rng: np.random.Generator, thing: Thing, size: Size) -> Box:
    """Return a region around a thing, 1.1 to 3.4 times as long as it, not centred."""
    return around(rng, thing, size, sides=float(rng.uniform(1.1, 3.4)))


def around(rng: np.random.Generator, thing: Thing, size: Size, *, sides: float) -> Box:
    """Return a square that holds a thing, not centred, `sides` times as long as it, clipped to `size`."""
    side = max(thing.box.width, thing.box.height)
    half = side * sides / 2
    cx, cy = thing.box.center
    slack = max(0.0, half - side / 2)
    cx, cy = cx + float(rng.uniform(-slack, slack)), cy + float(rng.uniform(-slack, slack))
    return Box(cx - half, cy - half, cx + half, cy + half).clip(size)


def clip_as_shown(video: Video, things: Sequence[Thing], vision: VisionSpec) -> tuple[Video, list[Thing]]:
    """Return a clip at the size the model gets its frames, and its things in pixels of that size."""
    size = vision.frame_size(video)
    frames = [Image.fromarray(f.pixels).resize(size, Image.Resampling.BICUBIC) for f in video.frames]
    scale = size.width / video.size.width
    small = Video(tuple(Picture(np.asarray(f)) for f in frames), video.times_s)
    return small, [_scaled(t, scale) for t in things]


def _scaled(thing: Thing, scale: float) -> Thing:
    b = thing.box
    box = Box(b.x1 * scale, b.y1 * scale, b.x2 * scale, b.y2 * scale)
    return replace(thing, box=box, detail_px=thing.detail_px * scale)


def legible(thing: Thing) -> bool:
    """Return whether its detail can be read at the size of its view."""
    return thing.detail_px >= (LEGIBLE_DOT_PX if thing.noun == "board" else LEGIBLE_GLYPH_PX)


def written_box(box: Box, size: Size) -> list[int]:
    """Return a box as conversations write it: relative coordinates (0-1000), rounded outward."""
    b = box.clip(size).to(Unit.RELATIVE, size)
    step = COORDINATE_STEP
    low = [int(v // step * step) for v in (b.x1, b.y1)]
    high = [int(-(-v // step) * step) for v in (b.x2, b.y2)]
    return [*low, *(min(v, 1000) for v in high)]


def box_of(thing: Thing, size: Size, where: str = WHERE[0]) -> str:
    """Return grounding in the format of the Qwen families: "The red card\\n{"bbox_2d": ...}".

    `where` is the template of the text after the name.
    """
    box = json.dumps({"bbox_2d": written_box(thing.box, size)})
    return f"{questions.capital(thing.name)}{where.format(box=box)}"


def locate(thing: Thing, size: Size, rng: np.random.Generator) -> QuestionAnswer:
    """Return a grounding question: the box of a thing, or one with a margin."""
    where = WHERE[int(rng.integers(len(WHERE)))]
    region = (questions.place_of(thing),)
    if rng.random() >= ROOMY:
        return QuestionAnswer(f"Locate {thing.name}.", box_of(thing, size, where), region)
    room = float(rng.uniform(*ROOM)) * max(thing.box.width, thing.box.height)
    roomy = replace(thing, box=thing.box.pad(room))
    return QuestionAnswer(f"Locate {thing.name} with room around it.", box_of(roomy, size, where), region)


def frames_of(thing: Thing) -> str:
    """Return temporal grounding: the name of a thing and the frames that show it."""
    return f"{questions.capital(thing.name)}\n" + json.dumps({"target_frames": list(thing.frames)})


def locate_all(things: Sequence[Thing], size: Size) -> QuestionAnswer:
    """Return a detection question: every thing with its box, in the given order."""
    return QuestionAnswer(
        "Locate everything.", "\n".join(box_of(t, size) for t in things), regions_of(things)
    )


def read_all(things: Sequence[Thing]) -> QuestionAnswer:
    """Return a transcription question: the reading of every thing, in the given order."""
    sentences = [described(t) for t in things]
    regions = tuple(region for _, about in sentences for region in about)
    return QuestionAnswer("Read everything.", " ".join(text for text, _ in sentences), regions)


def regions_of(things: Sequence[Thing]) -> questions.Places:
    """Return the region of each thing, in the given order."""
    return tuple(questions.place_of(t) for t in things)


def described(thing: Thing) -> tuple[str, questions.Places]:
    """Return a sentence with every reading of a thing, and the regions of its colour words."""
    if thing.glyph:
        return questions.reading(thing), regions_of([thing])
    if questions.holds_pair(thing):
        first, second = thing.dots
        side = questions.side_of(first, second)
        text = f"On {thing.name}, seen from the {second.colour} dot, the {first.colour} dot is {side}."
        return text, (*regions_of([thing]), questions.Place((second.box,)), questions.Place((first.box,)))
    colours = list(dict.fromkeys(d.colour for d in thing.dots))
    counts = [f"the number of {c} dots is {sum(d.colour == c for d in thing.dots)}" for c in colours]
    dots = [questions.Place(tuple(d.box for d in thing.dots if d.colour == c)) for c in colours]
    return f"On {thing.name}, {' and '.join(counts)}.", (*regions_of([thing]), *dots)


def answered(question: questions.Question) -> QuestionAnswer:
    """Return a question with its claim and the boxed answer."""
    return QuestionAnswer(question.text, f"{question.claim} \\boxed{{{question.answer}}}", question.about)
