"""Does what the boxes of published trajectories claim hold? Checked against their own pictures.

Of each crop: the box lies in the picture, and the crop that is shown is that part of it (`crop_claims`). Of
each selection: the frames that are shown are those that are named. Of the operations among themselves: an
earlier region shares nothing with the last one (a deliberately wrong one) or holds it (a further zoom). Of
the answer: it is there, it is one of the options, it is the reference where one is known, and, on demand, it
can be read in the last crop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

from pixelreasoner.core.crop_match import shows_region
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.trajectory import Observation, Trajectory
from pixelreasoner.rewards.choices import chosen_letter, listed_options
from pixelreasoner.rewards.scorers import Scorer
from pixelreasoner.tasks.datasets.crop_claims import TOLERANCE_PX, box_numbers, judge_crop, listed

SAME_IOU = 0.9

TextCheck = Callable[[Picture, Trajectory], str | None]
"""What the last crop of a trajectory shows in place of its answer; None where it shows it."""
NOT_READ = "the last crop does not show the answer"


class Fault(NamedTuple):
    """Something that does not hold."""

    reason: str
    """What rows of this kind are counted under."""
    message: int
    """Number of the model's message it is about, from 1."""
    detail: str = ""


@dataclass(frozen=True)
class _Shown:
    """A picture of a conversation, and where in the row's own media it lies."""

    picture: Picture
    target: int
    """Which of the row's pictures it comes from; -n for frame n of its video, 0 where nobody knows."""
    box: Box | None
    """In pixels of that one; None where nobody knows."""


@dataclass
class _Walk:
    """What was seen of a trajectory so far."""

    shown: list[_Shown]
    video: Video | None
    faults: list[Fault] = field(default_factory=list[Fault])
    crops: list[tuple[int, _Shown]] = field(default_factory=list[tuple[int, _Shown]])
    """With the number of their message; those whose place is known."""
    frames: list[tuple[int, frozenset[int]]] = field(default_factory=list[tuple[int, frozenset[int]]])
    with_margin: bool = False


