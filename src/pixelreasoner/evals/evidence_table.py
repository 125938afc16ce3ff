"""Several `evidence.json` in one table: a row per figure, a column per model.

::

    for m in warm_start rl_no_curiosity rl_curiosity; do
        pixelreasoner evidence nano/eval model.checkpoint=runs/demo/$m/model --base nano --out
    runs/evidence/$m done
    python -m pixelreasoner.evals.evidence_table runs/evidence/*/evidence.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelreasoner.core.errors import RecordError
from pixelreasoner.evals.evidence import Evidence

EVIDENCE_FILE = "evidence.json"
DASH = "–"
ROWS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("accuracy", ("all", "accuracy", "plain")),
    ("… without operations", ("all", "accuracy", "no_operations")),
    ("… shown grey pictures", ("all", "accuracy", "blank")),
    ("… shown random regions", ("all", "accuracy", "random_crop")),
    ("… shown another question's crop", ("all", "accuracy", "swap")),
    ("accuracy where needed", ("needs_operation", "accuracy", "plain")),
    ("… where needed, without operations", ("needs_operation", "accuracy", "no_operations")),
    ("no answer, without operations", ("all", "unanswered", "no_operations")),
    ("no answer, shown grey pictures", ("all", "unanswered", "blank")),
    ("called an operation", ("all", "called")),
    ("answer changes to a grey picture", ("all", "answers", "blank", "changed")),
    ("answer follows a swapped crop", ("all", "swapped", "follows")),
    ("… where needed", ("needs_operation", "swapped", "follows")),
    ("… to a grey picture, by chance", ("all", "swapped", "chance")),
    ("answer stays at a swapped crop", ("all", "swapped", "keeps")),
    ("tool's share of the gain over the base", ("over_base", "tool_share")),
    ("pixels' share of the gain over the base", ("over_base", "pixel_share")),
    ("operations on the cue", ("localisation", "cue_coverage")),
    ("IoU with the cue", ("localisation", "cue_iou")),
    ("crops of the whole image", ("localisation", "whole_image_crops")),
)
"""What a row is called and where its figure lies."""
COUNTS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("call: right only with / only without", ("all", "call")),
    ("schema alone: right only with / only without", ("all", "schema")),
    ("pixels: right only with the result / only with grey", ("all", "pixels", "blank")),
)
"""The same of paired counts."""


def read_evidence(paths: Sequence[Path]) -> dict[str, Evidence]:
    """The evidence in some files, each by the name of its folder.

    Raises:
        RecordError: a file holds none, or two folders have one name.
    """
    out: dict[str, Evidence] = {}
    for path in paths:
        file = path / EVIDENCE_FILE if path.is_dir() else path
        name = file.resolve().parent.name
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            _ = found["all"]["accuracy"]["plain"]
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise RecordError(f"{file} holds no evidence ({e}); `pixelreasoner evidence` writes it") from e
        if name in out:
            raise RecordError(f"two folders are called {name}; give them different names")
        out[name] = found
    return out


def evidence_rows(found: Mapping[str, Evidence]) -> list[tuple[str, list[str]]]:
    """The name of each figure and its text per model, in percent; rows without any are left out."""
    rows = [(name, [_figure(_at(one, place)) for one in found.values()]) for name, place in ROWS]
    kinds = {kind for one in found.values() for kind in _at(one, ("all", "swapped", "by_kind")) or ()}
    rows += [
        (
            f"follows a swapped crop: {kind}",
            [_figure(_at(one, ("all", "swapped", "by_kind", kind))) for one in found.values()],
        )
        for kind in sorted(kinds)
    ]
    rows += [(name, [_counts(_at(one, place)) for one in found.values()]) for name, place in COUNTS]
    return [(name, cells) for name, cells in rows if set(cells) != {DASH}]


def evidence_table(found: Mapping[str, Evidence]) -> str:
    """Markdown: a row per figure, a column per model."""
    n = ", ".join(sorted({str(one["n"]) for one in found.values()}))
    lines = [_line([f"% (n = {n})", *found]), _line(["---"] * (1 + len(found)))]
    return "\n".join([*lines, *(_line([name, *cells]) for name, cells in evidence_rows(found))])


def _at(found: Any, place: Sequence[str]) -> Any:
    for key in place:
        found = None if found is None else found.get(key)
    return found


def _figure(figure: Any) -> str:
    if figure is None:
        return DASH
    low, high = figure["interval95"]
    return f"{100 * figure['mean']:.1f} ({100 * low:.0f} to {100 * high:.0f})"


def _counts(counts: Any) -> str:
    return DASH if counts is None else f"{counts['gain']} / {counts['harm']} of {counts['n']}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    try:
        print(evidence_table(read_evidence([Path(arg) for arg in sys.argv[1:]])))  # noqa: T201
    except (RecordError, ValueError) as e:
        sys.exit(f"{e}" if sys.argv[1:] else "name the evidence.json of each model")
