"""What two sets of tasks share: names, pictures, copies of pictures, questions (docs/overlap.md).

Each picture is one of the second set that also is in the first: `exact` where the pixels are the same, `near`
where it is a copy (scaled, compressed again, its sides cut off). A question that is asked in both sets is
counted, and by itself is no overlap: templates ask the same about different pictures.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from pixelreasoner.core.near_hashes import near_pairs
from pixelreasoner.core.perceptual_hash import RADIUS, REGIONS, Hashes, distances
from pixelreasoner.core.picture_copies import DIFFERENT, largest_difference
from pixelreasoner.evals.catalogue import Catalogue

MOST = 5
"""Copies of a picture that are looked for, at most."""
SHOWN_IDS = 5
SHOWN_QUESTIONS = 20
EXACT, NEAR, NAME, QUESTION = "exact", "near", "name", "question"


@dataclass(frozen=True)
class PictureMatch:
    """A picture of the second set, and one of the first that it is a copy of; places in the catalogues."""

    a: int
    b: int
    bits: int = 0
    """In which the hashes differ."""
    difference: float = 0.0
    """The largest of a cell, of 255."""
    exact: bool = False


@dataclass
class Overlap:
    """What was found."""

    pictures: list[PictureMatch] = field(default_factory=list[PictureMatch])
    """Exact ones first, then by difference."""
    names: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Name -> the first task of each set that has it, by position."""
    tasks: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    """exact, near, name, question -> tasks of the second set, by position."""

    @property
    def any(self) -> set[int]:
        """Tasks of the second set that overlap: by a picture or a name."""
        return self.tasks[EXACT] | self.tasks[NEAR] | self.tasks[NAME]


def find_overlap(a: Catalogue, b: Catalogue, *, watch: Callable[[int, int], None]) -> Overlap:
    """Compare two catalogues.

    Args:
        a: of the training tasks, say.
        b: of the benchmark.
        watch: is told how many candidates for copies have been looked at, and of how many.
    """
    found = Overlap(tasks={EXACT: set(), NEAR: set(), NAME: set(), QUESTION: set()})
    for name in a.names.keys() & b.names.keys():
        found.names[name] = a.names[name][0], b.names[name][0]
        found.tasks[NAME].update(b.names[name])
    asked = set(a.questions) - {""}
    found.tasks[QUESTION].update(at for at, text in enumerate(b.questions) if text in asked)
    for digest, place in b.places.items():
        if digest in a.places:
            found.pictures.append(PictureMatch(a.places[digest], place, exact=True))
            found.tasks[EXACT].update(b.owners[place])
    known = {(match.a, match.b) for match in found.pictures}
    for match in sorted(_copies(a, b, known, watch), key=lambda match: match.difference):
        found.pictures.append(match)
        found.tasks[NEAR].update(b.owners[match.b])
    return found


def _copies(
    a: Catalogue, b: Catalogue, known: set[tuple[int, int]], watch: Callable[[int, int], None]
) -> Iterator[PictureMatch]:
    """Yield copies that are not the same pixel for pixel, `MOST` for each picture of `b`."""
    hashes_a, of_a = a.hashes()
    hashes_b, of_b = b.hashes()
    pairs = _candidates(hashes_a, hashes_b)
    for row_b, group in groupby(enumerate(pairs), key=lambda item: item[1][1]):
        n = 0
        for done, (row_a, _) in group:
            place = of_a[row_a], of_b[row_b]
            if n < MOST and place not in known:
                match = compared(a, b, place, hashes_a[row_a], hashes_b[row_b])
                if match.difference < DIFFERENT:
                    n += 1
                    yield match
            watch(done + 1, len(pairs))


def _candidates(hashes_a: Hashes, hashes_b: Hashes) -> list[tuple[int, int]]:
    """Pairs of rows where the whole of one is near to a region of the other; by the second, then distance."""
    n = len(REGIONS)
    i, j, bits = near_pairs(hashes_a[:, 0].copy(), hashes_b.reshape(-1), RADIUS)
    k, m, others = near_pairs(hashes_a.reshape(-1), hashes_b[:, 0].copy(), RADIUS)
    rows = np.concatenate([np.stack([i, j // n, bits]), np.stack([k // n, m, others])], axis=1)
    rows = rows[:, np.lexsort((rows[0], rows[2], rows[1]))]
    return list(dict.fromkeys(zip(rows[0].tolist(), rows[1].tolist(), strict=True)))


def compared(
    a: Catalogue, b: Catalogue, place: tuple[int, int], hashes_a: Hashes, hashes_b: Hashes
) -> PictureMatch:
    """Two candidates laid on each other: the whole of one on the region of the other it is nearest to."""
    parts_of_a, parts_of_b = distances(hashes_a, hashes_b[:1]), distances(hashes_b, hashes_a[:1])
    thumb_a, thumb_b = a.thumb(place[0]), b.thumb(place[1])
    if parts_of_a.min() <= parts_of_b.min():
        difference = largest_difference(thumb_a, thumb_b, REGIONS[int(parts_of_a.argmin())])
        return PictureMatch(*place, int(parts_of_a.min()), difference)
    difference = largest_difference(thumb_b, thumb_a, REGIONS[int(parts_of_b.argmin())])
    return PictureMatch(*place, int(parts_of_b.min()), difference)


def overlap_json(a: Catalogue, b: Catalogue, found: Overlap, names: tuple[str, str]) -> dict[str, Any]:
    """What was found, ready for JSON::

    {"a", "b": {"name", "tasks", "pictures", "flat"},
     "limits": {"bits", "difference"},
     "found": {"exact", "near", "name", "question", "any"},    tasks of b
     "by_kind": {KIND: {"tasks", "any"}},                      of b
     "pictures": [{"match": "exact" or "near", "bits", "difference",
                   "a", "b": [ids], "a_tasks", "b_tasks": counts}],
     "names": [{"name", "a", "b": ids}],
     "questions": [{"question", "a", "b": counts}]}            the most frequent ones
    """
    in_a, in_b = Counter(a.questions), Counter(b.questions)
    shared = sorted((text for text in in_b if text and text in in_a), key=lambda t: (-in_b[t], t))
    kinds = Counter(b.kinds)
    touched = Counter(b.kinds[at] for at in found.any)
    return {
        "a": _side(a, names[0]),
        "b": _side(b, names[1]),
        "limits": {"bits": RADIUS, "difference": DIFFERENT},
        "found": {**{key: len(tasks) for key, tasks in found.tasks.items()}, "any": len(found.any)},
        "by_kind": {kind: {"tasks": n, "any": touched[kind]} for kind, n in sorted(kinds.items())},
        "pictures": [
            {
                "match": EXACT if match.exact else NEAR,
                "bits": match.bits,
                "difference": round(match.difference, 1),
                "a": _ids(a, a.owners[match.a]),
                "b": _ids(b, b.owners[match.b]),
                "a_tasks": len(a.owners[match.a]),
                "b_tasks": len(b.owners[match.b]),
            }
            for match in found.pictures
        ],
        "names": [
            {"name": name, "a": a.ids[at], "b": b.ids[there]}
            for name, (at, there) in sorted(found.names.items())
        ],
        "questions": [{"question": t, "a": in_a[t], "b": in_b[t]} for t in shared[:SHOWN_QUESTIONS]],
    }


def _side(side: Catalogue, name: str) -> dict[str, Any]:
    return {"name": name, "tasks": len(side.ids), "pictures": len(side.owners), "flat": side.flat}


def _ids(side: Catalogue, owners: array[int] | Sequence[int]) -> list[str]:
    return [side.ids[at] for at in owners[:SHOWN_IDS]]
