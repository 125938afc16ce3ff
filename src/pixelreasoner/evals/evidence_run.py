"""Evidence, start to end: a checkpoint answers the same tasks plainly and under every control.

One usual evaluation folder for each, beneath the folder of the evidence::

    DIR/plain, no_operations, blank, random_crop, swap
    DIR/base/plain, no_operations          of the base, where one is named; blank where it calls
    DIR/evidence.json                      `evals.evidence`, with its sentences

Each folder goes on where it stopped, so the whole does (SIGKILL at any moment, then the same command).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from pixelreasoner.core.config import differences
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.files import left_name, write_text
from pixelreasoner.core.media_refs import MEDIA_FOLDER, pictures_in
from pixelreasoner.core.recipe import load_recipe
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.run_folder import CONFIG_FILE, TRAJECTORIES_FILE
from pixelreasoner.core.terminal import TerminalConsole
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.evals.benchmark import load_benchmark
from pixelreasoner.evals.config import EvalConfig
from pixelreasoner.evals.controls import ControlConfig
from pixelreasoner.evals.evidence import REPLACED, SWAP, Evidence, Runs, evidence, same_answer
from pixelreasoner.evals.evidence_table import EVIDENCE_FILE
from pixelreasoner.evals.evidence_words import sentences, verdict
from pixelreasoner.evals.gain_shares import BLANK, PLAIN, WITHOUT
from pixelreasoner.evals.outcomes import Outcome, outcome
from pixelreasoner.evals.rollouts import Evaluated, load
from pixelreasoner.evals.run import run as evaluate
from pixelreasoner.evals.swaps import answer_of_donor
from pixelreasoner.rewards.scorers import Scorer, build_scorer

BASE = "base"
N_EXAMPLES = 2
"""Of each kind on the page."""
RUNS = (PLAIN, WITHOUT, *REPLACED)
"""The names of the folders, in the order in which they are made."""


def run(
    config: EvalConfig, *, base: str | None = None, load: Callable[[EvalConfig], Evaluated] = load
) -> Evidence:
    """Evaluate plainly and under every control, and write `evidence.json`; what is there already stays.

    Args:
        config: the recipe of the plain evaluation; its `out` is the folder of the evidence.
        base: the checkpoint before training, for the shares of the gain; or the folder of its own evidence of
            the same tasks, which is then read.
        load: what is evaluated; called once per checkpoint.

    Raises:
        ConfigError: the recipe offers no operations, is a control itself, or makes several rollouts per task;
            its folder holds a run of another recipe; or `base` is a checkpoint and the recipe evaluates none.
        CheckpointError: a checkpoint cannot be loaded.
    """
    _check(config)
    console = TerminalConsole(stderr=True)
    once = _Loaded(load)
    shared = config.out / PLAIN
    made_before = base is not None and (Path(base) / PLAIN / CONFIG_FILE).is_file()
    if base is not None and made_before:
        _check_base(config, Path(base))
    elif base is not None and config.subject != config.model.checkpoint:
        raise ConfigError(
            f"--base {base} names a checkpoint, and the recipe evaluates '{config.subject}', which is "
            f"none; make the base's evidence with a recipe of its own, and name its folder with --base"
        )
    for name, one in evaluations(config):
        _evaluate(name, one, once, console, shared=shared)
    if base is not None and not made_before:
        _evaluate_base(config, base, once, console)
    bases = Path(base) if base is not None and made_before else None
    found = evidence_of(config.out, base=bases)
    write_text(config.out / EVIDENCE_FILE, json.dumps(found, indent=2) + "\n")
    return found


def evaluations(config: EvalConfig, names: tuple[str, ...] = RUNS) -> Iterator[tuple[str, EvalConfig]]:
    """The evaluations of an evidence, by name, each with a folder of its own beneath that of `config`."""
    for name in names:
        changes = {"out": config.out / name}
        if name == WITHOUT:
            # No schema in the prompt either: a call would be text.
            silent = config.interaction.model_copy(update={"operations": ()})
            yield name, config.model_copy(update=changes | {"interaction": silent})
        elif name == PLAIN:
            yield name, config.model_copy(update=changes)
        else:
            control = ControlConfig(use=name, plain=config.out / PLAIN)
            yield name, config.model_copy(update=changes | {"control": control})


def evidence_of(folder: Path, *, base: Path | None = None) -> Evidence:
    """The evidence from finished evaluations in a folder, as `evals.evidence.evidence` has it, and in words.

    `base` is the folder of the base's evaluations; the one within `folder` when None, where it is there.
    `verdict` is one sentence, `sentences` are all of them; `base` and `checkpoint` are named.

    Raises:
        ConfigError: there is no plain evaluation.
        PixelReasonerError: the evaluations are of different tasks.
    """
    recipe = folder / PLAIN / CONFIG_FILE
    if not recipe.is_file():
        raise ConfigError(f"{recipe.parent} holds no evaluation; `pixelreasoner evidence` makes it")
    config = load_recipe(EvalConfig, recipe)
    bases = folder / BASE if base is None else base
    base_recipe = bases / PLAIN / CONFIG_FILE
    before = load_recipe(EvalConfig, base_recipe).subject if base_recipe.is_file() else ""
    found = evidence(read_runs(folder), scorer=scorer_of(config), base=read_runs(bases) if before else None)
    named = {"checkpoint": config.subject, "base": before}
    return {**named, "verdict": verdict(found), "sentences": sentences(found), **found}


def read_runs(folder: Path) -> Runs:
    """The outcomes of the evaluations beneath a folder, by name."""
    there = [name for name in RUNS if (folder / name / TRAJECTORIES_FILE).is_file()]
    return {name: read_run(folder / name) for name in there}


def read_run(folder: Path) -> list[Outcome]:
    """The outcomes of one evaluation, in order.

    Raises:
        RecordError: there are no records, or one is damaged.
    """
    return [outcome(t) for t in read_trajectories(folder / TRAJECTORIES_FILE)]


def examples(folder: Path, n: int = N_EXAMPLES) -> list[tuple[str, Trajectory]]:
    """Rollouts of the swap audit with their labels: some that follow the picture shown, some that do not."""
    config = load_recipe(EvalConfig, folder / PLAIN / CONFIG_FILE)
    scorer = scorer_of(config)
    tasks = {o.task.id: o.task for o in read_run(folder / PLAIN)}
    chosen: dict[bool, list[tuple[str, Trajectory]]] = {True: [], False: []}
    for swapped in read_trajectories(folder / SWAP / TRAJECTORIES_FILE):
        donor = tasks.get(outcome(swapped).donor)
        given = None if donor is None else answer_of_donor(donor, swapped.task)
        if donor is None or given is None or given in swapped.task.answers:
            continue
        follows = same_answer(swapped.answer, given, swapped.task, scorer)
        label = f"{'follows' if follows else 'does not follow'} the crop shown, whose answer is {given}"
        if len(chosen[follows]) < n:
            chosen[follows].append((label, swapped))
    return [*chosen[True], *chosen[False]]


def scorer_of(config: EvalConfig) -> Scorer:
    """What judges the answers of an evaluation."""
    if config.benchmark is None:
        return build_scorer(config.scoring)
    return load_benchmark(config.benchmark, config.benchmark_options, incomplete=config.incomplete).scorer


@dataclass
class _Loaded:
    """The model of the last recipe, kept for the next one where that is the same."""

    load: Callable[[EvalConfig], Evaluated]
    _last: list[tuple[EvalConfig, Evaluated]] = field(default_factory=list[tuple[EvalConfig, Evaluated]])

    def __call__(self, config: EvalConfig) -> Evaluated:
        for kept, evaluated in self._last:
            if (kept.model, kept.interaction.wording) == (config.model, config.interaction.wording):
                return evaluated
        self._last.clear()  # before the next one takes its memory
        self._last.append((config, self.load(config)))
        return self._last[0][1]


def _check(config: EvalConfig) -> None:
    if config.control is not None:
        raise ConfigError("the recipe is a control itself (control.use); leave `control` out")
    if config.samples > 1:
        raise ConfigError(
            f"samples = {config.samples}: the evidence pairs one rollout of each task with another; "
            f"set samples = 1"
        )
    if not config.interaction.operations:
        raise ConfigError("the recipe offers no operations, so there is nothing to weigh; leave them in")
    if (config.out / CONFIG_FILE).exists():
        raise ConfigError(f"{config.out} holds a run; choose another --out for the evidence")


def _evaluate_base(
    config: EvalConfig, checkpoint: str, load: Callable[[EvalConfig], Evaluated], console: Console
) -> None:
    """What the shares of the gain need of the base; grey pictures only where it reads results."""
    model = config.model.model_copy(update={"checkpoint": checkpoint})
    theirs = config.model_copy(update={"out": config.out / BASE, "model": model})
    for name, one in evaluations(theirs, (PLAIN, WITHOUT)):
        _evaluate(f"base, {name}", one, load, console, shared=config.out / PLAIN)
    if any(o.looked for o in read_run(theirs.out / PLAIN)):
        for name, one in evaluations(theirs, (BLANK,)):
            _evaluate(f"base, {name}", one, load, console, shared=config.out / PLAIN)


def _check_base(config: EvalConfig, base: Path) -> None:
    """Refuse the evidence of a base that was evaluated otherwise; its checkpoint is another one, of course.

    Raises:
        ConfigError: names what differs.
    """
    saved = load_recipe(EvalConfig, base / PLAIN / CONFIG_FILE)
    same = config.model_copy(update={"model": saved.model, "control": None})
    if fixed := [str(found) for found in differences(saved, same) if not found.may_change]:
        raise ConfigError(
            f"the base in {base} was evaluated otherwise: {', '.join(fixed)}; make its evidence again with "
            f"the same recipe, or name its checkpoint with --base"
        )


def _evaluate(
    name: str,
    config: EvalConfig,
    load: Callable[[EvalConfig], Evaluated],
    console: Console,
    *,
    shared: Path,
) -> None:
    console.rule(f"evidence: {name.replace('_', ' ')}", align="left")
    evaluate(config, resume=True, load=load)
    _share_pictures(shared, config.out)


def _share_pictures(source: Path, target: Path) -> None:
    """Keep one file of each picture that two evaluations have: a link in the second folder, to save disk.

    Pictures are named by their content and never written into. Where the file system has no links, each
    folder keeps its own.
    """
    theirs, ours = (pictures_in(folder / MEDIA_FOLDER) for folder in (source, target))
    with suppress(OSError):
        for digest in theirs.keys() & ours.keys():
            if theirs[digest].name == ours[digest].name and not ours[digest].samefile(theirs[digest]):
                link = left_name(ours[digest])
                os.link(theirs[digest], link)
                link.replace(ours[digest])
