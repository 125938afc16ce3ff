"""A benchmark of your own. A recipe names it: `benchmark = "examples.benchmark:pictures"`."""

from pathlib import Path

from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.rewards.scorers import ScoringConfig, build_scorer
from pixelreasoner.tasks.files import open_task_file

TASKS = Path(__file__).with_name("tasks.jsonl")
ROWS = {"relation": 1, "count": 1, "attribute": 1, "page": 2, "clip": 1}


def pictures(path: str = str(TASKS)) -> Benchmark:
    """The tasks of a file; `benchmark_options = { path = ... }` in the recipe names another one."""
    return Benchmark(
        name="pictures",
        tasks=open_task_file(path, split="test"),
        # Of the tasks that name no scorer themselves.
        scorer=build_scorer(ScoringConfig(default="examples.scorer:words")),
        expected_rows=ROWS,
    )
