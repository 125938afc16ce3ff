"""What each of many processes holds: by hand, and against the parts that two processes have."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.distributed.fsdp import FSDPModule

from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment, StopReason, Trajectory, Turn
from pixelreasoner.learn.learner import LearnerConfig
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.learn.processes import Processes
from pixelreasoner.learn.shard_memory import ShardMemory, split_modules
from pixelreasoner.learn.sharded import ShardedLearner
from pixelreasoner.learn.shards import local
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.scored_group import imitation
from pixelreasoner.objectives.sft import SftObjective
from processes_helpers import in_processes
from prompting import prompt_of

OPTIM = OptimConfig()


def copied(model: VisionLanguageModel, *, vision: bool) -> VisionLanguageModel:
    fresh = VisionLanguageModel(copy.deepcopy(model.hf).float(), model.renderer)
    fresh.requires_grad_(True)
    fresh.vision.requires_grad_(vision)
    return fresh


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("vision", [False, True])
def test_it_is_what_the_first_of_two_processes_has(model, picture, tmp_path, vision):
    """Weights, gradients and states tensor by tensor; FSDP splits the modules that are counted as layers."""
    renderer = model.renderer
    prompt = prompt_of(renderer, Task("a", "Which?", (picture(40, 24),), ()), ())
    turns = (Turn("K", sampled=Segment(renderer.encode("It reads K."))),)
    group = imitation(Trajectory(Task("a", "", (), ()), turns, StopReason.ANSWER, prompt=prompt))

    def work(processes: Processes) -> dict[str, object]:
        fresh = copied(model, vision=vision)
        made = ShardedLearner(
            fresh,
            SftObjective(),
            LearnerConfig(optim=OPTIM, total_updates=2),
            features=FeatureStore(fresh),
            processes=processes,
        )
        gradients: list[int] = []

        def watch(optimizer, args, kwargs) -> None:
            gradients.extend(
                local(p.grad).nbytes
                for g in optimizer.param_groups
                for p in g["params"]
                if p.grad is not None
            )

        made.optimizer.register_step_pre_hook(watch)
        made.update([group, group])
        states = [local(x) for state in made.optimizer.state.values() for x in state.values()]
        split = {name for name, module in fresh.named_modules() if isinstance(module, FSDPModule)}
        wanted = split_modules(fresh, whole_tower=not vision)
        return {
            "weights": sum(local(p).nbytes for p in fresh.parameters()),
            "gradients": sum(gradients),
            "states": sum(x.nbytes for x in states),
            "split": split == {name for name, module in fresh.named_modules() if module in wanted},
        }

    first, second = in_processes(2, tmp_path, work)
    found = ShardMemory.of(copied(model, vision=vision), OPTIM, 2, whole_tower=not vision)
    assert first.pop("split")
    assert first == {"weights": found.weights, "gradients": found.gradients, "states": found.states}
    assert all(second[name] <= size for name, size in first.items())


def test_on_one_process_nothing_is_split(qwen3_folder, load_model):
    fresh = copied(load_model(qwen3_folder), vision=True)
    whole = sum(p.nbytes for p in fresh.parameters())
    found = ShardMemory.of(fresh, OPTIM, 1, whole_tower=False)
    assert (found.weights, found.gradients) == (whole, whole)


def test_what_is_put_together_by_hand(qwen3_folder, load_model):
    """Two layers and the gradients of one; beside them embeddings, output layer and the last norm."""
    fresh = copied(load_model(qwen3_folder), vision=False)
    found = ShardMemory.of(fresh, OPTIM, 4, whole_tower=True)
    layer = sum(p.numel() for p in fresh.decoder.layers[0].parameters())
    config = fresh.decoder.config
    heads, kv, width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    assert layer == 2 * 32 * heads * width + 2 * 32 * kv * width + 2 * width + 3 * 32 * 48 + 2 * 32
    assert found.layers == 3 * 4 * layer
    vocabulary = config.vocab_size
    tied = fresh.hf.lm_head.weight is fresh.decoder.embed_tokens.weight
    assert found.rest == 2 * 4 * ((1 if tied else 2) * vocabulary * 32 + 32)
    halves = ShardMemory.of(fresh, OPTIM, 4, whole_tower=True, collected=torch.bfloat16)
    assert (halves.layers, halves.rest) == (found.layers // 2, found.rest)
