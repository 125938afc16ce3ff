"""What the learners of one process and of many share: gradients over packed rows, and optimiser steps."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pixelreasoner.core.errors import NonFiniteError
from pixelreasoner.learn.learner import LearnerConfig
from pixelreasoner.learn.metrics import UpdateMetrics
from pixelreasoner.learn.optim import check_weights, optimizer_step
from pixelreasoner.learn.processes import Processes
from pixelreasoner.learn.scoring import Scoring
from pixelreasoner.models.logprobs import TokenScores
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.objective import Objective
from pixelreasoner.objectives.packing import PackedRow
from pixelreasoner.objectives.scored_group import ScoredGroup


class PackedLearner(ABC):
    """Takes optimiser steps on groups; which process computes which rows is for its subclasses."""

    optimizer: torch.optim.Optimizer

    def __init__(
        self, scoring: Scoring, objective: Objective, config: LearnerConfig, processes: Processes
    ) -> None:
        self.model: VisionLanguageModel = scoring.model
        self.scoring, self.objective, self.config = scoring, objective, config
        self.processes = processes
        self.n_updates = 0
        self.n_skipped = 0
        """Steps that were left out since the last one that was taken."""

    @abstractmethod
    def rows(self, groups: Sequence[ScoredGroup]) -> Iterator[PackedRow]:
        """The rows of an optimiser step that this process computes; those of weight 0 are padding."""

    @abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a row's share of the loss."""

    def update(self, groups: Sequence[ScoredGroup]) -> dict[str, float]:
        """Share the groups out over the optimiser steps of an update; returns the metrics of its loss tokens.

        Raises:
            RecordError: a trajectory has no tokens, or lacks the sampler's log-probabilities.
            NonFiniteError: as `Learner.update`.
        """
        own, n_steps, skipped = UpdateMetrics(), self.config.steps_per_update, 0
        steps: list[tuple[dict[str, float], int]] = []
        self.model.train()
        for index in range(n_steps):
            before = copy.deepcopy(own)
            try:
                steps.append(self._step(groups[index::n_steps], self.n_updates * n_steps + index, own))
            except NonFiniteError as e:
                self._skip(e)
                own, skipped = before, skipped + 1
        check_weights(p for group in self.optimizer.param_groups for p in group["params"])
        self.n_updates += 1
        metrics = UpdateMetrics.joined(self.processes.gather(own))
        for means, n_tokens in steps:
            metrics.add_means(means, n_tokens)
        return metrics.result() | ({"skipped_steps": float(skipped)} if skipped else {})

    def rng_states(self) -> dict[str, Tensor]:
        """Of torch's generators in this process: the CPU's; and a CUDA device's, which draws dropout."""
        device = self.model.device
        own = {"torch_rng": torch.get_rng_state()}
        return own | ({"cuda_rng": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})

    def restore_rng(self, state: Mapping[str, Any]) -> None:
        """Give each process its own of the states of torch's generators; one without gets a new stream."""
        rank = self.processes.rank
        found = _each(state["torch_rng"])
        torch.set_rng_state(found[min(rank, len(found) - 1)])
        if rank >= len(found):
            torch.manual_seed(int(torch.randint(2**62, ())) + rank)
        device, on_device = self.model.device, _each(state.get("cuda_rng", ()))
        if device.type == "cuda" and rank < len(on_device):
            torch.cuda.set_rng_state(on_device[rank], device)

    def _skip(self, error: NonFiniteError) -> None:
        """Leave a step out: its gradients go. All processes do, as loss and norm are those of all of them.

        Raises:
            NonFiniteError: as many in a row were left out before as the configuration allows.
        """
        if self.n_skipped >= self.config.max_skipped_steps:
            before = f", after {self.n_skipped} steps in a row that were skipped for that"
            raise NonFiniteError(f"{error}{before if self.n_skipped else ''}") from error
        self.optimizer.zero_grad(set_to_none=True)
        self.n_skipped += 1

    def _step(
        self, groups: Sequence[ScoredGroup], step: int, own: UpdateMetrics
    ) -> tuple[dict[str, float], int]:
        """Accumulate the gradient over the rows of some groups, then take one optimiser step.

        Returns what holds for all of its loss tokens, and their number; without any, no step is taken.

        Raises:
            NonFiniteError: its loss or the norm of its gradient is not finite; no step is taken.
        """
        loss, n_tokens, n_pictures = 0.0, 0, 0
        for row in self.rows(groups):
            out = self.objective(TokenScores(*self.scoring(row)), row)
            self.backward(out.loss)
            if row.weight_N.any():
                own.add_loss(out, row.n_loss_tokens)
                loss += out.loss.item()
                n_tokens += row.n_loss_tokens
                n_pictures += len(row.layout.blocks)
        loss, all_tokens, all_pictures = self.processes.sum(loss, n_tokens, n_pictures)
        if all_tokens == 0:
            return {}, 0
        if not math.isfinite(loss):
            raise NonFiniteError(f"the loss is {loss}")
        if all_pictures == 0:
            # Padding has given the tower a gradient of zeros, and momentum would move it.
            for parameter in self.model.vision.parameters():
                parameter.grad = None
        total = self.config.total_updates * self.config.steps_per_update
        norm = optimizer_step(self.optimizer, step=step, total=total, config=self.config.optim)
        self.n_skipped = 0
        return {"loss": loss, "grad_norm": norm}, int(all_tokens)


def _each(states: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    """Of each process; a run in one has saved its own alone."""
    return [states] if isinstance(states, Tensor) else states
