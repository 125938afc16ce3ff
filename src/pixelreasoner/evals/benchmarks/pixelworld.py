"""The kinds of PixelWorld: made pictures and videos with a known cue, which the full view may not show.

Nothing is fetched: the test split of `tasks.pixelworld`, whose tasks no training sees. Licence: that of this
package.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pixelreasoner.evals.aggregates import micro_and_kinds
from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.benchmarks.rows import compat
from pixelreasoner.rewards.scorers import exact
from pixelreasoner.tasks.pixelworld.source import pixelworld as world
from pixelreasoner.tasks.source import FirstTasks


def pixelworld(
    *,
    n: Annotated[int, Field(ge=1)] = 300,
    seed: int = 0,
    photos: str = "",
    pr_compat: bool = False,
) -> Benchmark:
    """The registered benchmark "pixelworld-test".

    Args:
        n: how many tasks; the kinds take turns.
        seed: of the world.
        photos: a folder of photographs for backgrounds, in place of those of the package.
        pr_compat: whether to give that score too.

    Raises:
        ConfigError: as the source "pixelworld".
    """
    options = {"photos": photos} if photos else {}
    return Benchmark(
        name="pixelworld-test",
        tasks=FirstTasks(world(split="test", seed=seed, **options), n),
        scorer=exact,
        scores=compat(pr_compat),
        aggregate=micro_and_kinds,
        metric="share of equal answers (rewards.answers)",
        source=f"made here, seed {seed}",
        licence="Apache-2.0",
    )
