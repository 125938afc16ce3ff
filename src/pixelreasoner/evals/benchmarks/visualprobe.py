"""VisualProbe: visual search in large photographs, with open answers; easy, medium, hard (arXiv 2509.07969).

Rows as those of the training set (`tasks.datasets.visualprobe`): `doc_id, problem, solution, images,
data_source`; files `val.json` with pictures beside it. 141, 268 and 106 rows.

The authors sample 32 answers to a question and have GPT-4o judge each (Avg@32). `correct` compares answers
after harmless differences are removed (`rewards.answers`), which is lower, and not comparable with theirs;
with a section [judge] the score "judge" is given beside it.

Source: the file lists and field names of `Mini-o3/VisualProbe_Easy`, `_Medium` and `_Hard`, as the evaluation
of Mini-o3 uses them. Licence: not verified.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.benchmarks.rows import Row, compat
from pixelreasoner.rewards.scorers import exact
from pixelreasoner.tasks.datasets import visualprobe as training
from pixelreasoner.tasks.datasets.reader import DatasetReader, NormalRow

EXPECTED = {"easy": 141, "medium": 268, "hard": 106}
Level = Literal["easy", "medium", "hard"]


def visualprobe(*, level: Level = "hard", path: str = "", pr_compat: bool = True) -> Benchmark:
    """The registered benchmark "visualprobe-eval".

    Args:
        level: "easy", "medium" or "hard".
        path: the data set's folder, a file of its rows, or its name on the hub; that of the level by default.
        pr_compat: whether to give that score too.

    Raises:
        RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    name = f"VisualProbe_{level.capitalize()}"
    path = path or f"Mini-o3/{name}"

    def read(row: Row) -> NormalRow:
        found = training.read(row)
        images = [_under(image, f"{name}/") for image in found.fields.get("images", ())]
        identity = row.get("doc_id")
        named = {} if identity is None else {"id": f"visualprobe-{level}-{identity}"}
        return replace(found, fields={**found.fields, **named, "images": images, "kind": level})

    reader = DatasetReader(
        name=f"visualprobe-{level}",
        splits=("test",),
        files=("val.json", "test.json", "*.json", "*.jsonl", "val*.parquet", "data/*.parquet"),
        columns=("doc_id", "problem", "solution", "images"),
        read=read,
        hub_files=("*.json", "data/**", "images/**", "**/*.jpg", "**/*.png"),
        media_folders=("data", "images", name),
    )
    return Benchmark(
        name=f"visualprobe-{level}",
        tasks=reader.open(split="test", path=path),
        scorer=exact,
        expected_rows={level: EXPECTED[level]},
        scores=compat(pr_compat),
        metric="share of equal answers (rewards.answers); not the published one, which a judge decides",
        source=path,
        licence="not verified",
    )


def _under(image: object, folder: str) -> object:
    """The name of a picture without that of the data set's own folder."""
    return image.removeprefix(folder) if isinstance(image, str) else image
