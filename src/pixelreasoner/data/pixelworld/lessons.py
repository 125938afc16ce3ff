"""Lessons for a model that has yet to learn to see: dense questions about pictures, never an operation.

One scene gives the overview with questions about where things are and what the legible ones show, and a
few close-ups, each with its own questions. This is what a general vision-language model already knows
before the warm start: grounding, reading, counting, and looking at the picture a question came with.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from pixelreasoner.chat.dialect import Dialect, PixelBudget
from pixelreasoner.chat.pixels import fit
from pixelreasoner.core.geometry import Box, Size, Unit
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.data.pixelworld import questions
from pixelreasoner.data.pixelworld.things import Scene, Thing

COORDINATE_STEP = 20
"""Boxes are spoken in thousandths, rounded outward to this step."""
ALL_AT_ONCE = 0.5
"""How often a picture is described as a whole rather than thing by thing."""
GUESSED = 0.5
"""How often something in the overview that is too small to read is asked about all the same."""
IN_ONE = 0.25
"""How often the pictures of a scene follow one another in one conversation."""
BESIDE = 0.5
"""How often a close-up that makes a lesson of its own is shown after the picture it was taken from."""
WHERE = ("", ".", " is here.", ". It is in this region of the picture:")
LEGIBLE_GLYPH_PX = 9.0
LEGIBLE_DOT_PX = 3.2


@dataclass(frozen=True)
class Exchange:
    """A question with its answer, and the pictures it brings along, if any; it is about the last of them."""

    question: str
    answer: str
    places: questions.Places
    """What the colour words of the answer stand for, in order, in pixels of the picture or video at hand."""
    media: tuple[Media, ...] = ()


@dataclass(frozen=True)
class View:
    """What a model sees as one block, at the size it sees it, with its things in pixels of that size."""

    media: Picture | Video
    """A picture, or the frames of one temporal patch of a video."""
    things: tuple[Thing, ...]


@dataclass(frozen=True)
class Lesson:
    """A conversation about one scene; the first exchange brings the first picture."""

    exchanges: tuple[Exchange, ...]
    views: tuple[View, ...]
    """What is in the lesson to see, for dense supervision of the vision tower."""


def view_of(
    picture: Picture, things: tuple[Thing, ...], region: Box, budget: PixelBudget, factor: int
) -> View:
    """The `region` of a picture (in pixels) as it is shown, with the things that lie mostly inside it."""
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


def legible(thing: Thing) -> bool:
    """Whether its detail can be read at the size of its view."""
    return thing.detail_px >= (LEGIBLE_DOT_PX if thing.noun == "board" else LEGIBLE_GLYPH_PX)


def spoken_box(box: Box, size: Size) -> list[int]:
    """A box as the lessons say it: thousandths of the picture, rounded outward."""
    b = box.clip(size).to(Unit.PERMILLE, size)
    step = COORDINATE_STEP
    low = [int(v // step * step) for v in (b.x1, b.y1)]
    high = [int(-(-v // step) * step) for v in (b.x2, b.y2)]
    return [*low, *(min(v, 1000) for v in high)]


def box_of(thing: Thing, size: Size, where: str = "") -> str:
    """Grounding as the Qwen families write it, after the thing's name: "The red card\\n{"bbox_2d": ...}".

    `where` stands between the two, so that the name is looked up wherever it was said.
    """
    box = json.dumps({"bbox_2d": spoken_box(thing.box, size)})
    return f"{questions.capital(thing.name)}{where}\n{box}"


def locate(thing: Thing, size: Size, rng: np.random.Generator) -> Exchange:
    """Grounding: the box of a thing."""
    where = WHERE[int(rng.integers(len(WHERE)))]
    return Exchange(f"Locate {thing.name}.", box_of(thing, size, where), (questions.place_of(thing),))


def frames_of(thing: Thing) -> str:
    """Temporal grounding: the frames that show a thing, after its name."""
    return f"{questions.capital(thing.name)}\n" + json.dumps({"target_frames": list(thing.frames)})


def locate_all(things: Sequence[Thing], size: Size) -> Exchange:
    """Detection: every thing with its box, in the order given."""
    return Exchange("Locate everything.", "\n".join(box_of(t, size) for t in things), _places(things))


def read_all(things: Sequence[Thing]) -> Exchange:
    """Transcription: what every thing shows, in the order given."""
    told = [described(t) for t in things]
    places = tuple(place for _, about in told for place in about)
    return Exchange("Read everything.", " ".join(text for text, _ in told), places)


def _places(things: Sequence[Thing]) -> questions.Places:
    return tuple(questions.place_of(t) for t in things)


def described(thing: Thing) -> tuple[str, questions.Places]:
    """A sentence with all that can be read off a thing, and what its colour words stand for."""
    if thing.glyph:
        return questions.reading(thing), _places([thing])
    if questions.holds_pair(thing):
        first, second = thing.dots
        side = questions.side_of(first, second)
        text = f"On {thing.name}, seen from the {second.colour} dot, the {first.colour} dot is {side}."
        return text, (*_places([thing]), questions.Place((second.box,)), questions.Place((first.box,)))
    colours = list(dict.fromkeys(d.colour for d in thing.dots))
    counts = [f"the number of {c} dots is {sum(d.colour == c for d in thing.dots)}" for c in colours]
    dots = [questions.Place(tuple(d.box for d in thing.dots if d.colour == c)) for c in colours]
    return f"On {thing.name}, {' and '.join(counts)}.", (*_places([thing]), *dots)


def answered(question: questions.Question) -> Exchange:
    """One question, answered in a sentence with the answer in a box."""
    return Exchange(question.text, f"{question.claim} \\boxed{{{question.answer}}}", question.about)


def close_up(rng: np.random.Generator, thing: Thing, size: Size) -> Box:
    """A region around a thing, up to four times its size, not centred."""
    side = max(thing.box.width, thing.box.height)
    half = side * float(rng.uniform(0.55, 1.7))
    cx, cy = thing.box.center
    slack = max(0.0, half - side / 2)
    cx, cy = cx + float(rng.uniform(-slack, slack)), cy + float(rng.uniform(-slack, slack))
    return Box(cx - half, cy - half, cx + half, cy + half).clip(size)


def lessons(scene: Scene, rng: np.random.Generator, dialect: Dialect, factor: int) -> list[Lesson]:
    """The lessons of a scene: its overview, then some close-ups; everything is drawn from `rng`.

    Most pictures make a lesson of their own: short conversations teach more per second than long ones. In
    the others the close-ups follow the overview, as an operation's result will. A close-up with a lesson of
    its own may come beside the overview, in one question about both: whoever is to read what an operation
    returned must not read the picture it came from.
    """
    in_one = rng.random() < IN_ONE
    beside = 0.0 if in_one else BESIDE
    if isinstance(scene.media, Video):
        pages = _clip_pages(scene, scene.media, rng, dialect, factor, beside)
    else:
        pages = _still_pages(scene, scene.media, rng, dialect, factor, beside)
    if in_one:
        exchanges = tuple(e for page in pages for e in page.exchanges)
        return [Lesson(exchanges, tuple(view for page in pages for view in page.views))]
    return pages


def _page(asked: Sequence[Exchange], views: Sequence[View], *media: Media) -> Lesson:
    """Questions about the last of some pictures or clips, the first of which brings them along."""
    return Lesson((replace(asked[0], media=media), *asked[1:]), tuple(views))


def _still_pages(
    scene: Scene, picture: Picture, rng: np.random.Generator, dialect: Dialect, factor: int, beside: float
) -> list[Lesson]:
    size = picture.size
    overview = view_of(picture, scene.things, Box(0, 0, *size), dialect.image, factor)
    asked = [*_questions_on(overview, rng, n_places=3), *_guesses(overview.things, rng)]
    pages = [_page(asked, [overview], overview.media)]
    for index in rng.permutation(len(scene.things))[: int(rng.integers(1, 4))].tolist():
        region = close_up(rng, scene.things[index], size)
        view = view_of(picture, scene.things, region, dialect.crop, factor)
        if about := _questions_on(view, rng, n_places=1):
            before = (overview.media,) if rng.random() < beside else ()
            pages.append(_page(about, [view], *before, view.media))
    return pages


def _questions_on(view: View, rng: np.random.Generator, *, n_places: int) -> list[Exchange]:
    """In random order: where things are, and what the legible ones show, all at once and one by one."""
    things = [view.things[i] for i in rng.permutation(len(view.things)).tolist()]
    size = view.media.size
    # A thing is located once and read once: a second time would only teach to copy.
    if len(things) > 1 and rng.random() < ALL_AT_ONCE:
        out = [locate_all(things, size)]
    else:
        out = [locate(t, size, rng) for t in things[:n_places]]
    readable = [t for t in things if legible(t)]
    if readable and rng.random() < ALL_AT_ONCE:
        out.append(read_all([readable[i] for i in rng.permutation(len(readable)).tolist()]))
    else:
        out += [answered(_one_of(questions.questions_about(t, rng), rng)) for t in readable[:3]]
    return [out[i] for i in rng.permutation(len(out))]


def _guesses(things: Sequence[Thing], rng: np.random.Generator) -> list[Exchange]:
    """A question that cannot be answered at this size: the answer is one of the choices, whichever."""
    unreadable = [t for t in things if not legible(t)]
    if not unreadable or rng.random() >= GUESSED:
        return []
    thing = unreadable[int(rng.integers(len(unreadable)))]
    if thing.glyph:
        return [answered(questions.read_glyph(thing, rng))]
    return [answered(_one_of(questions.questions_about(thing, rng), rng))]


def _one_of(asked: Sequence[questions.Question], rng: np.random.Generator) -> questions.Question:
    return asked[int(rng.integers(len(asked)))]


def clip_as_shown(
    video: Video, things: Sequence[Thing], dialect: Dialect, factor: int
) -> tuple[Video, list[Thing]]:
    """A clip at the size its frames are shown at, and its things in pixels of that size."""
    size = fit(video.size, dialect.video_frame, factor=factor)
    frames = [Image.fromarray(f.pixels).resize(size, Image.Resampling.BICUBIC) for f in video.frames]
    scale = size.width / video.size.width
    small = Video(tuple(Picture(np.asarray(f)) for f in frames), video.times_s)
    return small, [_scaled(t, scale) for t in things]


def _clip_pages(
    scene: Scene, video: Video, rng: np.random.Generator, dialect: Dialect, factor: int, beside: float
) -> list[Lesson]:
    """Which frames show a card, what a large card shows, then single frames as pictures."""
    small, things = clip_as_shown(video, scene.things, dialect, factor)
    asked: list[Exchange] = []
    order = [things[i] for i in rng.permutation(len(things)).tolist()]
    if rng.random() < ALL_AT_ONCE:
        answer = "\n".join(frames_of(t) for t in order)
        asked.append(Exchange("Find the frames of everything.", answer, _places(order)))
    else:
        asked += [Exchange(f"Find the frames with {t.name}.", frames_of(t), _places([t])) for t in order]
    for thing in order:
        if legible(thing):
            asked += [answered(q) for q in questions.questions_about(thing, rng)]
    asked += _guesses(order, rng)
    asked = [asked[i] for i in rng.permutation(len(asked))]
    pages = [_page(asked, _pairs(small, order, rng), small)]
    for index in rng.permutation(len(scene.things))[:2].tolist():
        thing = scene.things[index]
        frame = video.frames[int(rng.choice(thing.frames)) - 1]
        view = view_of(frame, (thing,), Box(0, 0, *video.size), dialect.crop, factor)
        before = (small,) if rng.random() < beside else ()
        pages.append(_page(_questions_on(view, rng, n_places=1), [view], *before, view.media))
    return pages


def _pairs(video: Video, things: Sequence[Thing], rng: np.random.Generator) -> list[View]:
    """Two pairs of neighbouring frames as the tower sees them, each with what both frames show."""
    firsts = rng.permutation(len(video.frames) // 2)[:2] * 2
    views = []
    for first in firsts.tolist():
        shown = [t for t in things if {first + 1, first + 2} <= set(t.frames)]
        pair = Video(video.frames[first : first + 2], video.times_s[first : first + 2])
        views.append(View(pair, tuple(shown)))
    return views


def _scaled(thing: Thing, scale: float) -> Thing:
    b = thing.box
    box = Box(b.x1 * scale, b.y1 * scale, b.x2 * scale, b.y2 * scale)
    return replace(thing, box=box, detail_px=thing.detail_px * scale)