@dataclass(frozen=True)
class BoxCheck:
    """The check of one trajectory after another."""

    scorer: Scorer
    """Compares an answer with its reference."""
    references: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Known answers, by the id of a row."""
    reads: TextCheck | None = None
    """Looks for the answer in the last crop."""

    def faults(self, trajectory: Trajectory) -> tuple[list[Fault], str]:
        """What does not hold, and what the trajectory does, in a few words to be counted by.

        Raises:
            MediaError: a picture of it cannot be decoded.
        """
        media = trajectory.task.media
        pictures = [item for item in media if isinstance(item, Picture)]
        shown = [_Shown(p, i, Box(0, 0, *p.size)) for i, p in enumerate(pictures, start=1)]
        walk = _Walk(shown, next((item for item in media if isinstance(item, Video)), None))
        for number, turn in enumerate(trajectory.turns, start=1):
            if (seen := turn.observation) is not None and seen.valid:
                _look(walk, number, turn.call, seen)
        walk.faults += _relations(walk)
        walk.faults += self._about_the_answer(trajectory)
        if self.reads is not None and walk.crops and trajectory.answer is not None:
            number, last = walk.crops[-1]
            if (read := self.reads(last.picture, trajectory)) is not None:
                walk.faults.append(Fault(NOT_READ, number, read))
        return walk.faults, _form(walk)

    def _about_the_answer(self, trajectory: Trajectory) -> Iterator[Fault]:
        task, answer, last = trajectory.task, trajectory.answer, len(trajectory.turns)
        if answer is None:
            yield Fault("the last message holds no answer", last)
            return
        options = listed_options(task.question)
        if options and chosen_letter(answer, options) is None:
            yield Fault("the answer is none of the options", last, repr(answer))
        known = self.references.get(task.id)
        if known and self.scorer(answer, known, replace(task, answers=tuple(known), options=options)) < 1:
            yield Fault("the answer is not the reference", last, f"{answer!r}, not {known[0]!r}")


def _form(walk: _Walk) -> str:
    if walk.frames:
        return "frames"
    if not walk.crops:
        return "no operation that could be placed"
    return "crops with a margin around their boxes" if walk.with_margin else "crops of their boxes"


def _look(walk: _Walk, number: int, call: ToolCall | None, seen: Observation) -> None:
    """Judge one result, and add its pictures to what was shown."""
    arguments: Mapping[str, Any] = {} if call is None else call.arguments
    made: list[_Shown] | None = None
    if "bbox_2d" in arguments:
        made = _crop(walk, number, arguments, seen)
    elif "target_frames" in arguments:
        made = _selection(walk, number, arguments["target_frames"], seen)
    else:
        walk.faults.append(Fault("a picture comes back and no box or frames were named", number))
    walk.shown += made or [_Shown(picture, 0, None) for picture in seen.images]


# ---------------------------------------------------------------------------------------------- crops


def _crop(walk: _Walk, number: int, arguments: Mapping[str, Any], seen: Observation) -> list[_Shown] | None:
    target, numbers = arguments.get("target_image", 1), box_numbers(arguments["bbox_2d"])
    if numbers is None:
        walk.faults.append(Fault("a box is not four numbers", number, repr(arguments["bbox_2d"])))
        return None
    if type(target) is not int or not 1 <= target <= len(walk.shown):
        walk.faults.append(Fault("a box is in a picture that there is not", number, f"image {target!r}"))
        return None
    if len(seen.images) != 1:
        walk.faults.append(Fault("a box and more than one picture for it", number, str(len(seen.images))))
        return None
    source, crop = walk.shown[target - 1], seen.images[0]
    claim = judge_crop(numbers, source.picture, crop)
    walk.faults += [Fault(problem.reason, number, problem.detail) for problem in claim.problems]
    walk.with_margin |= claim.with_margin
    if claim.shows is None:
        return None
    made = _Shown(crop, source.target, _in_root(claim.shows, source))
    walk.crops.append((number, made))
    return [made]


def _in_root(box: Box, source: _Shown) -> Box | None:
    """A region of a picture that was shown, in pixels of the one it was cut from at first."""
    if source.box is None:
        return None
    part, scale_x = source.box, source.box.width / source.picture.size.width
    scale_y = part.height / source.picture.size.height
    return Box(
        part.x1 + box.x1 * scale_x, part.y1 + box.y1 * scale_y,
        part.x1 + box.x2 * scale_x, part.y1 + box.y2 * scale_y,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------- frames


def _selection(walk: _Walk, number: int, value: Any, seen: Observation) -> list[_Shown] | None:
    frames: list[Picture] = [] if walk.video is None else list(walk.video.frames)
    named = cast(Sequence[Any], value) if isinstance(value, (list, tuple)) else ()
    if not named or not all(type(v) is int and 1 <= v <= len(frames) for v in named):
        walk.faults.append(Fault("a frame that there is not", number, f"{value!r} of {len(frames)}"))
        return None
    if len(named) != len(seen.images):
        detail = f"{len(named)} named, {len(seen.images)} shown"
        walk.faults.append(Fault("not as many frames as were named", number, detail))
        return None
    wrong = [v for v, image in zip(named, seen.images, strict=True) if not _shows_whole(frames[v - 1], image)]
    if wrong:
        walk.faults.append(Fault("frames are shown that are not those named", number, listed(wrong)))
        return None
    walk.frames.append((number, frozenset(named)))
    return [_Shown(image, -v, Box(0, 0, *image.size)) for v, image in zip(named, seen.images, strict=True)]


def _shows_whole(frame: Picture, image: Picture) -> bool:
    return shows_region(frame, (0, 0, frame.size.width, frame.size.height), image)


# ------------------------------------------------------------------------------------------ relations


def _relations(walk: _Walk) -> Iterator[Fault]:
    """Operations before the last one that are neither off its region nor around it."""
    if walk.crops:
        *earlier, (_, last) = walk.crops
        for number, crop in earlier:
            if crop.target == last.target and crop.box is not None and last.box is not None:
                yield from _relation(number, crop.box, last.box)
    if walk.frames:
        *before, (_, final) = walk.frames
        for number, frames in before:
            if shared := sorted(frames & final):
                yield Fault("earlier frames are among the last ones", number, listed(shared))


def _relation(number: int, box: Box, last: Box) -> Iterator[Fault]:
    if box.iou(last) > SAME_IOU:
        yield Fault("an earlier crop shows the same as the last one", number)
    elif box.pad(TOLERANCE_PX).contains(last):
        return
    elif box.pad(-TOLERANCE_PX).overlaps(last):
        detail = f"{last.coverage_of(box):.0%} of it, which hold {box.coverage_of(last):.0%} of the last one"
        yield Fault("an earlier crop shares a part with the last one, and does not hold it", number, detail)
