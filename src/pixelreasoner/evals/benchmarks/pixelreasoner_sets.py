"""The four evaluation sets of PixelReasoner's authors (arXiv 2505.15966), for comparison with the paper.

One Parquet and `images.zip` each, on the hub under JasperHaozhe: columns `qid, question, image, answer,
is_video` as those of the RL data (`tasks.datasets.pixelreasoner_rl`). V*: 191 questions. TallyQA: 3,200
complex ones, by a rule that is not published. InfographicVQA: a set with answers, so not the official test
split; its size is not published, and none is asserted. MVBench: 4,000, as 16 frames each.

Which score to compare: the paper says ANLS for InfographicVQA and accuracy elsewhere; the released code
scores all four by `pr_compat`. Both are given. The pixel budgets are those of the released evaluation:
pictures of 256 to 8,000 tokens of 28 x 28 pixels, crops to 5,120, frames to 512. Its decoding is greedy, with
three operations at most: `interaction.limits.max_turns=4`. A list within a box is expanded into alternatives
here, which the released code cannot answer.

Source: `prepare.sh`, the evaluation scripts and the collection of the authors. Not verified: the files
themselves. Licence: not verified.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pixelreasoner.chat.chat_format import PixelBudget, Wording
from pixelreasoner.core.media_io import N_FRAMES
from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.benchmarks.rows import Row, compat
from pixelreasoner.rewards.anls import anls
from pixelreasoner.rewards.scorers import Scorer, choice, integer
from pixelreasoner.tasks.datasets import pixelreasoner_rl
from pixelreasoner.tasks.datasets.reader import DatasetReader, NormalRow

Set = Literal["vstar", "tallyqa", "infovqa", "mvbench"]
_TOKEN = 28 * 28
WORDING = Wording(
    image=PixelBudget(min_pixels=256 * _TOKEN, max_pixels=8000 * _TOKEN),
    crop=PixelBudget(min_pixels=256 * _TOKEN, max_pixels=5120 * _TOKEN),
    video_frame=PixelBudget(min_pixels=4 * _TOKEN, max_pixels=512 * _TOKEN),
)
HUB_IDS = {
    "vstar": "JasperHaozhe/VStar-EvalData-PixelReasoner",
    "tallyqa": "JasperHaozhe/TallyQA-EvalData-PixelReasoner",
    "infovqa": "JasperHaozhe/InfoVQA-EvalData-PixelReasoner",
    "mvbench": "JasperHaozhe/MVBench-EvalData-PixelReasoner",
}
EXPECTED = {"vstar": {"*": 191}, "tallyqa": {"*": 3_200}, "infovqa": {}, "mvbench": {"*": 4_000}}
SCORERS: dict[str, tuple[str, Scorer, str]] = {
    "vstar": ("choice", choice, "share of right letters"),
    "tallyqa": ("integer", integer, "share of right counts"),
    "infovqa": ("anls", anls, "ANLS, threshold 0.5"),
    "mvbench": ("choice", choice, "share of right letters, 16 frames"),
}


def pixelreasoner_sets(
    *, name: Set = "vstar", path: str = "", n_frames: int = N_FRAMES, pr_compat: bool = True
) -> Benchmark:
    """The registered benchmark "pixelreasoner-eval".

    Args:
        name: which of the four: "vstar", "tallyqa", "infovqa" or "mvbench".
        path: the data set's folder, a file of its rows, or its name on the hub; that of the set by default.
        n_frames: of a video that is one file; the data set's own videos are lists of frames.
        pr_compat: whether to give that score too.

    Raises:
        RecordError, MissingExtraError: as `DatasetReader.open`.
    """
    path = path or HUB_IDS[name]
    scorer_name, scorer, metric = SCORERS[name]

    def read(row: Row) -> NormalRow:
        found = pixelreasoner_rl.read(row)
        # The question stays as the authors have it, options included.
        return replace(found, fields={**found.fields, "kind": name, "scorer": scorer_name})

    reader = DatasetReader(
        name=f"pixelreasoner-{name}",
        splits=("test",),
        files=("*.parquet", "*.jsonl", "*.json"),
        columns=("qid", "question", "is_video", "image", "answer"),
        read=read,
    )
    return Benchmark(
        name=f"pixelreasoner-{name}",
        tasks=reader.open(split="test", path=path, n_frames=n_frames),
        scorer=scorer,
        expected_rows=EXPECTED[name],
        wording=WORDING,
        scores=compat(pr_compat),
        metric=metric,
        source=path,
        licence="not verified",
    )
