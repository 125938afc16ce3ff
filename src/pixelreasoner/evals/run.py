"""Evaluation, start to end: a model answers held-out tasks, and what it did is scored and written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from rich.console import Console

from pixelreasoner.core.config import differences
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.media_refs import recover
from pixelreasoner.core.recipe import load_recipe
from pixelreasoner.core.records import read_trajectories, write_trajectories
from pixelreasoner.core.run_folder import CONFIG_FILE, RunFolder, keep_config, open_run, starting
from pixelreasoner.core.run_status import locked, running, state_of
from pixelreasoner.core.task import Task
from pixelreasoner.core.terminal import TerminalConsole, visible
from pixelreasoner.core.waiting import clear
from pixelreasoner.env.rollout import RolloutRequest
from pixelreasoner.evals.benchmark import Benchmark, load_benchmark
from pixelreasoner.evals.config import EvalConfig
from pixelreasoner.evals.controls import Prepare, requests_of
from pixelreasoner.evals.judge import judge_score
from pixelreasoner.evals.metrics import Summary, score, unanswered_note
from pixelreasoner.evals.progress import EvalProgress
from pixelreasoner.evals.results import keep_protocol, read_without_operations, write_summary
from pixelreasoner.evals.rollouts import Evaluated, Subject, in_process, load, served
from pixelreasoner.evals.scores import Score
from pixelreasoner.evals.tables import summary_table
from pixelreasoner.rewards.scorers import ReferenceCheck, Scorer, build_scorer
from pixelreasoner.tasks.config import build_tasks
from pixelreasoner.tasks.source import TaskSource

__all__ = ["EvalConfig", "Evaluated", "run"]


def run(
    config: EvalConfig, *, resume: bool = False, load: Callable[[EvalConfig], Evaluated] = load
) -> Summary:
    """Evaluate, and write `trajectories.jsonl` and `summary.json` into the folder of `config`.

    Of `summary.json`, only what is under `host` (machine, times) differs from run to run.

    `resume` keeps the rollouts that an interrupted run has written and makes those that are missing: the same
    ones, log-probabilities included, as a run that was never interrupted (on a CPU).

    Raises:
        ConfigError: the folder holds a run and `resume` is off, or one of another recipe, or more rollouts
            than `n`; or the tasks never end and `n` is not set.
        CheckpointError: the checkpoint cannot be loaded.
        EndpointError: the server refuses requests, or some got no reply.
    """
    config, benchmark = _resolved(config)
    n = _count(config, benchmark.tasks)
    without_operations = read_without_operations(config.without_operations)
    if config.n is not None and n < config.n:
        TerminalConsole(stderr=True).print(
            f"eval: n = {config.n}, and the tasks are {n}: all of them", highlight=False
        )
    with locked(config.out):
        folder = open_run(config.out, config, resume=resume)
        with running(folder.path, "eval", n * config.samples), starting(folder):
            scores = _evaluate(config, folder, benchmark, n * config.samples, load)
            named = None if config.benchmark is None else benchmark
            summary = write_summary(config, folder, named, scores, without_operations)
    console = TerminalConsole(stderr=True)
    console.print(summary_table({config.subject: summary}))
    if (note := unanswered_note(scores)) is not None:
        console.print(f"eval: {note}", markup=False, highlight=False, style="yellow")
    return summary


def _evaluate(
    config: EvalConfig,
    folder: RunFolder,
    benchmark: Benchmark,
    n: int,
    load: Callable[[EvalConfig], Evaluated],
) -> list[Score]:
    """Make the rollouts of `n` that are missing; the scores of all."""
    write_trajectories(folder.trajectories, (), append=True)  # makes it end at the end of a line
    recover(folder.trajectories)
    scores = [score(t) for t in read_trajectories(folder.trajectories)]
    if len(scores) > n:
        raise ConfigError(
            f"{folder.path} holds {len(scores)} rollouts: n = {n // config.samples} is fewer; "
            f"choose another --out"
        )
    keep_config(folder, config)
    console = TerminalConsole(stderr=True)
    if len(scores) < n:
        subject = _subject(config, benchmark, folder, console, load)
        keep_protocol(folder, subject.protocol, console, begins=not scores)
        n_tasks = n // config.samples
        missing = subject.make(
            lambda k: reported(benchmark.tasks.take(k, n_tasks - k), benchmark.scorer, console), len(scores)
        )
        with EvalProgress(console, total=n, scores=scores) as progress:
            write_trajectories(folder.trajectories, progress.watch(missing), append=True)
    clear(folder.waiting)
    return scores


def _subject(
    config: EvalConfig,
    benchmark: Benchmark,
    folder: RunFolder,
    console: Console,
    load: Callable[[EvalConfig], Evaluated],
) -> Subject:
    """What is evaluated: a served model, or one in this process."""
    prepare = _prepare(config)
    if config.endpoint is not None:
        return served(config.endpoint, config, benchmark, prepare, folder, console)
    return in_process(config, benchmark, prepare, console, load)


def reported(tasks: Iterator[Task], scorer: Scorer, console: Console) -> Iterator[Task]:
    """The tasks; those on which no model can be right are named as they pass (`ReferenceCheck`)."""
    check = ReferenceCheck(scorer)
    for task in tasks:
        for message in check.messages([task]):
            console.print(f"eval: {visible(message)}", markup=False, highlight=False)
        yield task


def _prepare(config: EvalConfig) -> Prepare:
    """What becomes of each task: a plain rollout, or that of a control.

    Raises:
        ConfigError: there is no such control, or the evaluation it is a control of is another one.
        RecordError: that evaluation cannot be read.
    """
    if (control := config.control) is None:
        return RolloutRequest
    if state_of(control.plain) != "finished" or not (control.plain / CONFIG_FILE).is_file():
        raise ConfigError(
            f"control.plain = {control.plain} holds no finished evaluation; evaluate there first"
        )
    saved = load_recipe(EvalConfig, control.plain / CONFIG_FILE)
    same = config.model_copy(update={"control": None})
    if fixed := [str(found) for found in differences(saved, same) if not found.may_change]:
        raise ConfigError(
            f"the evaluation in {control.plain} differs from this control of it in {', '.join(fixed)}; "
            f"evaluate it again with the same recipe"
        )
    return requests_of(control)


def _resolved(config: EvalConfig) -> tuple[EvalConfig, Benchmark]:
    """The configuration with the benchmark's wording under the recipe's own; the tasks and their scores."""
    if config.benchmark is None:
        benchmark = Benchmark(config.tasks.source, build_tasks(config.tasks), build_scorer(config.scoring))
    else:
        benchmark = load_benchmark(config.benchmark, config.benchmark_options, incomplete=config.incomplete)
        wording = benchmark.wording.model_copy(update=config.interaction.wording.given)
        interaction = config.interaction.model_copy(update={"wording": wording})
        config = config.model_copy(update={"interaction": interaction})
    if config.judge is not None:
        judge = judge_score(config.judge, benchmark.scorer)
        benchmark = replace(benchmark, scores={**benchmark.scores, "judge": judge})
    return config, benchmark


def _count(config: EvalConfig, tasks: TaskSource) -> int:
    if tasks.size is None and config.n is None:
        raise ConfigError(f"the tasks of '{config.tasks.source}' never end; say how many to take: n=300")
    size = tasks.size if tasks.size is not None else config.n
    assert size is not None
    return min(size, config.n or size)
