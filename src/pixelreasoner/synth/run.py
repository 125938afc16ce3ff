"""Synthesis, start to end: trajectories about the tasks of a recipe, written slot by slot."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from pixelreasoner.core.files import write_text
from pixelreasoner.core.progress_line import ProgressLine
from pixelreasoner.core.run_folder import RunFolder, keep_config, open_run, starting
from pixelreasoner.core.run_status import locked, running
from pixelreasoner.core.terminal import TerminalConsole
from pixelreasoner.core.waiting import clear
from pixelreasoner.synth.config import SynthConfig, build_seeds
from pixelreasoner.synth.journal import REJECTIONS_FILE, Journal, filled
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.slots import Slots, plan
from pixelreasoner.synth.summary import Summary, shown, summarise, unfilled_sentence
from pixelreasoner.synth.workers import in_processes


def run(config: SynthConfig, *, resume: bool = False) -> dict[Template, int]:
    """Write the trajectories of `config`; how many there are of each template.

    A run that was interrupted, at whatever moment, goes on with `resume`, and its files are then those of an
    uninterrupted run, byte for byte.

    Raises:
        ConfigError: the folder holds a run and `resume` is off, or one of another recipe.
        CheckpointError: the checkpoint cannot be read.
        SynthesisError: there are too few tasks of a kind, or every task was rejected.
    """
    console = TerminalConsole(stderr=True)
    with locked(config.out):
        folder = open_run(config.out, config, resume=resume)
        with running(folder.path, "synth", config.n), starting(folder):
            keep_config(folder, config)
            planned = slots(config)
            with closing(Journal(folder)) as journal:
                _make(config, planned, journal, folder, console)
            clear(folder.waiting)
            summary = _summary(config, planned, folder)
            write_text(folder.summary, summary.as_json())
            console.print(shown(summary))
            if missing := unfilled_sentence(summary):
                console.print(f"synth: {missing}", markup=False, highlight=False, soft_wrap=True)
            if not summary.made:
                raise SynthesisError(f"no trajectory was made; {folder.path / REJECTIONS_FILE} says why")
    return {Template(name): count for name, count in summary.by_template.items()}


def slots(config: SynthConfig) -> Slots:
    """What each trajectory of `config` is.

    Raises:
        SynthesisError: a set of seeds has too few tasks.
    """
    return plan(config.n, config.mix, build_seeds(config), np.random.default_rng(config.seed))


def _make(
    config: SynthConfig, planned: Slots, journal: Journal, folder: RunFolder, console: TerminalConsole
) -> None:
    """Make the slots that are missing, and write them."""
    journal.catch_up()
    missing = (
        (number, planned[number])
        for number in range(journal.slots, len(planned))
        if number not in journal.waiting
    )
    with (
        ProgressLine("synth", config.n, done=journal.done, console=console) as line,
        closing(in_processes(config, missing, folder.path)) as made,
    ):
        for slot in made:
            journal.put(slot)
            rejected = {"rejected": str(journal.rejections)} if journal.rejections else {}
            line.update(journal.done, rejected)


def _summary(config: SynthConfig, planned: Slots, folder: RunFolder) -> Summary:
    sources = {number: seeds.tasks.source for number, seeds in enumerate(config.sets)}
    return summarise(planned, filled(folder), sources, folder.path / REJECTIONS_FILE)
