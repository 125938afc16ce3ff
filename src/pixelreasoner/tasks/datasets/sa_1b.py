"""SA-1B: eleven million photographs with masks, without any text (Kirillov et al., ICCV 2023). Seeds only.

| file | what it holds |
|---|---|
| `sa_N.jpg` | the photograph; its shorter side is 1,500 px |
| `sa_N.json` | `image`: `{image_id, width, height, file_name}`; `annotations`: a list of masks |

Of a mask are read `bbox` [x, y, width, height] in pixels, `area`, `predicted_iou` and `stability_score`; not
`segmentation`, `crop_box` and `point_coords`. The boxes of the masks that `mask_regions` chooses are the
candidates of the seed (`Cue.boxes`). A picture of which no mask is left is a seed without candidates.

Archives are read as they are released, `sa_000000.tar` and so on, or unpacked, in one folder or many. Source:
the format as the repository of Segment Anything describes it, and the feature list of the set in TensorFlow
Datasets (11,185,362 pictures). Not verified: the shorter side. Nothing is fetched: Meta gives the set out
under the SA-1B Dataset Research License.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, cast

import numpy as np

from pixelreasoner.core.config import Count, Share
from pixelreasoner.core.errors import ConfigError, MediaError, RecordError
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.progress_line import tracked
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.tasks.datasets.data_files import check_split, dataset_folder
from pixelreasoner.tasks.datasets.mask_regions import RegionRules, regions_of
from pixelreasoner.tasks.datasets.report import LoadReport, UnusableError
from pixelreasoner.tasks.datasets.sa_shards import Shard, Table, find_shards, index_of
from pixelreasoner.tasks.datasets.seeds import SeedTasks
from pixelreasoner.tasks.source import TaskLabel

KIND = "sa-1b"
MANY = 4
"""Shards from which on there is a progress line."""
_OF_ANOTHER_FORM = (TypeError, ValueError, KeyError, AttributeError)


@dataclass(frozen=True)
class Sa1bReader:
    """What tells SA-1B from other data sets, and opens it."""

    name: str = KIND
    splits: tuple[str, ...] = ("train",)

    def fits(self, place: Path) -> bool:
        """Whether a folder holds shards of SA-1B, or a file is one."""
        if place.is_file():
            return place.suffix == ".tar"
        try:
            return next(find_shards(place), None) is not None
        except RecordError:
            return False  # a folder that cannot be looked into

    def open(self, *, split: str, path: str) -> SeedTasks:
        """As `sa_1b`."""
        return sa_1b(split=split, path=path)


READER = Sa1bReader()


def sa_1b(
    *,
    split: str,
    path: str = "",
    candidates: Count = RegionRules.most,
    least_share: Share = RegionRules.least_share,
    most_share: Share = RegionRules.most_share,
) -> SeedTasks:
    """The registered source "sa-1b"; all of one kind, "sa-1b".

    Args:
        split: "train"; there is no other.
        path: a folder with archives or pictures, however deep, or one archive.
        candidates: regions of a picture, at most.
        least_share: of the picture's area, that a region takes.
        most_share: the same, at most.

    Raises:
        ConfigError: no path is given, the shares leave nothing, or a picture is there twice.
        RecordError: there is no picture with annotations, or an archive is damaged.
    """
    check_split(split, READER.splits, READER.name)
    if least_share >= most_share:
        raise ConfigError(
            f"tasks.options: least_share is {least_share:g} and most_share {most_share:g}; "
            f"sa-1b needs the first to be less"
        )
    place = dataset_folder(path, (), READER.name)
    shards = tuple(find_shards(place))
    report = LoadReport(f"{READER.name} ({path})", noun="picture")
    starts = _look_through(shards, report)
    if not starts[-1]:
        reasons = list(report.lines()) or ["it has no sa_*.jpg, and no archive sa_*.tar with some"]
        raise RecordError("\n".join([f"{report.name} has no picture with annotations", *reasons]))
    rules = RegionRules(candidates, least_share, most_share)
    labels = repeat(TaskLabel(KIND, is_seed=True), starts[-1])
    return SeedTasks(labels, _Maker(shards, starts, split, rules), report)


def _look_through(shards: Sequence[Shard], report: LoadReport) -> array[int]:
    """The number of pictures before each shard, and in all."""
    starts = array("q", [0])
    numbers: list[Table] = []
    shown = len(shards) >= MANY and parent_process() is None
    for shard in tracked(shards, "shards", total=len(shards)) if shown else shards:
        index = index_of(shard)
        starts.append(starts[-1] + len(index.entries))
        numbers.append(index.entries[:, 0].copy())
        report.use("", len(index.entries))
        for reason, lone, suffix in (
            ("a picture without annotations", index.no_annotations, "jpg"),
            ("annotations without their picture", index.no_picture, "json"),
        ):
            for number in lone:
                report.leave_out(f"{shard.path}, sa_{number}.{suffix}", UnusableError(reason))
    if len(shards) > 1:
        _check_once(shards, numbers)
    return starts


def _check_once(shards: Sequence[Shard], numbers: Sequence[Table]) -> None:
    """Refuse a set that holds a picture twice: packed and unpacked most often."""
    every = np.sort(np.concatenate(numbers))
    twice = every[1:][every[1:] == every[:-1]]
    if len(twice):
        number = twice[0]
        places = [str(shard.path) for shard, own in zip(shards, numbers, strict=True) if number in own]
        raise ConfigError(
            f"sa-1b: sa_{number} is in {places[0]} and in {places[-1]}; keep an archive or what was "
            f"unpacked of it, or give the path of one ({len(twice)} pictures are there twice)"
        )


@dataclass(frozen=True)
class _Maker:
    """Makes the seeds at some positions. Holds no open file."""

    shards: tuple[Shard, ...]
    starts: array[int]
    split: str
    rules: RegionRules

    def __call__(self, positions: Iterable[int]) -> Iterator[Task]:
        for position in positions:
            at = bisect_right(self.starts, position) - 1
            entries = index_of(self.shards[at]).entries
            if len(entries) != self.starts[at + 1] - self.starts[at]:
                raise RecordError(f"{self.shards[at].path} was changed after it was first read; restore it")
            yield self._seed(self.shards[at], entries[position - self.starts[at]])

    def _seed(self, shard: Shard, entry: Table) -> Task:
        name = f"sa_{entry[0]}"
        try:
            picture = shard.picture(entry)
            boxes = _regions(shard.annotations(entry), picture.size, self.rules)
        except (MediaError, RecordError) as e:
            raise RecordError(f"{shard.path}, {name}: {e}") from e
        return Task(
            name, "", (picture,), (), kind=KIND, cue=Cue(boxes=boxes) if boxes else None, split=self.split
        )


def _regions(content: bytes, size: Size, rules: RegionRules) -> Any:
    try:
        data = cast(Mapping[str, Any], json.loads(content))
        about = data["image"]
        stated = Size(int(about["width"]), int(about["height"]))
        boxes = regions_of(data["annotations"], stated, rules)
    except _OF_ANOTHER_FORM as e:
        raise RecordError(
            f"the annotations have another form than SA-1B's ({type(e).__name__}: {e}); fetch the file again"
        ) from e
    if stated != size:
        raise RecordError(
            f"the annotations are of a picture of {stated.width}x{stated.height}, and it has "
            f"{size.width}x{size.height}; the two files do not belong together"
        )
    return boxes
