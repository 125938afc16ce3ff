"""How many trajectories of which template: Table 2 of the paper, and its 5,500 to 2,000 proportion."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeVar

import numpy as np
from pydantic import model_validator

from pixelreasoner.core.config import Config, Share
from pixelreasoner.core.media import Video
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.tasks.source import TaskSource

K = TypeVar("K", bound=str)


class Template(StrEnum):
    """What happens in a synthesised trajectory before its answer."""

    TEXT_ONLY = "text_only"
    """No operation: the full image is enough, or the answer is a guess."""
    SINGLE_PASS = "single_pass"
    """One operation on the cue."""
    RECROP_ONCE = "recrop_once"
    """A crop without the cue, then one on it."""
    RECROP_TWICE = "recrop_twice"
    """Two crops without the cue, then one on it."""
    FURTHER_ZOOM = "further_zoom"
    """A crop far larger than the cue, then one on the cue, cut from that crop."""
    RESELECT = "reselect"
    """Frames without the cue, then those with it."""


def _check_sum(shares: Mapping[Template, float], what: str) -> None:
    if not math.isclose(total := sum(shares.values()), 1.0, abs_tol=1e-6):
        raise ValueError(f"the shares of the {what} templates sum to {total:g}; make them sum to 1")


class ImageMix(Config):
    """Shares of the templates among the trajectories that operate on a picture (Table 2)."""

    single_pass: Share = 0.3
    """One crop, and the answer."""
    recrop_once: Share = 0.2
    """A wrong crop, then a right one."""
    recrop_twice: Share = 0.2
    """Two wrong crops, then a right one."""
    further_zoom: Share = 0.3
    """A crop, and a closer one within it."""

    @property
    def shares(self) -> dict[Template, float]:
        return {
            Template.SINGLE_PASS: self.single_pass,
            Template.RECROP_ONCE: self.recrop_once,
            Template.RECROP_TWICE: self.recrop_twice,
            Template.FURTHER_ZOOM: self.further_zoom,
        }

    @model_validator(mode="after")
    def _sums_to_one(self) -> ImageMix:
        _check_sum(self.shares, "image")
        return self


class VideoMix(Config):
    """Shares of the templates among the trajectories that operate on a video (Table 2)."""

    single_pass: Share = 0.9
    """Frames are selected once, and the answer follows."""
    reselect: Share = 0.1
    """Wrong frames, then right ones."""

    @property
    def shares(self) -> dict[Template, float]:
        return {Template.SINGLE_PASS: self.single_pass, Template.RESELECT: self.reselect}

    @model_validator(mode="after")
    def _sums_to_one(self) -> VideoMix:
        _check_sum(self.shares, "video")
        return self


class Mix(Config):
    """What a synthesised set is made of. The defaults are the paper's."""

    text_only: Share = 2000 / 7500
    """Share of the whole set that answers without an operation."""
    guess_share: Share = 0.0
    """Share of those whose task needs the operation. The paper draws its text-only trajectories from the base
    model and keeps the correct ones (rejection sampling), lucky guesses included."""
    image: ImageMix = ImageMix()
    """Shares among the trajectories that operate on a picture; they add up to 1."""
    video: VideoMix = VideoMix()
    """Shares among the trajectories that operate on a video; they add up to 1."""
    full_image_share: Share = 0.1
    """Share of the trajectories with an operation whose task needs none. They are single-pass ones, so it is
    at most the share of those."""
    self_correction: bool = True
    """False gives the paper's ablation "without self-correction": the same tasks, every trajectory with a
    deliberately wrong operation being a single-pass one instead."""

    @model_validator(mode="after")
    def _overview_fits(self) -> Mix:
        most = min(self.image.single_pass, self.video.single_pass)
        if self.full_image_share > most + 1e-9:
            raise ValueError(
                f"full_image_share is {self.full_image_share:g}, and only {most:g} of the trajectories are "
                "single-pass; lower it, or raise single_pass"
            )
        return self


@dataclass(frozen=True)
class Slot:
    """One trajectory to write: about which task, after which template."""

    template: Template
    kind: str
    needs_operation: bool | None
    """As `TaskSource.select` takes it: None where the tasks do not say."""
    index: int
    """Of the task among those of its kind and need."""


