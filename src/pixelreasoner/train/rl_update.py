"""One policy update: the selected groups, in a few optimiser steps of bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixelreasoner.models.precision import autocast
from pixelreasoner.objectives.grpo import LossInputs, grpo_loss, sample_weights
from pixelreasoner.objectives.samples import ScoredGroup, TrainSample, to_samples
from pixelreasoner.train.batches import PADDED, behavior_logprobs, repeat_per_token
from pixelreasoner.train.optim import optimizer_step
from pixelreasoner.train.rl_metrics import UpdateMetrics
from pixelreasoner.train.shared_update import PACKED

if TYPE_CHECKING:
    from pixelreasoner.train.rl import RLTrainer


def update(trainer: RLTrainer, groups: Sequence[ScoredGroup]) -> dict[str, float]:
    """Share the groups out over the step's optimiser steps; returns the metrics of their loss tokens."""
    parts = [groups[i :: trainer.config.updates_per_step] for i in range(trainer.config.updates_per_step)]
    metrics = UpdateMetrics()
    for index, part in enumerate(parts):
        samples = [sample for group in part for sample in to_samples(group)]
        _optimiser_step(trainer, samples, index, metrics)
    return metrics.result()


def _optimiser_step(
    trainer: RLTrainer, samples: Sequence[TrainSample], index: int, metrics: UpdateMetrics
) -> None:
    """Accumulate the gradient of all samples over micro-batches, then descend once.

    Samples without an advantage have no gradient: they count in the normalisation and are not run.
    """
    config, model = trainer.config, trainer.model
    weights = sample_weights([s.n_loss_tokens for s in samples], config.grpo)
    kept = [i for i, s in enumerate(samples) if s.advantage != 0.0 and s.n_loss_tokens > 0]
    if not kept:
        return
    active, weights = [samples[i] for i in kept], [weights[i] for i in kept]
    layouts = [model.renderer.layout(s.segments) for s in active]
    scoring = PACKED if config.shared_prefix else PADDED
    model.train()
    for part in scoring.split(active, layouts, config.micro_batch_tokens):
        chosen = [active[i] for i in part]
        with autocast(config.precision, model.device):
            scores = scoring.score(
                model, trainer.features, chosen, [layouts[i] for i in part],
                temperature=config.sampling.temperature, forbidden_ids=model.renderer.forbidden_ids,
            )  # fmt: skip
        out = grpo_loss(
            LossInputs(
                logp_T=scores.logp_N,
                behavior_logp_T=behavior_logprobs(chosen, model.device),
                advantage_T=repeat_per_token(chosen, [s.advantage for s in chosen], model.device),
                weight_T=repeat_per_token(chosen, [weights[i] for i in part], model.device),
                entropy_T=scores.entropy_N,
            ),
            config.grpo,
        )
        out.loss.backward()
        metrics.add_loss(out, sum(s.n_loss_tokens for s in chosen))
    at = trainer.step * config.updates_per_step + index
    total = config.steps * config.updates_per_step
    norm = optimizer_step(trainer.optimizer, step=at, total=total, config=config.optim)
    metrics.add_means({"grad_norm": norm}, sum(s.n_loss_tokens for s in active))
