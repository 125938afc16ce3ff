"""The third of the three forms from a rollout to a loss: rows in which trajectories share their prompt.

Three trajectories of one task, each laid out for itself, and the row they make (`p` prompt, `a b c`
completions, an upper-case letter for a loss token)::

    p0 p1 p2 A0 A1 a2 A3        p0 p1 p2 | A0 A1 a2 | B0 b1 B2 | -
    p0 p1 p2 B0 b1 B2 B3
    p0 p1 p2 C0

* Prompts are shared when they are the same to the model: equal tokens, equal positions, equal pixels.
  Equal tokens are not enough: two images of one size are the same run of placeholders.
* M-RoPE positions are those of each trajectory's own layout: an image moves only what comes after it there.
* The first token of every completion is predicted from the one last token of the prompt.
* What comes after the last token that anything is predicted from is left out: nothing depends on it. A
  completion of one loss token (C) takes no room at all.

Shape legend: T tokens of a row, N loss tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pixelreasoner.chat.layout import IntArray, Layout
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.models.attention.shared_prefix import GroupSpan, PrefixPlan
from pixelreasoner.objectives.loss_mask import behavior_logprobs, loss_mask, prompt_of
from pixelreasoner.objectives.scored_group import ScoredGroup

FloatArray = npt.NDArray[np.float32]
LayoutOf = Callable[[Trajectory], Layout]
"""From a trajectory to all its segments, laid out for the model."""
TokenWeights = Callable[[Sequence[int]], Sequence[float]]
"""From the loss-token counts of all trajectories of a batch to the weight of each one's tokens."""


@dataclass(frozen=True, eq=False)
class CompletionSegment:
    """One trajectory's layout, cut in two where its prompt ends."""

    layout: Layout
    n_prompt: int
    """Tokens of the prompt, expanded; at least one."""
    target_N: IntArray
    """Where its loss tokens are, in order, expanded; all of them after the prompt, at least one."""
    behavior_logp_N: FloatArray
    """log p of each loss token under the policy that sampled it; zeros where nobody asks."""
    advantage: float = 1.0
    weight: float = 1.0
    """Of each of its loss tokens in the loss."""

    @classmethod
    def of(
        cls, trajectory: Trajectory, layout: Layout, *, behavior: bool, advantage: float, weight: float
    ) -> CompletionSegment:
        """The completion of a trajectory; `behavior` asks for the sampler's log-probabilities.

        Raises:
            RecordError: the trajectory has no tokens, or lacks the log-probabilities that are asked for.
        """
        n_prompt = int(np.searchsorted(layout.owner_T, len(prompt_of(trajectory).ids)))
        assert n_prompt > 0, "the first token has nothing to be predicted from"
        target_N = np.flatnonzero(loss_mask(trajectory)[layout.owner_T])
        logp_N = behavior_logprobs(trajectory) if behavior else np.zeros(len(target_N), dtype=np.float32)
        return cls(layout, n_prompt, target_N, logp_N, advantage, weight)

    @property
    def end(self) -> int:
        """One past the last token that the row needs."""
        return max(self.n_prompt, int(self.target_N[-1]))

    @property
    def n_own(self) -> int:
        """Tokens it adds to the row, beside its prompt."""
        return self.end - self.n_prompt

    @cached_property
    def prompt_key(self) -> tuple[object, ...]:
        """What its prompt is to the model; completions that agree in this can share it."""
        prompt = self.layout.slice(0, self.n_prompt)
        keys = tuple(block.key for block in prompt.blocks)
        return prompt.ids_T.tobytes(), prompt.position_3T.tobytes(), keys


@dataclass(frozen=True, eq=False)
class PackedRow:
    """One row of model input, and what the loss reads about each of its loss tokens."""

    layout: Layout
    """As of one long conversation. A picture is in `blocks` wherever it stands; its key says that it is the
    same."""
    plan: PrefixPlan
    """Who attends to whom."""
    at_N: IntArray
    """Where each loss token is predicted: trajectory after trajectory, in the order of the row."""
    target_N: IntArray
    """The loss tokens."""
    behavior_logp_N: FloatArray
    advantage_N: FloatArray
    weight_N: FloatArray
    trajectory_N: IntArray
    """The number of each loss token's trajectory within the row, from 0."""

    def __len__(self) -> int:
        return len(self.layout)

    @property
    def n_loss_tokens(self) -> int:
        return len(self.target_N)


def pack_rows(
    groups: Sequence[ScoredGroup],
    layout_of: LayoutOf,
    *,
    max_tokens: int,
    token_weights: TokenWeights,
    behavior: bool,
    chosen: Collection[int] | None = None,
) -> Iterator[PackedRow]:
    """The batch in rows of at most `max_tokens` each; whatever has the same prompt in a row shares it.

    A group that fits into a row is not split over two. One that does not is cut, each part with the prompt; a
    trajectory that is too long even alone makes a row of its own. Trajectories without an advantage, or
    without loss tokens, have no gradient: they count in `token_weights`, and are not laid out.

    Rows are made as they are taken, so that the pictures of one row and one group are in memory.

    Args:
        groups: the batch of one optimiser step.
        layout_of: lays out a trajectory.
        max_tokens: of a row, its pictures expanded.
        token_weights: gives the weights, from the loss-token counts of all trajectories of the batch.
        behavior: whether the loss reads the sampler's log-probabilities.
        chosen: numbers of the groups to lay out; the others are counted in `token_weights` only. None: all.

    Raises:
        RecordError: a trajectory has no tokens, or lacks the log-probabilities that are asked for.
    """
    row = _Row()
    wanted = range(len(groups)) if chosen is None else chosen
    for segments in _completions(groups, wanted, layout_of, token_weights, behavior=behavior):
        for part in cut_group(segments, max_tokens):
            if row.members and row.n_tokens + row.cost(part) > max_tokens:
                yield pack(list(row.members.values()))
                row = _Row()
            row.add(part)
    if row.members:
        yield pack(list(row.members.values()))


