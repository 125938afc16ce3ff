"""One policy update: the selected groups, in a few optimiser steps of bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pixelreasoner.models.precision import autocast
from pixelreasoner.objectives.grpo import LossInputs, grpo_loss, sample_weights
from pixelreasoner.objectives.samples import ScoredGroup, TrainSample, to_samples
from pixelreasoner.train.batches import behaviour, micro_batches, score_samples, spread
from pixelreasoner.train.optim import descend

if TYPE_CHECKING:
    from pixelreasoner.train.rl import RLTrainer


def update(trainer: RLTrainer, groups: Sequence[ScoredGroup]) -> dict[str, float]:
    """Share the groups out over the step's optimiser steps; returns the metrics, weighted by tokens."""
    parts = [groups[i :: trainer.config.updates_per_step] for i in range(trainer.config.updates_per_step)]
    sums: dict[str, float] = {}
    n_tokens = 0
    for index, part in enumerate(parts):
        samples = [sample for group in part for sample in to_samples(group)]
        seen = _optimiser_step(trainer, samples, index)
        n_tokens += seen["n_tokens"]
        for name, value in seen["sums"].items():
            sums[name] = sums.get(name, 0.0) + value
    return {name: value / max(n_tokens, 1) for name, value in sums.items()} | {"loss_tokens": float(n_tokens)}


def _optimiser_step(trainer: RLTrainer, samples: Sequence[TrainSample], index: int) -> dict:
    """Accumulate the gradient of all samples over micro-batches, then descend once.

    Samples without an advantage have no gradient: they count in the normalisation and are not run.
    """
    config, model = trainer.config, trainer.model
    weights = sample_weights([s.n_loss_tokens for s in samples], config.grpo)
    active = [i for i, s in enumerate(samples) if s.advantage != 0.0 and s.n_loss_tokens > 0]
    if not active:
        return {"n_tokens": 0, "sums": {}}
    layouts = [model.renderer.layout(samples[i].segments) for i in active]
    sums: dict[str, float] = {}
    n_tokens = 0
    model.train()
    for part in micro_batches(layouts, config.micro_batch_tokens):
        chosen = [samples[active[i]] for i in part]
        with autocast(config.precision, model.device):
            scores = score_samples(
                model, trainer.features, chosen, [layouts[i] for i in part],
                temperature=config.sampling.temperature, forbidden_ids=model.renderer.forbidden_ids,
            )  # fmt: skip
        out = grpo_loss(
            LossInputs(
                logp_T=scores.logp_N,
                behaviour_logp_T=behaviour(chosen, model.device),
                advantage_T=spread(chosen, [s.advantage for s in chosen], model.device),
                weight_T=spread(chosen, [weights[active[i]] for i in part], model.device),
                entropy_T=scores.entropy_N,
            ),
            config.grpo,
        )
        out.loss.backward()
        n = int(np.sum([s.n_loss_tokens for s in chosen]))
        n_tokens += n
        for name, value in out.metrics.items():
            sums[name] = sums.get(name, 0.0) + n * value.item()
    at = trainer.step * config.updates_per_step + index
    total = config.steps * config.updates_per_step
    norm = descend(trainer.optimizer, step=at, total=total, config=config.optim)
    sums["grad_norm"] = norm * n_tokens
    return {"n_tokens": n_tokens, "sums": sums}
