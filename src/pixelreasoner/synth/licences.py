"""What is known of the licences of the seed sets; the licence itself is what holds."""

from __future__ import annotations

from collections.abc import Mapping

LICENCES: Mapping[str, str] = {
    "sa-1b": (
        "the SA-1B Dataset Research License of Meta: research only. Read it before you pass pictures on"
    ),
    "fineweb-visa": (
        "screenshots of web pages, whose owners keep their rights; FineWeb itself is under ODC-By 1.0. "
        "See the card of MrLight/fineweb-visa-multi-na for the terms of the screenshots"
    ),
    "star": (
        "the videos are those of Charades, which has a licence of its own for non-commercial use; "
        "see the STAR page for its annotations"
    ),
    "pixelworld": (
        "drawn by pixelreasoner (Apache-2.0); with the option photos also photographs of scikit-image (CC0), "
        "and handwritten digits of the UCI repository (CC BY 4.0)"
    ),
}
"""By the name of a task source."""


def licence_of(source: str) -> str:
    """What is known about a task source, in words; of your own data nothing is."""
    return LICENCES.get(source, "not known here; those of the data you gave")
