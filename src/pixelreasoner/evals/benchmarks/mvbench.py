"""MVBench: 20 kinds of question about short videos, 200 each (K. Li et al., CVPR 2024).

One JSON per task (`json/action_sequence.json`), rows of `video, question, candidates, answer`, and `start,
end` in seconds where the video is to be cut ("bounded"). Videos lie in folders of their own sources; the
frames of `episodic_reasoning` lie in folders, three per second. Three to five options, in the order of the
data.

16 frames are taken as in the authors' notebook: the centres of equal segments, counted in frames
(`core.frame_sampling.segment_centres`). Published is the mean over all questions. The videos of
`fine_grained_pose` (NTU RGB+D) are not on the hub any more: without them, evaluate 19 tasks with
`incomplete=true`, and the summary says which are missing.

An empty answer is wrong here. In the notebook, `check_ans("")` is right; in lmms-eval it is not counted.

Source: `OpenGVLab/MVBench` and its notebook, the task "mvbench" of lmms-eval. Licence: MIT on the card (not
verified); videos have the licences of their eleven sources.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pixelreasoner.core.media_io import N_FRAMES
from pixelreasoner.evals.aggregates import micro_and_kinds
from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.benchmarks.rows import Row, choice_row, compat
from pixelreasoner.rewards.choices import LETTERS
from pixelreasoner.rewards.scorers import choice
from pixelreasoner.tasks.datasets.data_files import FILE_COLUMN
from pixelreasoner.tasks.datasets.reader import DatasetReader, NormalRow
from pixelreasoner.tasks.datasets.report import UnusableError

HUB_ID = "OpenGVLab/MVBench"
ROWS_OF_A_TASK = 200
FRAMES_PER_S = 3.0
"""Of the folders of frames."""


class Videos(NamedTuple):
    """Where the videos of a task are."""

    folder: str
    bounded: bool = False
    """Whether a row names the seconds to look at."""
    cut: str = ""
    """The folder of lmms-eval's copy, where bounded videos are cut already."""


TASKS = {
    "action_sequence": Videos("star/Charades_v1_480", True, "star/Charades_segment"),
    "action_prediction": Videos("star/Charades_v1_480", True, "star/Charades_segment"),
    "action_antonym": Videos("ssv2_video", cut="ssv2_video_mp4"),
    "fine_grained_action": Videos("Moments_in_Time_Raw/videos"),
    "unexpected_action": Videos("FunQA_test/test"),
    "object_existence": Videos("clevrer/video_validation"),
    "object_interaction": Videos("star/Charades_v1_480", True, "star/Charades_segment"),
    "object_shuffle": Videos("perception/videos"),
    "moving_direction": Videos("clevrer/video_validation"),
    "action_localization": Videos("sta/sta_video", True, "sta/sta_video_segment"),
    "scene_transition": Videos("scene_qa/video"),
    "action_count": Videos("perception/videos"),
    "moving_count": Videos("clevrer/video_validation"),
    "moving_attribute": Videos("clevrer/video_validation"),
    "state_change": Videos("perception/videos"),
    "fine_grained_pose": Videos("nturgbd", cut="nturgbd_convert"),
    "character_order": Videos("perception/videos"),
    "egocentric_navigation": Videos("vlnqa"),
    "episodic_reasoning": Videos("tvqa/frames_fps3_hq", True, "tvqa/video_fps3_hq_segment"),
    "counterfactual_inference": Videos("clevrer/video_validation"),
}


def read(row: Row, *, cut: bool) -> NormalRow:
    """What a row means; its file's name is its task's."""
    task = str(row.get("task_type") or Path(row[FILE_COLUMN]).stem).lower().replace(" ", "_")
    if task not in TASKS:
        raise UnusableError("a task that MVBench does not have", task)
    candidates = [str(c) for c in row.get("candidates") or ()]
    if (answer := str(row.get("answer"))) not in candidates:
        raise UnusableError("the answer is none of the options", answer[:60])
    return choice_row(
        row.get("question"),
        candidates,
        # Its place, since two options may read the same.
        LETTERS[candidates.index(answer)],
        kind=task,
        video=_video(row, TASKS[task], cut=cut),
    )


def _video(row: Row, videos: Videos, *, cut: bool) -> dict[str, Any]:
    """The part of a video that a row is about."""
    name = row.get("video")
    if not isinstance(name, str) or not name:
        raise UnusableError("no video")
    if cut and videos.cut:
        return {"path": f"{videos.cut}/{name}"}
    part: dict[str, Any] = {"path": f"{videos.folder}/{name}"}
    if videos.bounded:
        part |= {"start_s": row.get("start"), "end_s": row.get("end")}
    if "frames" in videos.folder:
        part["fps"] = FRAMES_PER_S
    return {key: value for key, value in part.items() if value is not None}


def mvbench(
    *, path: str = HUB_ID, n_frames: int = N_FRAMES, cut: bool = False, pr_compat: bool = True
) -> Benchmark:
    """The registered benchmark "mvbench"; its kinds are its twenty tasks.

    Args:
        path: the data set's folder, with its videos unpacked, or its name on the hub.
        n_frames: of each video; the paper has 16.
        cut: whether the videos are those of lmms-eval's copy, where bounded ones are cut already.
        pr_compat: whether to give that score too.

    Raises:
        RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    reader = DatasetReader(
        name="mvbench",
        splits=("test",),
        files=("json/*.json", "*.json", "mvbench.jsonl"),
        columns=("video", "question", "candidates", "answer", "start", "end", FILE_COLUMN),
        read=partial(read, cut=cut),
        hub_files=("json/*.json", "video/**"),
        media_folders=("video", "data0613", "video/data0613"),
    )
    return Benchmark(
        name="mvbench",
        tasks=reader.open(split="test", path=path, n_frames=n_frames),
        scorer=choice,
        expected_rows=dict.fromkeys(TASKS, ROWS_OF_A_TASK),
        scores=compat(pr_compat),
        aggregate=micro_and_kinds,
        metric=f"share of right letters over all questions, {n_frames} frames",
        source=path,
        licence="MIT (rows; not verified); videos: of their sources",
    )
