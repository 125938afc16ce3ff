"""How many copies of pictures the check for overlap finds, and how many others it takes for copies.

Pictures of PixelWorld are the hard case: a few photographs lie behind all of them, so that two tasks may
differ in a sign of a few pixels only.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from pixelreasoner.core.media import Picture, pictures_of
from pixelreasoner.core.near_hashes import near_pairs
from pixelreasoner.core.perceptual_hash import RADIUS, REGIONS, Hashes
from pixelreasoner.core.picture_copies import DIFFERENT
from pixelreasoner.core.task import Task
from pixelreasoner.evals.catalogue import Catalogue
from pixelreasoner.evals.overlap import find_overlap
from pixelreasoner.tasks.pixelworld.source import pixelworld

Measured = dict[str, Any]
Way = Callable[[Image.Image, np.random.Generator], Image.Image]


def run(n: int, *, seed: int = 0) -> Iterator[Measured]:
    """Recall for each way of making a copy, false copies among different pictures, and the time at full size.

    Args:
        n: pictures that are copied in each way; four times as many different ones are compared.
        seed: of what is cut off.
    """
    tasks = list(_still_tasks(0, n))
    with Catalogue() as originals:
        originals.add_all((task, frozenset()) for task in tasks)
        for name, copied in WAYS.items():
            rng = np.random.default_rng(seed)
            yield _recall(originals, name, (_copy(task, copied, rng) for task in tasks))
    yield _false_copies(2 * n)
    yield _full_size()


def _still_tasks(start: int, n: int) -> Iterator[Task]:
    """Tasks with one picture each: of a video, its middle frame."""
    for task in pixelworld(split="test", seed=1).take(start, n):
        pictures = list(pictures_of(task.media))
        yield Task(task.id, task.question, (pictures[len(pictures) // 2],), task.answers, task.kind)


def _copy(task: Task, copied: Way, rng: np.random.Generator) -> Task:
    (picture,) = pictures_of(task.media)
    copy = Picture(np.asarray(copied(Image.fromarray(picture.pixels), rng)))
    return Task(task.id, task.question, (copy,), task.answers, task.kind)


def _cut(image: Image.Image, shares: Sequence[float]) -> Image.Image:
    left, top, right, bottom = shares
    width, height = image.size
    return image.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    )


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def _scaled(image: Image.Image, by: float) -> Image.Image:
    size = round(image.width * by), round(image.height * by)
    return image.resize(size, Image.Resampling.LANCZOS if by < 1 else Image.Resampling.BILINEAR)


def _cut_off(most: float) -> Way:
    return lambda image, rng: _jpeg(_cut(image, rng.uniform(0, most, 4).tolist()), 80)


WAYS: dict[str, Way] = {
    "JPEG, quality 75": lambda image, rng: _jpeg(image, 75),
    "JPEG, quality 30": lambda image, rng: _jpeg(image, 30),
    "half the size": lambda image, rng: _scaled(image, 0.5),
    "a quarter of the size, JPEG 60": lambda image, rng: _jpeg(_scaled(image, 0.25), 60),
    "1.5 times the size": lambda image, rng: _scaled(image, 1.5),
    "up to 2 % cut off each side, JPEG 80": _cut_off(0.02),
    "up to 4 % cut off each side, JPEG 80": _cut_off(0.04),
    "up to 6 % cut off each side, JPEG 80": _cut_off(0.06),
    "up to 8 % cut off each side, JPEG 80": _cut_off(0.08),
    "up to 4 % cut off each side, half the size, JPEG 80": lambda image, rng: _jpeg(
        _scaled(_cut(image, rng.uniform(0, 0.04, 4).tolist()), 0.5), 80
    ),
}
"""What is done to a picture -> how."""


def _recall(originals: Catalogue, name: str, made: Iterator[Task]) -> Measured:
    """The share of copies that are found as copies of their originals, and what else they are found as."""
    with Catalogue() as copies:
        copies.add_all((task, frozenset()) for task in made)
        found = find_overlap(originals, copies, watch=lambda done, total: None)
        hits: set[str] = set()
        others = 0
        for match in found.pictures:
            a = {originals.ids[at] for at in originals.owners[match.a]}
            b = {copies.ids[at] for at in copies.owners[match.b]}
            hits |= a & b
            others += not a & b
        n = len(copies.ids)
    return {"copy": name, "n": n, "found": len(hits), "recall": len(hits) / n, "other": others}


def _false_copies(n: int) -> Measured:
    """Different pictures of PixelWorld that are taken for copies: `n` tasks beside the next `n`."""
    with Catalogue() as a, Catalogue() as b:
        a.add_all((task, frozenset()) for task in _still_tasks(0, n))
        b.add_all((task, frozenset()) for task in _still_tasks(n, n))
        candidates = 0

        def watch(done: int, total: int) -> None:
            nonlocal candidates
            candidates = total

        found = find_overlap(a, b, watch=watch)
        pairs = len(a.owners) * len(b.owners)
    near = sum(not match.exact for match in found.pictures)
    return {"pairs": pairs, "within": RADIUS, "candidates": candidates, "different": DIFFERENT, "taken": near}


def _full_size(n_a: int = 15_000, n_b: int = 4_000) -> Measured:
    """The time to find candidates among random hashes, as those of different photographs are."""
    rng = np.random.default_rng(0)

    def hashes(n: int) -> Hashes:
        return rng.integers(0, 2**64, (n, len(REGIONS)), dtype=np.uint64)

    a, b = hashes(n_a), hashes(n_b)
    start = time.perf_counter()
    near_pairs(a[:, 0].copy(), b.reshape(-1), RADIUS)
    near_pairs(a.reshape(-1), b[:, 0].copy(), RADIUS)
    return {"a": n_a, "b": n_b, "seconds": time.perf_counter() - start}
