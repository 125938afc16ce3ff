"""Selective Sample Replay: fill the batch with informative groups of the past (VL-Rethinker, 2504.08837).

As training goes on, more and more tasks are solved by all rollouts or by none. Their advantages, and so their
gradients, vanish; the batch that remains shrinks and grows noisy. SSR drops those groups and fills their
places with informative groups from earlier steps, preferring large advantages.

The buffer lives for one episode, and is then cleared (paper section 5: 512 queries), so that nothing replayed
is far off policy. In the paper the behavior policy is fixed within an episode; here it changes with every
step, so a replayed group is as many versions off policy as it is steps old (the ratio of the loss corrects
for it, within its clip). A group is replayed at most `max_repeats` times: where few groups are informative,
the same few would otherwise fill every batch of the episode.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelreasoner.core.footprint import n_bytes
from pixelreasoner.objectives.scored_group import ScoredGroup

MAX_BYTES = 2 * 2**30


@dataclass
class _Held:
    """A group of the buffer."""

    group: ScoredGroup
    n_bytes: int
    repeats: int = 0
    """How often it was replayed."""


class ReplayBuffer:
    """The informative groups of the current episode; whole groups, which can share a prompt in a row."""

    def __init__(
        self,
        capacity: int,
        generator: np.random.Generator,
        *,
        power: float = 1.0,
        max_repeats: int = 4,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """An empty buffer.

        Args:
            capacity: groups held; the oldest leave first.
            generator: samples the replayed groups.
            power: a group is sampled with probability proportional to (sum of |A| over its
                trajectories)**power; 0 samples evenly.
            max_repeats: a group leaves once it was replayed so often.
            max_bytes: of the groups held, about; pictures that came from files take next to nothing.
        """
        self._held: deque[_Held] = deque(maxlen=capacity)
        self._max_repeats, self._max_bytes = max_repeats, max_bytes
        self._generator = generator
        self._power = power

    def __len__(self) -> int:
        return len(self._held)

    def add(self, groups: Sequence[ScoredGroup]) -> None:
        """Keep the informative ones; a group whose advantages are all zero is never stored."""
        self._held.extend(_Held(group, n_bytes(group)) for group in groups if group.informative)
        while sum(held.n_bytes for held in self._held) > self._max_bytes:
            self._held.popleft()

    def sample(self, n: int) -> list[ScoredGroup]:
        """At most `n` different groups, sampled without replacement by their weight."""
        n = min(n, len(self._held))
        if n <= 0:
            return []
        weights = np.array([np.abs(held.group.advantages).sum() for held in self._held]) ** self._power
        chosen = self._generator.choice(len(weights), size=n, replace=False, p=weights / weights.sum())
        replayed = [self._held[i].group for i in chosen]
        for i in sorted(chosen.tolist(), reverse=True):
            self._held[i].repeats += 1
            if self._held[i].repeats >= self._max_repeats:
                del self._held[i]
        return replayed

    def refill(self, fresh: Sequence[ScoredGroup], *, size: int) -> list[ScoredGroup]:
        """One step of SSR: the informative groups of `fresh`, filled up to `size` from earlier steps.

        The fresh ones are stored afterwards, so a step never replays its own groups. Fewer than `size` come
        back while the buffer is short; more never, unless `fresh` alone has more.
        """
        informative = [group for group in fresh if group.informative]
        replayed = self.sample(size - len(informative))
        self.add(informative)
        return informative + replayed

    def clear(self) -> None:
        """Drop all groups: the episode is over."""
        self._held.clear()

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact resume needs, the generator's state included."""
        return {
            "groups": [held.group for held in self._held],
            "repeats": [held.repeats for held in self._held],
            "generator": self._generator.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.clear()
        groups = zip(state["groups"], state["repeats"], strict=True)
        self._held.extend(_Held(group, n_bytes(group), repeats) for group, repeats in groups)
        self._generator.bit_generator.state = state["generator"]
