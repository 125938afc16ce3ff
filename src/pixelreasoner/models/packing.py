"""Rows in which the attempts of a group share their prompt: what is laid where, and what is read from it.

Three attempts at one task, each laid out for itself, and the row they make (`p` prompt, `a b c` attempts,
an upper-case letter for a loss token)::

    p0 p1 p2 A0 A1 a2 A3        p0 p1 p2 | A0 A1 a2 | B0 b1 B2 | -
    p0 p1 p2 B0 b1 B2 B3
    p0 p1 p2 C0

* Prompts are shared when they are the same to the model: equal tokens, equal positions, equal pixels.
  Equal tokens are not enough: two images of one size are the same run of placeholders.
* M-RoPE positions are those of each attempt's own layout, so an image moves only what comes after it there.
* The first token of every attempt is predicted from the one last token of the prompt.
* What comes after the last token that anything is predicted from is left out: nothing depends on it. An
  attempt of one loss token (C) takes no room at all.

Shape legend: T tokens of a row, N loss tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pixelreasoner.chat.layout import IntArray, Layout, VisualBlock
from pixelreasoner.models.attention.shared_prefix import GroupSpan, PrefixPlan


@dataclass(frozen=True, eq=False)
class CompletionSegment:
    """One trajectory's layout, cut in two where its prompt ends."""

    layout: Layout
    n_prompt: int
    """Tokens of the prompt, expanded."""
    target_N: IntArray
    """Where its loss tokens are, in order, expanded; all of them after the prompt."""

    @classmethod
    def of(cls, layout: Layout, mask: npt.NDArray[np.bool_], n_prompt: int) -> CompletionSegment:
        """An attempt whose prompt has `n_prompt` RECORDED tokens, over which `mask` marks the loss tokens."""
        assert n_prompt > 0, "the first token has nothing to be predicted from"
        assert not mask[:n_prompt].any(), "a prompt is never learned"
        target_N = np.flatnonzero(mask[layout.owner_T])
        return cls(layout, int(np.searchsorted(layout.owner_T, n_prompt)), target_N)

    @property
    def end(self) -> int:
        """One past the last token that the row needs."""
        return max(self.n_prompt, int(self.target_N[-1])) if len(self.target_N) else self.n_prompt

    @property
    def n_own(self) -> int:
        """Tokens it adds to the row, beside its prompt."""
        return self.end - self.n_prompt

    def shared(self) -> tuple[object, ...]:
        """What its prompt is to the model; attempts that agree in this can share it."""
        at = slice(0, self.n_prompt)
        keys = tuple(block.key for block in _blocks(self.layout, at))
        return self.layout.ids_T[at].tobytes(), self.layout.position_3T[:, at].tobytes(), keys


@dataclass(frozen=True, eq=False)
class PackedRow:
    """One row of model input."""

    layout: Layout
    """As of one long conversation. A picture is in `blocks` wherever it stands; its key says that it is the
    same. `owner_T` is -1: the row was recorded nowhere."""
    plan: PrefixPlan
    """Who attends to whom."""
    at_N: IntArray
    """Where each loss token is predicted: attempt after attempt, as they were given."""
    target_N: IntArray
    """The loss tokens."""

    def __len__(self) -> int:
        return len(self.layout)


def pack(branches: Sequence[CompletionSegment]) -> PackedRow:
    """All attempts in one row; those with the same prompt share it, wherever they stand in the sequence."""
    parts: list[tuple[Layout, slice]] = []
    spans: list[GroupSpan] = []
    at: dict[int, IntArray] = {}
    start = 0
    for members in _groups(branches):
        first = branches[members[0]]
        n_prompt, free = first.n_prompt, start + first.n_prompt
        parts.append((first.layout, slice(0, n_prompt)))
        for index in members:
            branch = branches[index]
            parts.append((branch.layout, slice(n_prompt, branch.end)))
            # Predicted from the token before; that of an attempt's first token is the prompt's last.
            before_N = branch.target_N - 1 - n_prompt
            at[index] = np.where(before_N < 0, start + n_prompt - 1, free + before_N)
            free += branch.n_own
        spans.append(_span(n_prompt, tuple(branches[i].n_own for i in members)))
        start = free
    targets = [branch.layout.ids_T[branch.target_N] for branch in branches]
    return PackedRow(
        layout=_joined(parts),
        plan=PrefixPlan(tuple(spans)),
        at_N=np.concatenate([at[i] for i in range(len(branches))]),
        target_N=np.concatenate(targets),
    )


def packed_batches(branches: Sequence[CompletionSegment], max_tokens: int) -> Iterator[list[int]]:
    """Indices of attempts whose packed rows have at most `max_tokens` each, with groups kept together.

    A group that is too long for one row is cut into several, each with the prompt; an attempt that is too
    long even alone makes a row of its own.
    """
    part: list[int] = []
    room = max_tokens
    for members in _groups(branches):
        for piece in _cut(members, branches, max_tokens):
            cost = branches[piece[0]].n_prompt + sum(branches[i].n_own for i in piece)
            if part and cost > room:
                yield part
                part, room = [], max_tokens
            part += piece
            room -= cost
    if part:
        yield part


def _groups(branches: Sequence[CompletionSegment]) -> list[list[int]]:
    """Indices of the attempts that share a prompt, in order of first appearance."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, branch in enumerate(branches):
        groups.setdefault(branch.shared(), []).append(index)
    return list(groups.values())


def _cut(
    members: Sequence[int], branches: Sequence[CompletionSegment], max_tokens: int
) -> Iterator[list[int]]:
    n_prompt = branches[members[0]].n_prompt
    piece: list[int] = []
    cost = n_prompt
    for index in members:
        if piece and cost + branches[index].n_own > max_tokens:
            yield piece
            piece, cost = [], n_prompt
        piece.append(index)
        cost += branches[index].n_own
    yield piece


def _span(n_prompt: int, own: tuple[int, ...]) -> GroupSpan:
    taken = tuple(n for n in own if n)
    # Nothing to share: one ordinary causal segment is the same, and one kernel call less.
    return GroupSpan(n_prompt + taken[0]) if len(taken) == 1 else GroupSpan(n_prompt, taken)


def _joined(parts: Sequence[tuple[Layout, slice]]) -> Layout:
    """Runs of several layouts, one after the other; none begins or ends within an image."""
    ids_T = np.concatenate([layout.ids_T[at] for layout, at in parts])
    return Layout(
        ids_T=ids_T,
        kind_T=np.concatenate([layout.kind_T[at] for layout, at in parts]),
        owner_T=np.full(len(ids_T), -1),
        position_3T=np.concatenate([layout.position_3T[:, at] for layout, at in parts], axis=1),
        blocks=tuple(block for layout, at in parts for block in _blocks(layout, at)),
    )


def _blocks(layout: Layout, at: slice) -> list[VisualBlock]:
    """The blocks that stand in a run of tokens."""
    visual = layout.kind_T > 0
    first, last = int(visual[: at.start].sum()), int(visual[: at.stop].sum())
    ends = np.cumsum([block.n_tokens for block in layout.blocks], dtype=np.int64)
    n_before, n_through = (int(np.searchsorted(ends, n, side="right")) for n in (first, last))
    taken = list(layout.blocks[n_before:n_through])
    assert sum(block.n_tokens for block in taken) == last - first, "the run cuts an image in two"
    return taken
