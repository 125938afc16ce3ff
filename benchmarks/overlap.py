"""How many copies of pictures the check for overlap finds, and how many others it takes for copies.

Pictures of PixelWorld are the hard case: a few photographs lie behind all of them, so that two tasks may
differ in a sign of a few pixels only.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from itertools import islice
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


def run(n: int, *, seed: int = 0) -> Iterator[Measured]:
    """Recall for each way of making a copy, false copies among different pictures, and the time at full size.

    Args:
        n: pictures.
        seed: of what is cut off.
    """
    with Catalogue() as originals:
        tasks = list(_still_tasks(n))
        originals.add_all((task, frozenset()) for task in tasks)
        rng = np.random.default_rng(seed)
        copies: dict[str, list[Task]] = {}
        for task in tasks:
            (picture,) = task.media
            assert isinstance(picture, Picture)
            for name, image in _copies(Image.fromarray(picture.pixels), rng):
                made = Task(task.id, task.question, (Picture(np.asarray(image)),), task.answers)
                copies.setdefault(name, []).append(made)
        for name, made in copies.items():
            yield _recall(originals, name, made)
        yield _false_copies(tasks)
    yield _full_size()


def _still_tasks(n: int) -> Iterator[Task]:
    """Tasks with one picture each: of a video, its middle frame."""
    for task in islice(pixelworld(split="test", seed=1).take(0, n), n):
        pictures = list(pictures_of(task.media))
        yield Task(task.id, task.question, (pictures[len(pictures) // 2],), task.answers, task.kind)


def _copies(image: Image.Image, rng: np.random.Generator) -> Iterator[tuple[str, Image.Image]]:
    width, height = image.size
    yield "JPEG, quality 75", _jpeg(image, 75)
    yield "JPEG, quality 30", _jpeg(image, 30)
    yield "half the size", image.resize((width // 2, height // 2), Image.Resampling.BICUBIC)
    quarter = image.resize((width // 4, height // 4), Image.Resampling.LANCZOS)
    yield "a quarter of the size, JPEG 60", _jpeg(quarter, 60)
    yield "1.5 times the size", image.resize((width * 3 // 2, height * 3 // 2), Image.Resampling.BILINEAR)
    for most in (0.02, 0.04, 0.06, 0.08):
        cut = _cut(image, rng.uniform(0, most, 4))
        yield f"up to {100 * most:.0f} % cut off each side, JPEG 80", _jpeg(cut, 80)
    cut = _cut(image, rng.uniform(0, 0.04, 4))
    small = cut.resize((cut.width // 2, cut.height // 2), Image.Resampling.BICUBIC)
    yield "up to 4 % cut off each side, half the size, JPEG 80", _jpeg(small, 80)


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


def _recall(originals: Catalogue, name: str, made: Sequence[Task]) -> Measured:
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
    return {
        "copy": name,
        "n": len(made),
        "found": len(hits),
        "recall": len(hits) / len(made),
        "other": others,
    }


def _false_copies(tasks: Sequence[Task]) -> Measured:
    """Different pictures of PixelWorld that are taken for copies: the first half beside the second."""
    half = len(tasks) // 2
    with Catalogue() as a, Catalogue() as b:
        a.add_all((task, frozenset()) for task in tasks[:half])
        b.add_all((task, frozenset()) for task in tasks[half:])
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
