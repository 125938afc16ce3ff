"""What each trajectory of a run is: its template, and the chain of tasks that it may be about.

A run is a list of independent slots. Task after task of a slot's chain is tried until one gives a trajectory.
The chains of a set's kind share its tasks out: with three slots, slot 0 has the tasks 0, 3, 6, ..., slot 1
has 1, 4, 7, .... So the mix is exact whatever is rejected, and what a slot gives depends on no other one.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, overload

import numpy as np

from pixelreasoner.core.media import Video
from pixelreasoner.synth.mix import Mix, Template, apportion
from pixelreasoner.synth.readable import readable
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.tasks.source import TaskSource

PARTS = 3
"""Of a mix: without an operation, guesses, with one."""


class Seeds(NamedTuple):
    """A set of tasks that trajectories are about, and its share of them."""

    tasks: TaskSource
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Slot:
    """One trajectory to write: after which template, about which tasks."""

    template: Template
    source: int
    """The number of the set of seeds."""
    kind: str
    needs_operation: bool | None
    """As `TaskSource.select` takes it: None where the tasks do not say."""
    index: int = 0
    """Of its first task among those of its set, kind and need."""
    stride: int = 1
    """From a task of its chain to the next one: how many slots share those tasks."""

    def chain(self, tries: int) -> range:
        """The indices of at most `tries` tasks, in the order in which they are tried."""
        return range(self.index, self.index + tries * self.stride, self.stride)


class Slots(Sequence[Slot]):
    """All slots of a run, in ten bytes each."""

    def __init__(self, kinds_of_slot: Sequence[Slot], codes: array[int], indices: array[int]) -> None:
        """The slots of a plan.

        Args:
            kinds_of_slot: each combination of template, set, kind and need once.
            codes: of each slot, its place among those.
            indices: of each slot, its first task.
        """
        self._kinds, self._codes, self._indices = tuple(kinds_of_slot), codes, indices

    def __len__(self) -> int:
        return len(self._codes)

    @overload
    def __getitem__(self, at: int) -> Slot: ...
    @overload
    def __getitem__(self, at: slice) -> Slots: ...
    def __getitem__(self, at: int | slice) -> Slot | Slots:
        if isinstance(at, slice):
            return Slots(self._kinds, self._codes[at], self._indices[at])
        return replace(self._kinds[self._codes[at]], index=self._indices[at])

    def __iter__(self) -> Iterator[Slot]:
        return (self[at] for at in range(len(self)))


class Group(NamedTuple):
    """The tasks of one kind in one set."""

    source: int
    kind: str


class _Entry(NamedTuple):
    template: Template
    group: Group
    needs_operation: bool


def plan(
    n: int,
    mix: Mix,
    sets: Sequence[Seeds],
    rng: np.random.Generator,
    fits: Callable[[Group, Template], bool] = lambda group, template: True,
) -> Slots:
    """`n` slots in random order: the mix is exact, and no task is in two chains.

    The sets have their shares to one trajectory, those without an operation and those with one apart; the
    kinds of a set are equally frequent.

    Args:
        n: how many.
        mix: of which templates.
        sets: of which tasks.
        rng: draws the order, and which kinds get which templates.
        fits: whether a template fits the tasks of a kind. One that does not goes to another kind where it
            does, for a template that fits both.

    Raises:
        SynthesisError: a set has fewer tasks than slots.
    """
    n_text = apportion(n, {"text": mix.text_only, "pixel": 1 - mix.text_only})["text"]
    n_guesses = round(n_text * mix.guess_share)
    _check_shares(n, sets)
    dealt = [_dealt(count, sets) for count in (n_text - n_guesses, n_guesses, n - n_text)]
    about_videos = {group for group in _groups(sets) if _is_about_a_video(sets, group)}
    pictures = [group for group in dealt[2] if group not in about_videos]
    videos = [group for group in dealt[2] if group in about_videos]
    entries = [_Entry(Template.TEXT_ONLY, group, False) for group in dealt[0]]
    entries += [_Entry(Template.TEXT_ONLY, group, True) for group in dealt[1]]
    entries += _swapped(_with_operation(pictures, mix.image.shares, mix, rng), fits)
    entries += _swapped(_with_operation(videos, mix.video.shares, mix, rng), fits)
    return _in_order(entries, rng.permutation(len(entries)), mix, sets)


def _in_order(entries: Sequence[_Entry], order: np.ndarray, mix: Mix, sets: Sequence[Seeds]) -> Slots:
    """The slots of the entries, in an order; each takes the next task of its set, kind and need."""
    known = {group: sets[group.source].tasks.needs(group.kind) for group in _groups(sets)}
    taken: Counter[tuple[Group, bool | None]] = Counter()
    places: dict[Slot, int] = {}
    codes, indices = array("H"), array("q")
    for at in order:
        template, group, wanted = entries[at]
        if not mix.self_correction and template is not Template.TEXT_ONLY:
            template = Template.SINGLE_PASS
        # Where the tasks do not say what they need, or all need the same, there is nothing to choose.
        needs = wanted if wanted in known[group] else next(iter(known[group]))
        slot = Slot(template, group.source, group.kind, needs)
        codes.append(places.setdefault(slot, len(places)))
        indices.append(taken[group, needs])
        taken[group, needs] += 1
    _check_sizes(sets, taken)
    strides = [taken[Group(slot.source, slot.kind), slot.needs_operation] for slot in places]
    kinds = [replace(slot, stride=stride) for slot, stride in zip(places, strides, strict=True)]
    return Slots(kinds, codes, indices)


def _groups(sets: Sequence[Seeds]) -> list[Group]:
    return [Group(number, kind) for number, seeds in enumerate(sets) for kind in seeds.tasks.kinds]


def _is_about_a_video(sets: Sequence[Seeds], group: Group) -> bool:
    first = next(readable(sets[group.source].tasks.select(kind=group.kind)), None)
    return first is not None and any(isinstance(item, Video) for item in first.media)


def _check_shares(n: int, sets: Sequence[Seeds]) -> None:
    """As `_check_sizes`, before anything is made for each slot: `n` may be a slip of the pen."""
    shares = apportion(n, {number: seeds.weight for number, seeds in enumerate(sets)})
    for number, seeds in enumerate(sets):
        # The parts of the mix are dealt out apart; each may round a set's share up by one.
        if seeds.tasks.size is not None and shares[number] - PARTS > seeds.tasks.size:
            kinds = seeds.tasks.kinds
            which = f"kind '{kinds[0]}'" if len(kinds) == 1 else f"the kinds {', '.join(kinds)}"
            raise SynthesisError(
                f"the mix takes {shares[number]} tasks of {which}, and there are {seeds.tasks.size}; lower n"
            )


def _check_sizes(sets: Sequence[Seeds], taken: Mapping[tuple[Group, bool | None], int]) -> None:
    for (group, needs), wanted in taken.items():
        size = sets[group.source].tasks.select(kind=group.kind, needs_operation=needs).size
        if size is not None and size < wanted:
            what = {True: " that need an operation", False: " that need none", None: ""}[needs]
            raise SynthesisError(
                f"the mix takes {wanted} tasks of kind '{group.kind}'{what}, and there are {size}; lower n"
            )


def _dealt(n: int, sets: Sequence[Seeds]) -> list[Group]:
    """`n` times a kind: the sets by their weights, the kinds of each in turn."""
    counts = apportion(n, {number: seeds.weight for number, seeds in enumerate(sets)})
    dealt: list[Group] = []
    for number, seeds in enumerate(sets):
        groups = [Group(number, kind) for kind in seeds.tasks.kinds]
        dealt += [groups[i % len(groups)] for i in range(counts[number])]
    return dealt


def _with_operation(
    groups: Sequence[Group], shares: Mapping[Template, float], mix: Mix, rng: np.random.Generator
) -> list[_Entry]:
    """A template for each of `groups`, and whether its task needs the operation."""
    counts = apportion(len(groups), shares)
    templates = [template for template, count in counts.items() for _ in range(count)]
    mixed = [templates[i] for i in rng.permutation(len(templates)).tolist()]
    single = [i for i, template in enumerate(mixed) if template is Template.SINGLE_PASS]
    n_full_image = min(round(len(groups) * mix.full_image_share), len(single))
    full_image = {single[i] for i in rng.permutation(len(single))[:n_full_image].tolist()}
    return [
        _Entry(template, group, needs_operation=i not in full_image)
        for i, (template, group) in enumerate(zip(mixed, groups, strict=True))
    ]


def _swapped(entries: Sequence[_Entry], fits: Callable[[Group, Template], bool]) -> list[_Entry]:
    """The entries, those whose template does not fit having changed it with others."""
    out = list(entries)
    places: dict[tuple[Template, Group], list[int]] = defaultdict(list)
    for at, (template, group, _) in enumerate(out):
        places[template, group].append(at)
    for at in range(len(out)):
        template, group, needs = out[at]
        if fits(group, template):
            continue
        for (other, other_group), candidates in places.items():
            if not (fits(other_group, template) and fits(group, other)):
                continue
            while candidates and out[candidates[-1]][:2] != (other, other_group):
                candidates.pop()  # has changed its template meanwhile
            if candidates:
                partner = candidates.pop()
                out[at] = _Entry(other, group, out[partner].needs_operation)
                out[partner] = _Entry(template, other_group, needs)
                break
    return out