def _completions(
    groups: Sequence[ScoredGroup],
    chosen: Collection[int],
    layout_of: LayoutOf,
    token_weights: TokenWeights,
    *,
    behavior: bool,
) -> Iterator[list[CompletionSegment]]:
    """Those with a gradient, group by group."""
    counts = [[int(loss_mask(trajectory).sum()) for trajectory in group.trajectories] for group in groups]
    weights = iter(token_weights([n for group_counts in counts for n in group_counts]))
    for number, (group, group_counts) in enumerate(zip(groups, counts, strict=True)):
        own_weights = [next(weights) for _ in group_counts]
        if number not in chosen:
            continue
        members = zip(group.trajectories, group.advantages, group_counts, own_weights, strict=True)
        yield [
            CompletionSegment.of(
                trajectory, layout_of(trajectory), behavior=behavior, advantage=advantage, weight=weight
            )
            for trajectory, advantage, n, weight in members
            if advantage != 0.0 and n > 0
        ]


def cut_group(segments: Sequence[CompletionSegment], max_tokens: int) -> Iterator[list[CompletionSegment]]:
    """Parts of a group, each with one prompt, that take at most `max_tokens` if any trajectory does."""
    by_prompt: dict[tuple[object, ...], list[CompletionSegment]] = {}
    for segment in segments:
        by_prompt.setdefault(segment.prompt_key, []).append(segment)
    for members in by_prompt.values():
        part: list[CompletionSegment] = []
        cost = members[0].n_prompt
        for segment in members:
            if part and cost + segment.n_own > max_tokens:
                yield part
                part, cost = [], segment.n_prompt
            part.append(segment)
            cost += segment.n_own
        yield part


def padding_row(layout: Layout) -> PackedRow:
    """A row that teaches nothing, of one token: a process that has no row left computes it in step.

    Args:
        layout: of two text tokens that the model may sample.
    """
    assert len(layout) == 2
    assert not layout.blocks
    nothing = np.zeros(1, dtype=np.float32)
    return pack([[CompletionSegment(layout, 1, np.array([1]), nothing, weight=0.0)]])


class _Row:
    """A row in the making: completions by their prompt."""

    def __init__(self) -> None:
        self.members: dict[tuple[object, ...], list[CompletionSegment]] = {}
        self.n_tokens = 0

    def cost(self, part: Sequence[CompletionSegment]) -> int:
        """Tokens that a part with one prompt adds; a prompt that is there already costs nothing."""
        n_prompt = 0 if part[0].prompt_key in self.members else part[0].n_prompt
        return n_prompt + sum(segment.n_own for segment in part)

    def add(self, part: Sequence[CompletionSegment]) -> None:
        self.n_tokens += self.cost(part)
        self.members.setdefault(part[0].prompt_key, []).extend(part)


def pack(groups: Sequence[Sequence[CompletionSegment]]) -> PackedRow:
    """One row of several groups, one after the other; the members of each have the same prompt."""
    parts: list[Layout] = []
    spans: list[GroupSpan] = []
    at: list[IntArray] = []
    start = 0
    for members in groups:
        n_prompt = members[0].n_prompt
        parts.append(members[0].layout.slice(0, n_prompt))
        free = start + n_prompt
        for segment in members:
            parts.append(segment.layout.slice(n_prompt, segment.end))
            # Predicted from the token before; that of a completion's first token is the prompt's last.
            before_N = segment.target_N - 1 - n_prompt
            at.append(np.where(before_N < 0, start + n_prompt - 1, free + before_N))
            free += segment.n_own
        spans.append(_span(n_prompt, [segment.n_own for segment in members]))
        start = free
    segments = [segment for members in groups for segment in members]
    return PackedRow(
        layout=Layout.join(parts),
        plan=PrefixPlan(tuple(spans)),
        at_N=np.concatenate(at),
        target_N=np.concatenate([segment.layout.ids_T[segment.target_N] for segment in segments]),
        behavior_logp_N=np.concatenate([segment.behavior_logp_N for segment in segments]),
        advantage_N=_repeat_per_token(segments, [segment.advantage for segment in segments]),
        weight_N=_repeat_per_token(segments, [segment.weight for segment in segments]),
        trajectory_N=np.repeat(np.arange(len(segments)), [len(s.target_N) for s in segments]),
    )


def _span(n_prompt: int, n_own: Sequence[int]) -> GroupSpan:
    taken = tuple(n for n in n_own if n)
    # Nothing to share: one ordinary causal segment is the same, and one kernel call less.
    return GroupSpan(n_prompt + taken[0]) if len(taken) == 1 else GroupSpan(n_prompt, taken)


def _repeat_per_token(segments: Sequence[CompletionSegment], values: Sequence[float]) -> FloatArray:
    counts = [len(segment.target_N) for segment in segments]
    return np.repeat(np.asarray(values, dtype=np.float32), counts)
