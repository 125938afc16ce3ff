"""Advantages within a group, centred on its mean (GRPO, arXiv 2402.03300, section 4.1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

AdvantageScale = Literal["std", "none", "correctness"]

_EPS = 1e-6
_SAME = 1e-9


def group_advantages(
    rewards: Sequence[float], *, scale: AdvantageScale, correctness: Sequence[float] | None = None
) -> npt.NDArray[np.float64]:
    """A_i of each of the G rollouts of one task; [G].

    ``scale="std"`` is GRPO::

        A_i = (r_i - mean(r)) / (std(r) + eps)

    In a group that agrees but for a bonus or a penalty, that is all there is in std(r): a cost of 0.05 of one
    rollout of 8 becomes an advantage of -2.65, as large as that of the only wrong answer.

    ``scale="none"`` leaves the division out (Dr. GRPO, arXiv 2503.20783): tasks on which nearly all rollouts
    agree then weigh no more than the others.

    ``scale="correctness"`` divides by the spread of the correctness term c alone::

        A_i = (r_i - mean(r)) / max(std(c), sqrt(G - 1) / G)

    so that other terms keep their size beside it (of weight 1): alpha = 0.5 is half a right answer in every
    group. The second argument of max is the std of a single right answer among G, the smallest spread that
    answers scored 0 or 1 can have without agreeing: a group whose answers agree is scaled as one that nearly
    agrees, and scores that differ by little are not blown up. With G = 8 the divisor is 0.33 to 0.5.

    std is the population's (divide by G), the literal reading of the paper's std({r_1, ..., r_G}). Frameworks
    that take the sample's (divide by G - 1) get values smaller by sqrt(1 - 1/G), 6 % at G = 8.

    A group without variance has advantages of exactly 0, so that "informative or not" is a test on equality.

    Args:
        rewards: r, all terms added up.
        scale: what the centred rewards are divided by.
        correctness: c, for the scale of that name.
    """
    r = np.asarray(rewards, dtype=np.float64)
    if r.size == 0 or np.ptp(r) <= _SAME:
        return np.zeros_like(r)
    centred = r - r.mean()
    match scale:
        case "std":
            return centred / (r.std() + _EPS)
        case "none":
            return centred
        case "correctness":
            assert correctness is not None, "the scale of the correctness term needs the term"
            return centred / max(float(np.std(correctness)), (r.size - 1) ** 0.5 / r.size)
