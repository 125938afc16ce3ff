"""Whether a template fits a task: whether its cue leaves room for the operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np

from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.outline import Tools, outline
from pixelreasoner.synth.readable import readable
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.slots import Group, Seeds

PROBED = 6
"""Tasks of a kind that are looked at."""
Fits = Callable[[Group, Template], bool]


def fits(task: Task, template: Template, tools: Tools) -> bool:
    """Whether the operations of a template can be chosen on a task; their words are nobody's matter here."""
    try:
        outline(task, template, tools, np.random.default_rng(0))
    except (SynthesisError, MediaError):
        return False
    return True


def with_cue(task: Task, box: Box) -> Task:
    """A seed whose cue is one of its candidate regions."""
    return replace(task, cue=Cue(box=box, target=1 if task.cue is None else task.cue.target))


def fits_kinds(sets: Sequence[Seeds], tools: Tools) -> Fits:
    """Whether a template fits one of the first tasks of a kind; it does where no cue is known yet."""

    @cache
    def first(group: Group) -> list[Task]:
        tasks = islice(readable(sets[group.source].tasks.select(kind=group.kind)), PROBED)
        return [one for task in tasks for one in _with_cues(task)]

    @cache
    def found(group: Group, template: Template) -> bool:
        tasks = first(group)
        return not tasks or any(fits(task, template, tools) for task in tasks)

    return found


def _with_cues(task: Task) -> list[Task]:
    """A task that has a cue; of a seed, one for each of its candidate regions; none where there is none."""
    if not task.is_seed:
        return [task]
    return [with_cue(task, box) for box in task.cue.boxes] if task.cue is not None else []
