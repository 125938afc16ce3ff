"""Selective Sample Replay: fill the batch with informative groups of the past (VL-Rethinker, 2504.08837).

As training goes on, more and more tasks are solved by all rollouts or by none. Their advantages, and so their
gradients, vanish; the batch that remains shrinks and grows noisy. SSR drops those groups and fills their
places with informative groups from earlier steps, preferring large advantages.

The buffer lives for one episode, the span in which the behavior policy is fixed, and is then cleared (paper
section 5: 512 queries), so that nothing replayed is far off policy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pixelreasoner.core.footprint import n_bytes
from pixelreasoner.objectives.scored_group import ScoredGroup

MAX_BYTES = 2 * 2**30


class ReplayBuffer:
    """The informative groups of the current episode; whole groups, which can share a prompt in a row."""

    def __init__(
        self,
        capacity: int,
        generator: np.random.Generator,
        *,
        power: float = 1.0,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """An empty buffer.

        Args:
            capacity: groups held; the oldest leave first.
            generator: samples the replayed groups.
            power: a group is sampled with probability proportional to (sum of |A| over its
                trajectories)**power; 0 samples evenly.
            max_bytes: of the groups held, about; pictures that came from files take next to nothing.
        """
        self._groups: deque[ScoredGroup] = deque(maxlen=capacity)
        self._sizes: deque[int] = deque(maxlen=capacity)
        self._max_bytes = max_bytes
        self._generator = generator
        self._power = power

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, groups: Sequence[ScoredGroup]) -> None:
        """Keep the informative ones; a group whose advantages are all zero is never stored."""
        for group in groups:
            if group.informative:
                self._groups.append(group)
                self._sizes.append(n_bytes(group))
        while sum(self._sizes) > self._max_bytes:
            self._groups.popleft()
            self._sizes.popleft()

    def sample(self, n: int) -> list[ScoredGroup]:
        """At most `n` different groups, sampled without replacement by their weight."""
        n = min(n, len(self._groups))
        if n <= 0:
            return []
        weights = np.array([np.abs(group.advantages).sum() for group in self._groups]) ** self._power
        chosen = self._generator.choice(len(weights), size=n, replace=False, p=weights / weights.sum())
        return [self._groups[i] for i in chosen]

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
        self._groups.clear()
        self._sizes.clear()

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact resume needs, the generator's state included."""
        return {"groups": list(self._groups), "generator": self._generator.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.clear()
        self.add(state["groups"])
        self._generator.bit_generator.state = state["generator"]
