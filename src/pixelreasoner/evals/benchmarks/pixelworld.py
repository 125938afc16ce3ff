"""The kinds of PixelWorld: made pictures and videos with a known cue, half of them beyond the full view.

Nothing is fetched: the test split of `tasks.pixelworld`, whose seeds no training uses. Licence: that of this
package; the photographs among the backgrounds are CC0.
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
    photos: bool | None = None,
    pr_compat: bool = False,
) -> Benchmark:
    """The registered benchmark "pixelworld-test".

    Args:
        n: how many tasks; the kinds take turns.
        seed: of the world.
        photos: whether photographs are among the backgrounds; None as the world decides.
        pr_compat: whether to give that score too.

    Raises:
        ConfigError: as the source "pixelworld".
    """
    options = {} if photos is None else {"photos": photos}
    return Benchmark(
        name="pixelworld-test",
        tasks=FirstTasks(world(split="test", seed=seed, **options), n),
        scorer=exact,
        scores=compat(pr_compat),
        aggregate=micro_and_kinds,
        metric="share of equal answers (rewards.answers)",
        source=f"made here, seed {seed}",
        licence="Apache-2.0; photographs: CC0",
    )
