"""What each trajectory of a recipe is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.fit import fits_kinds
from pixelreasoner.synth.slots import Seeds, Slots, plan
from pixelreasoner.synth.taught import Taught


def slots_of(config: SynthConfig, seeds: Sequence[Seeds], taught: Taught) -> Slots:
    """The slots of a recipe.

    Raises:
        SynthesisError: a set of seeds has too few tasks.
    """
    fits = fits_kinds(seeds, taught.tools)
    return plan(config.n, config.mix, seeds, np.random.default_rng(config.seed), fits)
