"""The learner of many processes: FSDP2 holds a part of the weights, gradients and optimiser states on each.

One module is the root, whose forward is the scoring of a row (`learn.scoring`): the embeddings and the output
layer are called outside the decoder's forward, and could not be roots of their own. Below it each decoder
layer is split for itself, and each block of a tower that is trained. A fixed tower is whole on every process.

All processes take the same steps at the same time, because each pass through a layer collects its weights:

* each owns the groups that `balanced_shares` gives it, and packs them into rows;
* for as long as any process has a row left, the others compute a row of weight 0;
* a row without a picture passes a trained tower with a blank one.

FSDP takes the mean of the gradients over processes; the weights of the loss are those of the whole batch, so
each loss is multiplied by the number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from pixelreasoner.core.trajectory import Segment
from pixelreasoner.learn.learner import LearnerConfig
from pixelreasoner.learn.optimizers import new_optimizer
from pixelreasoner.learn.packed import PackedLearner
from pixelreasoner.learn.processes import Processes
from pixelreasoner.learn.scoring import Scoring
from pixelreasoner.learn.shard_memory import split_modules
from pixelreasoner.learn.shards import cut_like, local, whole
from pixelreasoner.learn.shares import TrainingFlops, balanced_shares
from pixelreasoner.models.adapters import adapter_weights, merged_weights
from pixelreasoner.models.config import Precision
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.objective import Objective
from pixelreasoner.objectives.packing import LayoutOf, PackedRow, pack_rows, padding_row
from pixelreasoner.objectives.scored_group import ScoredGroup


class ShardedLearner(PackedLearner):
    """A `Learner` whose methods all processes of the run call together, with the same groups."""

    def __init__(
        self,
        model: VisionLanguageModel,
        objective: Objective,
        config: LearnerConfig,
        *,
        features: FeatureStore,
        processes: Processes,
        precision: Precision = "fp32",
        layout_of: LayoutOf | None = None,
    ) -> None:
        """A learner for the parameters of `model` that take gradients; the model is split in place.

        Args:
            model: the same on every process.
            objective: what is minimised.
            config: schedule, row length.
            features: of pictures.
            processes: those of the run.
            precision: of the matrix products.
            layout_of: lays out a trajectory; None for the model's renderer, each time anew.

        Raises:
            ConfigError: the optimiser is not there, or does not work with the model's weights.
        """
        scoring = Scoring(model, features, objective, precision=precision, always_sees=not features.remembers)
        super().__init__(scoring, objective, config, processes)
        self._flops = TrainingFlops.of(model)  # of whole weights
        self._layout_of = layout_of or (lambda trajectory: model.renderer.layout(trajectory.segments))
        mesh = init_device_mesh(model.device.type, (processes.size,))
        shard(scoring, mesh, precision=precision, whole_tower=features.remembers)
        self.optimizer = new_optimizer(model.parameters(), config.optim, n_processes=processes.size)

    def rows(self, groups: Sequence[ScoredGroup]) -> Iterator[PackedRow]:
        """The rows of this process's groups, then padding until no process has a row left."""
        costs = [self._flops.of_group(group, self._length_of) for group in groups]
        rows = pack_rows(
            groups,
            self._layout_of,
            max_tokens=self.config.max_row_tokens,
            token_weights=self.objective.token_weights,
            behavior=self.objective.sampled_by_policy,
            chosen=balanced_shares(costs, self.processes.size)[self.processes.rank],
        )
        while True:
            row: PackedRow | None = None
            with self.processes.agreed():  # a picture's file may be gone
                row = next(rows, None)
            if not self.processes.any(row is not None):
                return
            yield self._padding if row is None else row

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a row's share of the loss."""
        (loss * self.processes.size).backward()

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """All weights, adapters merged in, whole and one after the other: no process holds two of them.

        All processes go through it to its end.
        """
        with torch.no_grad():
            for name, tensor in merged_weights(self.model.hf):
                yield name, whole(tensor)

    def state_dict(self) -> dict[str, Any]:
        """As `LocalLearner.state_dict`, of which each process holds its part of the tensors."""
        return {
            "n_updates": self.n_updates,
            "n_skipped": self.n_skipped,
            "model": self.model.hf.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **{name: self.processes.gather(own) for name, own in self.rng_states().items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of as many processes, of others, or of one."""
        self.n_updates, self.n_skipped = state["n_updates"], state.get("n_skipped", 0)
        own = self.model.hf.state_dict()
        assert own.keys() == state["model"].keys(), "a state of another model"
        with torch.no_grad():
            for name, tensor in own.items():
                local(tensor).copy_(local(cut_like(state["model"][name], tensor)))
        self.optimizer.load_state_dict(self._cut_states(state["optimizer"]))
        self.restore_rng(state)

    def save(self, folder: Path) -> None:
        """Write a complete checkpoint folder, by the main process."""
        main = self.processes.is_main
        source = self.weights() if self.model.merge_on_save else self._adapters()
        weights: dict[str, Tensor] = {}
        for name, tensor in source:
            if main:
                weights[name] = tensor.detach().cpu()
        self.processes.on_main(lambda: save_checkpoint(self.model, folder, weights=weights))

    def _adapters(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in adapter_weights(self.model.hf).items():
            yield name, whole(tensor)

    def _length_of(self, segment: Segment, prompt: bool) -> int:
        return self.model.renderer.n_tokens(segment, prompt=prompt)

    @cached_property
    def _padding(self) -> PackedRow:
        renderer = self.model.renderer
        return padding_row(renderer.layout((Segment(renderer.encode("a")[-2:]),)))

    def _cut_states(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The state of an optimiser with each tensor split as its parameter is."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        cut = {
            index: {
                name: cut_like(value, parameters[index])
                if isinstance(value, Tensor) and value.shape == parameters[index].shape
                else value
                for name, value in values.items()
            }
            for index, values in state["state"].items()
        }
        return {**state, "state": cut}


def shard(scoring: Scoring, mesh: DeviceMesh, *, precision: Precision, whole_tower: bool) -> None:
    """Split the weights of a scoring over the processes of a mesh, in place.

    Gradients of weights in bf16 are added up in float32. Layers collect their weights in the precision of the
    matrix products: autocast then has nothing to copy, and no process ever holds a whole model of copies.

    Args:
        scoring: over whole weights.
        mesh: of one dimension.
        precision: of the matrix products.
        whole_tower: leave the tower as it is; nothing of it may take gradients then.
    """
    model = scoring.model
    dtype = torch.bfloat16 if precision == "bf16" and model.dtype != torch.bfloat16 else None
    summed = torch.float32 if torch.bfloat16 in (dtype, model.dtype) else None
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=summed, cast_forward_inputs=False)
    for module in split_modules(model, whole_tower=whole_tower):
        fully_shard(module, mesh=mesh, mp_policy=policy)
    tower = set(model.vision.parameters())
    fully_shard(
        scoring,
        mesh=mesh,
        mp_policy=MixedPrecisionPolicy(reduce_dtype=summed, cast_forward_inputs=False),
        ignored_params=tower if whole_tower else None,
    )
