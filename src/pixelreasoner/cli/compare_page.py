"""The page of `pixelreasoner compare`: several evaluations side by side, from what their folders hold."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.run_folder import CONFIG_FILE, SUMMARY_FILE, TRAJECTORIES_FILE

if TYPE_CHECKING:
    from pixelreasoner.viewer.comparison import EvaluatedRun

PROTOCOL_FILE, EVIDENCE_FILE, OVERLAP_FILE = "protocol.json", "evidence.json", "overlap.json"


def write_compare_page(folders: Sequence[Path], path: Path, comparison: Mapping[str, Any] | None) -> int:
    """Write the page and the folder beside it; returns how many tasks it shows.

    A folder's `evidence.json` (or that of the folder above, for its plain evaluation) and `overlap.json` are
    shown where they are.

    Args:
        folders: of finished evaluations, or their files of trajectories.
        path: the HTML file.
        comparison: what `compare` writes: its pairs, and under `runs` the summary and the protocol of each
            run over the tasks compared, which go before those of the folders.

    Raises:
        RecordError: a folder holds no finished evaluation, or two have no task in common.
        MissingExtraError: matplotlib is not installed.
    """
    from pixelreasoner.cli.show import names_of
    from pixelreasoner.core.provenance import provenance
    from pixelreasoner.viewer.comparison import write_comparison

    names = names_of(folders)
    compared = (comparison or {}).get("runs") or {}
    runs = [evaluated_run(n, folder, compared.get(n)) for n, folder in zip(names, folders, strict=True)]
    folders = [folder.parent if folder.is_file() else folder for folder in folders]
    evidence = {
        name: held for name, folder in zip(names, folders, strict=True) if (held := _evidence(folder))
    }
    overlaps = [held for folder in folders if (held := _json(folder / OVERLAP_FILE))]
    meta = {**{name: str(folder) for name, folder in zip(names, folders, strict=True)}, **provenance()}
    return write_comparison(
        path,
        runs=runs,
        comparison=comparison,
        evidence=evidence,
        overlap=overlaps[0] if overlaps else None,
        meta=meta,
    )


def evaluated_run(name: str, folder: Path, compared: Mapping[str, Any] | None = None) -> EvaluatedRun:
    """Return what the folder of an evaluation holds; its trajectories are read when they are taken.

    `folder` may be a file of trajectories; one of another name than a run's has no protocol there.

    The summary and the protocol of `compared` go before those of the folder.

    Raises:
        RecordError: it holds no finished evaluation.
    """
    from pixelreasoner.core.records import read_trajectories
    from pixelreasoner.viewer.comparison import EvaluatedRun

    compared = compared or {}
    file = folder if folder.is_file() else folder / TRAJECTORIES_FILE
    folder = file.parent
    summary = compared.get("summary") or _json(folder / SUMMARY_FILE)
    if summary is None or not file.is_file():
        raise RecordError(
            f"{folder} holds no finished evaluation; give the folder that `pixelreasoner eval` wrote to"
        )
    protocol = compared.get("protocol") or (
        _protocol(folder, summary) if file.name == TRAJECTORIES_FILE else {}
    )
    return EvaluatedRun(name, summary, read_trajectories(file, tolerate_truncation=True), protocol)


def _protocol(folder: Path, summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the figures depend on; of an evaluation of an earlier version, its recipe."""
    if (held := summary.get("protocol") or _json(folder / PROTOCOL_FILE)) is not None:
        return held
    try:
        recipe = tomllib.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in recipe.items() if key != "out"}


def _evidence(folder: Path) -> dict[str, Any] | None:
    held = _json(folder / EVIDENCE_FILE)
    if held is None and folder.resolve().name == "plain":
        held = _json(folder.resolve().parent / EVIDENCE_FILE)
    return held


def _json(path: Path) -> dict[str, Any] | None:
    """Return the object in a file; None where there is no such file.

    Raises:
        RecordError: the file holds no JSON object.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        raise RecordError(f"{path} cannot be read ({e}); make it again") from e
    if not isinstance(held, dict):
        raise RecordError(f"{path} holds no JSON object; make it again")
    return held
