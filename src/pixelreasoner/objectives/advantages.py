"""Advantages within a group, centred on its mean (GRPO, arXiv 2402.03300, section 4.1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

AdvantageScale = Literal["std", "none"]

_EPS = 1e-6
_SAME = 1e-9


def group_advantages(rewards: Sequence[float], *, scale: AdvantageScale) -> npt.NDArray[np.float64]:
    """A_i of each of the G rollouts of one task; [G].

    ``scale="std"`` is GRPO::

        A_i = (r_i - mean(r)) / (std(r) + eps)

    ``scale="none"`` leaves the division out (Dr. GRPO, arXiv 2503.20783): tasks on which nearly all rollouts
    agree then weigh no more than the others.

    std is the population's (divide by G), the literal reading of the paper's std({r_1, ..., r_G}). Frameworks
    that take the sample's (divide by G - 1) get values smaller by sqrt(1 - 1/G), 6 % at G = 8.

    A group without variance has advantages of exactly 0, so that "informative or not" is a test on equality.
    """
    r = np.asarray(rewards, dtype=np.float64)
    if r.size == 0 or np.ptp(r) <= _SAME:
        return np.zeros_like(r)
    centred = r - r.mean()
    return centred / (r.std() + _EPS) if scale == "std" else centred
