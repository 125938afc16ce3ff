"""How much of what a model gained over its base came from its operations.

With A the accuracy with operations offered, A_wo without them, A_blank with blank pictures in the place of
their results, and the base's the same with a 0:

    gain           A - A0
    intrinsic      A_wo - A0_wo                       f_wo of MED
    tool-induced   (A - A_wo) - (A0 - A0_wo)          Delta_tool of MED; intrinsic + tool-induced = gain
    pixels         (A - A_blank) - (A0 - A0_blank)    what is lost when the results cannot be seen

(MED: "What Does Vision Tool-Use Reinforcement Learning Really Learn?", arXiv 2602.01334, which tracks f_wo
and the drift of the gap G = A - A_wo.) Two shares of the gain follow, tool-induced / gain and pixels / gain.
The first counts everything that goes with being able to call: one more turn, the words of the call, a prompt
that the model was trained on. The second counts only what was seen, and is the one that a model which calls
without looking cannot earn.

A share is given where the gain is above 0 beyond chance (its interval lies above 0). Otherwise there is
nothing to share out: the terms stand alone. A share can be below 0 or above 1, where one term takes away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pixelreasoner.evals.outcomes import Outcome
from pixelreasoner.evals.resampling import Floats, percentile_interval, resampled_means

PLAIN, WITHOUT, BLANK = "plain", "no_operations", "blank"


def gain_shares(
    model: Mapping[str, Sequence[Outcome]], base: Mapping[str, Sequence[Outcome]]
) -> dict[str, Any]:
    """The terms and shares of the gain over a base, each with its paired bootstrap interval over the tasks.

    Args:
        model: `plain`, `no_operations`, `blank` -> outcomes, all of the same tasks in the same order.
        base: the same of the base; `blank` may be left out where the base reads no result of an operation.

    Returns:
        {"n", "gain", "intrinsic", "tool_induced", "pixels": {"mean", "interval95"},
         "tool_share", "pixel_share": the same, or None where the gain is not above 0 beyond chance}
    """
    a, wo, seen_nothing = (_scores(model[name]) for name in (PLAIN, WITHOUT, BLANK))
    a0, wo0 = _scores(base[PLAIN]), _scores(base[WITHOUT])
    blank0 = _scores(base.get(BLANK, base[PLAIN]))
    terms = {
        "gain": a - a0,
        "intrinsic": wo - wo0,
        "tool_induced": (a - wo) - (a0 - wo0),
        "pixels": (a - seen_nothing) - (a0 - blank0),
    }
    draws = resampled_means(np.stack(list(terms.values()), axis=1))
    by_name = dict(zip(terms, draws.T, strict=True))
    out: dict[str, Any] = {"n": len(a)}
    for name, values in terms.items():
        out[name] = {"mean": float(values.mean()), "interval95": list(percentile_interval(by_name[name]))}
    known = out["gain"]["interval95"][0] > 0
    for share, name in (("tool_share", "tool_induced"), ("pixel_share", "pixels")):
        out[share] = _share(terms[name], terms["gain"], by_name[name], by_name["gain"]) if known else None
    return out


def _share(part: Floats, whole: Floats, parts: Floats, wholes: Floats) -> dict[str, Any]:
    # A few draws of a small gain may come out at 0 or below: no share can be said of them.
    usable = wholes > 0
    return {
        "mean": float(part.mean() / whole.mean()),
        "interval95": list(percentile_interval(parts[usable] / wholes[usable])),
    }


def _scores(outcomes: Sequence[Outcome]) -> Floats:
    return np.array([o.score for o in outcomes], dtype=float)