class _Entry(NamedTuple):
    template: Template
    kind: str
    needs_operation: bool


def apportion(n: int, shares: Mapping[K, float]) -> dict[K, int]:
    """`n` things dealt out in proportion to `shares` by largest remainders; ties go to the first.

    The counts sum to `n`, and each is within one of its exact share.
    """
    total = sum(shares.values())
    exact = {key: n * share / total for key, share in shares.items()}
    # The tolerance keeps 0.3 * 10 from losing its third to a float just below it.
    counts = {key: math.floor(value + 1e-9) for key, value in exact.items()}
    order = sorted(exact, key=lambda key: counts[key] - exact[key])
    for key in order[: n - sum(counts.values())]:
        counts[key] += 1
    return counts


def plan(n: int, mix: Mix, tasks: TaskSource, rng: np.random.Generator) -> list[Slot]:
    """`n` slots in random order: the mix is exact, kinds are equally frequent, no task occurs twice.

    Raises:
        SynthesisError: the source has fewer tasks than that.
    """
    kinds = tasks.kinds
    n_text = apportion(n, {"text": mix.text_only, "pixel": 1 - mix.text_only})["text"]
    n_guesses = round(n_text * mix.guess_share)
    entries = [_Entry(Template.TEXT_ONLY, kind, False) for kind in _dealt(n_text - n_guesses, kinds)]
    entries += [_Entry(Template.TEXT_ONLY, kind, True) for kind in _dealt(n_guesses, kinds)]
    with_operation = _dealt(n - n_text, kinds)
    about_videos = {kind for kind in kinds if _is_about_a_video(tasks, kind)}
    pictures = [kind for kind in with_operation if kind not in about_videos]
    videos = [kind for kind in with_operation if kind in about_videos]
    entries += _with_operation(pictures, mix.image.shares, mix, rng)
    entries += _with_operation(videos, mix.video.shares, mix, rng)
    known = {kind: tasks.needs(kind) for kind in kinds}
    counts: Counter[tuple[str, bool | None]] = Counter()
    slots: list[Slot] = []
    for at in rng.permutation(len(entries)).tolist():
        template, kind, wanted = entries[at]
        if not mix.self_correction and template is not Template.TEXT_ONLY:
            template = Template.SINGLE_PASS
        # Where the tasks do not say what they need, or all need the same, there is nothing to choose.
        needs = wanted if wanted in known[kind] else next(iter(known[kind]))
        slots.append(Slot(template, kind, needs, index=counts[kind, needs]))
        counts[kind, needs] += 1
    _check_sizes(tasks, counts)
    return slots


def _is_about_a_video(tasks: TaskSource, kind: str) -> bool:
    (first,) = tasks.select(kind=kind).take(0, 1)
    return any(isinstance(item, Video) for item in first.media)


def _check_sizes(tasks: TaskSource, counts: Mapping[tuple[str, bool | None], int]) -> None:
    for (kind, needs), wanted in counts.items():
        size = tasks.select(kind=kind, needs_operation=needs).size
        if size is not None and size < wanted:
            what = {True: " that need an operation", False: " that need none", None: ""}[needs]
            raise SynthesisError(
                f"the mix takes {wanted} tasks of kind '{kind}'{what}, and there are {size}; lower n"
            )


def _dealt(n: int, kinds: Sequence[str]) -> list[str]:
    """`n` kinds in turn."""
    return [kinds[i % len(kinds)] for i in range(n)]


def _with_operation(
    kinds: Sequence[str], shares: Mapping[Template, float], mix: Mix, rng: np.random.Generator
) -> list[_Entry]:
    """A template for each of `kinds`, and whether its task needs the operation."""
    counts = apportion(len(kinds), shares)
    templates = [template for template, count in counts.items() for _ in range(count)]
    mixed = [templates[i] for i in rng.permutation(len(templates)).tolist()]
    single = [i for i, template in enumerate(mixed) if template is Template.SINGLE_PASS]
    n_full_image = min(round(len(kinds) * mix.full_image_share), len(single))
    full_image = {single[i] for i in rng.permutation(len(single))[:n_full_image].tolist()}
    return [
        _Entry(template, kind, needs_operation=i not in full_image)
        for i, (template, kind) in enumerate(zip(mixed, kinds, strict=True))
    ]
