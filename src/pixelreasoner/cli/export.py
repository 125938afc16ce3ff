"""`pixelreasoner export`: an evaluation in the format of another harness, a synthesis as a data set."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pixelreasoner.cli.options import option

Format = Literal["lmms-eval", "vlmevalkit", "parquet", "pixelreasoner-sft", "sharegpt"]
OF_KIND = {"eval": ("lmms-eval", "vlmevalkit"), "synth": ("parquet", "pixelreasoner-sft", "sharegpt")}
"""The formats that a kind of run has."""


def export(
    folder: Annotated[tyro.conf.Positional[Path], option("RUN")],
    *,
    format: Annotated[Format, option()],
    out: Annotated[Path, option("DIR")],
    task: Annotated[str | None, option("NAME")] = None,
    model: Annotated[str | None, option("NAME")] = None,
    shard_mb: Annotated[int | None, option("N")] = None,
) -> None:
    """Write an evaluation or a synthesis in the format of other tools.

    Of an evaluation, scores are kept: nothing is judged anew. lmms-eval gets its results file and its
    samples, VLMEvalKit its table of predictions (TSV) and its table of accuracies. Of a synthesis, every
    format comes with its pictures and a data set card (README.md), in a folder that is there when it is
    whole: parquet for the library datasets, with everything; pixelreasoner-sft as TIGER-Lab's data set and
    trainer have it; sharegpt for LLaMA-Factory.

    Args:
        folder: Of an evaluation or a synthesis.
        format: lmms-eval or vlmevalkit of an evaluation; parquet, pixelreasoner-sft or sharegpt of a
            synthesis.
        out: Where the files go; of a synthesis, a new folder.
        task: What the tasks of an evaluation are called there; the recipe's benchmark or source when left
            out.
        model: What the evaluated model is called there; the recipe's name of it when left out.
        shard_mb: Megabytes of a Parquet shard, at most; 500 when left out.
    """
    from pixelreasoner.core.errors import ConfigError

    _check_kind(folder, format)
    if format in OF_KIND["eval"]:
        if shard_mb is not None:
            raise ConfigError(f"--shard-mb is for --format parquet; leave it out with {format}")
        _export_evaluation(folder, format, out, task, model)
        return
    if task is not None or model is not None:
        raise ConfigError(f"--task and --model are for evaluations; leave them out with {format}")
    _export_synthesis(folder, format, out, shard_mb)


def _check_kind(folder: Path, format: str) -> None:
    """See that the format is one of the run's kind.

    Raises:
        ConfigError: it is not.
    """
    from pixelreasoner.core.errors import ConfigError
    from pixelreasoner.core.run_status import read_status

    status = read_status(folder)
    if status is None or format in OF_KIND.get(status.kind, ()):
        return
    if status.kind not in OF_KIND:
        raise ConfigError(f"{folder} is a run of {status.kind}; export takes those of eval and synth")
    choices = " or ".join(OF_KIND[status.kind])
    raise ConfigError(
        f"{folder} is a run of {status.kind}, which has no form {format}; give --format {choices}"
    )


def _export_synthesis(folder: Path, format: str, out: Path, shard_mb: int | None) -> None:
    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.core.errors import ConfigError
    from pixelreasoner.synth.exports.export import CARD_FILE, export
    from pixelreasoner.synth.exports.parquet import SHARD_BYTES

    if shard_mb is not None and (shard_mb < 1 or format != "parquet"):
        raise ConfigError(f"--shard-mb {shard_mb}: give at least 1, with --format parquet")
    export(folder, out, form=format, shard_bytes=SHARD_BYTES if shard_mb is None else shard_mb * 10**6)
    say_done(
        {"Data set": out, "Card": out / CARD_FILE}, {"Look": shlex.join(["show", str(folder), "--table"])}
    )


def _export_evaluation(folder: Path, format: str, out: Path, task: str | None, model: str | None) -> None:
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
