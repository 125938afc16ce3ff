"""Synthesis, start to end: trajectories about the tasks of a recipe, written slot by slot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.files import write_text
from pixelreasoner.core.progress_line import ProgressLine, Row
from pixelreasoner.core.rejections import REJECTIONS_FILE
from pixelreasoner.core.run_folder import RunFolder, keep_config, open_run, starting
from pixelreasoner.core.run_status import locked, running
from pixelreasoner.core.terminal import TerminalConsole
from pixelreasoner.core.waiting import clear
from pixelreasoner.endpoint.cache import SqliteCache, totals_in
from pixelreasoner.synth.config import SynthConfig, build_seeds
from pixelreasoner.synth.journal import Journal, filled
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.on_ray import RayWorkers, cluster
from pixelreasoner.synth.planned import slots_of
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.served import ServedSlots
from pixelreasoner.synth.servers import check_budget, prompts_version, replies_file, server_sections, spent
from pixelreasoner.synth.slots import Seeds, Slot, Slots
from pixelreasoner.synth.stage_counts import StageCounts
from pixelreasoner.synth.summary import Summary, shown, summarise, unfilled_sentence
from pixelreasoner.synth.taught import Taught
from pixelreasoner.synth.workers import in_processes


def run(config: SynthConfig, *, resume: bool = False, ray: str | None = None) -> dict[Template, int]:
    """Write the trajectories of `config`; how many there are of each template.

    A run that was interrupted, at whatever moment, goes on with `resume`, and its files are then those of an
    uninterrupted run, byte for byte; those of a run on a cluster are the same.

    Args:
        config: what to write.
        resume: whether to go on with the run in the folder.
        ray: the cluster whose machines make the trajectories, as `on_ray.cluster` takes it; None for this
            machine.

    Raises:
        MissingExtraError: a cluster is given and Ray is not installed.
        ConfigError: the folder holds a run and `resume` is off, or one of another recipe; or the budget is in
            dollars and no server has a price.
        CheckpointError: the checkpoint cannot be read.
        SynthesisError: there are too few tasks of a kind, or every task was rejected.
        EndpointError: a server refuses all requests, or gave no reply for some trajectories.
        OutOfBudgetError: the budget is spent.
    """
    check_budget(config)
    console = TerminalConsole(stderr=True)
    with locked(config.out):
        folder = open_run(config.out, config, resume=resume)
        with running(folder.path, "synth", config.n), starting(folder, keeps=lambda: _has_replies(folder)):
            keep_config(folder, config)
            seeds = build_seeds(config)
            planned = slots_of(config, seeds, Taught.load(config))
            with closing(Journal(folder)) as journal:
                journal.catch_up()
                _Making(config, seeds, planned, folder, journal, console).run(ray)
            clear(folder.waiting)
            summary = _summary(config, planned, folder)
            write_text(folder.summary, summary.as_json())
            _say_summary(summary, folder, console)
    return {Template(name): count for name, count in summary.by_template.items()}


@dataclass(frozen=True)
class _Making:
    """The slots that are missing, in the making."""

    config: SynthConfig
    seeds: Sequence[Seeds]
    planned: Slots
    folder: RunFolder
    journal: Journal
    console: TerminalConsole

    def run(self, ray: str | None) -> None:
        """Make them, and write them."""
        if ray is not None:
            self._on_ray(ray)
        elif server_sections(self.config):
            self._with_servers()
        else:
            self._without()

    def _without(self) -> None:
        made = in_processes(self.config, self.seeds, self._missing(), self.folder.path)
        with self._line() as line, closing(made):
            for slot in made:
                self.journal.put(slot)
                rejected = self.journal.rejections
                line.update(self.journal.done, {"rejected": str(rejected)} if rejected else {})

    def _with_servers(self) -> None:
        counts = StageCounts(self.journal.done, self.journal.rejected())
        with (
            closing(SqliteCache(replies_file(self.folder.path))) as cache,
            self._line(rows=counts.rows) as line,
        ):
            served = ServedSlots(self.config, self.seeds, self.folder.path, cache, counts)
            with closing(served.make(self._missing(), line)) as made:
                for slot in made:
                    self.journal.put(slot)
                    line.update(self.journal.done, {"cost": served.cost()})

    def _on_ray(self, address: str) -> None:
        numbers = [number for number, _ in self._missing()]
        if not numbers:
            return
        counts = StageCounts(self.journal.done, self.journal.rejected())
        with cluster(address), self._line(rows=counts.rows) as line:
            workers = RayWorkers(self.config, self.planned, self.folder.path, counts)
            with closing(workers.make(numbers, line)) as made:
                for slot in made:
                    self.journal.put(slot)
                    line.update(self.journal.done, workers.figures(self.journal.rejections))

    def _missing(self) -> Iterator[tuple[int, Slot]]:
        first, n = self.journal.slots, len(self.planned)
        return ((at, self.planned[at]) for at in range(first, n) if at not in self.journal.waiting)

    def _line(self, rows: Callable[[], Sequence[Row]] = tuple) -> ProgressLine:
        return ProgressLine("synth", self.config.n, done=self.journal.done, console=self.console, rows=rows)


def _summary(config: SynthConfig, planned: Slots, folder: RunFolder) -> Summary:
    sources = {number: part.tasks.source for number, part in enumerate(config.sets)}
    summary = summarise(planned, filled(folder), sources, folder.path / REJECTIONS_FILE)
    if not server_sections(config):
        return summary
    with closing(SqliteCache(replies_file(folder.path))) as cache:
        return replace(summary, spending=spent(cache), prompts_version=prompts_version(config))


def _has_replies(folder: RunFolder) -> bool:
    """Whether something was paid for: also without a trajectory, that is what the run goes on with."""
    try:
        return bool(totals_in(replies_file(folder.path)))
    except RecordError:
        return True  # damaged, with whatever is in it


def _say_summary(summary: Summary, folder: RunFolder, console: TerminalConsole) -> None:
    """Show what the run came to.

    Raises:
        SynthesisError: to nothing.
    """
    console.print(shown(summary))
    if missing := unfilled_sentence(summary):
        console.print(f"synth: {missing}", markup=False, highlight=False, soft_wrap=True)
    if not summary.made:
        raise SynthesisError(f"no trajectory was made; {folder.path / REJECTIONS_FILE} says why")
