"""How many trajectories of which template: Table 2 of the paper, and its 5,500 to 2,000 proportion."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from enum import StrEnum
from typing import TypeVar

from pydantic import model_validator

from pixelreasoner.core.config import Config, Share

K = TypeVar("K", bound=Hashable)


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
