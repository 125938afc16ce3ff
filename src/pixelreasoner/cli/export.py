"""`pixelreasoner export`: an evaluation in the format of another harness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from pixelreasoner.cli.options import option


def export(
    folder: Annotated[tyro.conf.Positional[Path], option("RUN")],
    *,
    format: Annotated[Literal["lmms-eval", "vlmevalkit"], option()],
    out: Annotated[Path, option("DIR")],
    task: Annotated[str | None, option("NAME")] = None,
    model: Annotated[str | None, option("NAME")] = None,
) -> None:
    """Write an evaluation as lmms-eval or VLMEvalKit writes its results.

    Scores are those of the evaluation: nothing is judged anew. lmms-eval gets its results file and its
    samples, VLMEvalKit its table of predictions (TSV) and its table of accuracies.

    Args:
        folder: Of an evaluation.
        format: Which harness.
        out: Where the files go.
        task: What the tasks are called there; the recipe's benchmark or source when left out.
        model: What the model is called there; the recipe's name of it when left out.
    """
    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.core.errors import RecordError
    from pixelreasoner.core.recipe import load_recipe
    from pixelreasoner.core.run_folder import CONFIG_FILE, SUMMARY_FILE, TRAJECTORIES_FILE
    from pixelreasoner.evals.exports import export as write
    from pixelreasoner.evals.run import EvalConfig

    path = folder / TRAJECTORIES_FILE
    if not path.is_file() or not (folder / SUMMARY_FILE).is_file():
        raise RecordError(
            f"{folder} holds no finished evaluation ({TRAJECTORIES_FILE} and {SUMMARY_FILE}); "
            f"go on with `pixelreasoner eval {folder} --resume`, or name another folder"
        )
    if task is None or model is None:
        config = load_recipe(EvalConfig, folder / CONFIG_FILE)
        task = task or config.benchmark or config.tasks.source
        model = model or config.subject
    written = write(path, out, form=format, task=task, model=model)
    say_done({"Results" if i == 0 else "Beside it": file for i, file in enumerate(written)})
