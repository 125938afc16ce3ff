"""Records as notebooks show them: a piece of HTML with its own styles, and pictures of a few kilobytes.

Unlike a page (`viewer.html`) it has no style sheet, which would reach the rest of the notebook, and no
scripts, which are removed where notebooks are read on the web.
"""

from __future__ import annotations

from dataclasses import dataclass

from pixelreasoner.core.media import Media, Picture
from pixelreasoner.core.trajectory import Observation, Trajectory
from pixelreasoner.viewer.html import render
from pixelreasoner.viewer.pictures import EXACT_PIXELS, Figure, encode, figure, inline, mark
from pixelreasoner.viewer.steps import call_text, written_text

PICTURE_SIDE, CROP_SIDE, FRAME_SIDE = 320, 220, 88
"""The longest side of a picture, a result and a frame, in CSS pixels."""


@dataclass(frozen=True)
class Step:
    """A turn as the template takes it."""

    text: str
    call: str
    reply: str
    failed: bool
    figures: tuple[Figure, ...]


def trajectory_html(trajectory: Trajectory) -> str:
    """Return the question with its media, each turn with what its operation returned, and the answer."""
    figures = [f for item in trajectory.task.media for f in _figures(item)]
    n_images = sum(isinstance(item, Picture) for item in trajectory.task.media)
    steps: list[Step] = []
    for turn in trajectory.turns:
        seen = turn.observation
        if seen is not None and seen.box is not None and 1 <= seen.source <= len(figures) == n_images:
            figures[seen.source - 1] = _marked(figures[seen.source - 1], seen, trajectory.task.media)
        steps.append(
            Step(
                text=written_text(turn),
                call="" if turn.call is None else call_text(turn.call),
                reply="" if seen is None else seen.text.strip(),
                failed=seen is not None and not seen.valid,
                figures=() if seen is None else tuple(figure(p, longest=CROP_SIDE) for p in seen.images),
            )
        )
    return render("notebook.html", uri=_uri, trajectory=trajectory, figures=figures, steps=steps)


def media_html(media: Media) -> str:
    """Return a picture, or the frames of a video in a row."""
    return render("notebook.html", uri=_uri, trajectory=None, figures=_figures(media), steps=())


def _figures(media: Media) -> list[Figure]:
    if isinstance(media, Picture):
        return [figure(media, longest=PICTURE_SIDE)]
    return [
        figure(frame, longest=FRAME_SIDE, label=f"{i} · {time_s:.1f} s")
        for i, (frame, time_s) in enumerate(zip(media.frames, media.times_s, strict=True), start=1)
    ]


def _uri(shown: Figure) -> str:
    """The picture at the resolution it is shown with, since notebooks keep what they show."""
    exact = EXACT_PIXELS if max(shown.size) <= shown.longest else 0
    return inline(*encode(shown.picture, max_side=shown.longest, exact_pixels=exact))


def _marked(shown: Figure, seen: Observation, media: tuple[Media, ...]) -> Figure:
    """A picture of the question with the place that a crop was cut from."""
    picture = media[seen.source - 1]
    assert isinstance(picture, Picture)
    assert seen.box is not None
    box = mark("crop", "", seen.box, picture.size)
    return figure(picture, longest=PICTURE_SIDE, marks=(*shown.marks, box))
