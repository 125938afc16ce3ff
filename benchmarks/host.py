"""Host memory of a whole run: SFT data, a replay buffer, many steps of RL; and the size of the state.

Each part is measured in a process of its own, as it is started by anyone: no setting of the allocator. What
is reported is the resident size of all of it, Python, torch and the libraries included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.memory import high_water, resident, start_high_water
from benchmarks.photos import GROUP, Photos, rollouts_of, sft_rows
from benchmarks.train import CPU, Record, machine, quiet
from pixelreasoner.chat.chat_format import ChatFormat, PixelBudget, Wording
from pixelreasoner.chat.encode import encode_trajectory
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.core.media import DECODED, PICTURE_BYTES
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.trajectory import Group
from pixelreasoner.learn.factory import Factory
from pixelreasoner.learn.learner import LearnerConfig
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.learn.state import load_state, save_state
from pixelreasoner.models.config import ModelConfig, TrainableParts
from pixelreasoner.models.vlm import renderer_of
from pixelreasoner.nano.scratch import Architecture, new_checkpoint
from pixelreasoner.objectives.grpo import GrpoConfig, GrpoObjective
from pixelreasoner.objectives.packing import pack_rows
from pixelreasoner.objectives.replay import ReplayBuffer
from pixelreasoner.objectives.scored_group import ScoredGroup, score_group
from pixelreasoner.objectives.sft import SftObjective
from pixelreasoner.tasks.config import build_tasks
from pixelreasoner.train.rl import RLConfig, build
from pixelreasoner.train.sft_data import SftData

QWEN_BUDGET = PixelBudget(min_pixels=256 * 28 * 28, max_pixels=5120 * 28 * 28)
"""What a picture is shown with in the first two parts: 4 megapixels at most, some 4,000 tokens."""
SMALL_BUDGET = PixelBudget(min_pixels=16 * 16, max_pixels=32 * 32)
ROW_TOKENS = 16_384
FROZEN_TOWER = TrainableParts(vision=False)
SAMPLED_GROUPS = 8


def run(*, rows: int, read: int, groups: int, batch: int, steps: int, state_every: int) -> Iterator[Record]:
    """The machine, then a record for each part that has something to measure.

    Args:
        rows: of the SFT file.
        read: rows of it that are laid out for training, in a random order, after the first pass.
        groups: in the replay buffer.
        batch: groups of 8 rollouts that are learned from in one step.
        steps: of RL.
        state_every: steps between two states.
    """
    yield machine(CPU) | {"left_out": []}
    parts = {
        "sft": {"rows": rows, "read": read} if rows else None,
        "replay": {"groups": groups} if groups else None,
        "batch": {"groups": batch} if batch else None,
        "rl": {"steps": steps, "state_every": state_every} if steps else None,
    }
    for part, sizes in parts.items():
        if sizes is not None:
            yield from _in_process({"part": part, **sizes})


def measure(request: Mapping[str, Any]) -> list[Record]:
    """The records of one part, in this process."""
    quiet()
    torch.set_num_threads(1)
    sizes = dict(request)
    part = {"sft": sft, "replay": replay, "batch": batch, "rl": rl}[sizes.pop("part")]
    with tempfile.TemporaryDirectory(prefix="pixelreasoner-bench-") as folder:
        began = time.perf_counter()
        return [r | {"seconds": time.perf_counter() - began} for r in part(Path(folder), **sizes)]


def sft(folder: Path, *, rows: int, read: int) -> Iterator[Record]:
    """Reads a file of `rows` trajectories as `sft` does, then lays `read` of them out in packed rows."""
    renderer = _renderer(folder, QWEN_BUDGET)
    photos, path = Photos(), folder / "data.jsonl"
    write_trajectories(path, islice(sft_rows(photos), rows))
    DECODED.clear()
    start = start_high_water()
    data = SftData(path, lambda y: encode_trajectory(y, renderer, ()), renderer.layout)
    first_pass = resident()
    chosen = np.random.default_rng(0).permutation(len(data))[:read].tolist()
    packed = pack_rows(
        [data[i] for i in chosen],
        data.layout_of,
        max_tokens=ROW_TOKENS,
        token_weights=SftObjective().token_weights,
        behavior=False,
    )
    n_tokens = sum(len(row) for row in packed)
    yield {
        "kind": "host",
        "what": f"{rows:,} SFT rows, {read} of them trained on",
        "pixel_bytes": rows * photos.pixel_bytes,
        "start_bytes": start,
        "then_bytes": first_pass,
        "peak_bytes": high_water(),
        "tokens": n_tokens,
    }


def replay(folder: Path, *, groups: int) -> Iterator[Record]:
    """Fills a buffer with groups of 8 rollouts that crop, samples from it, saves it, and reads it back."""
    renderer = _renderer(folder, QWEN_BUDGET)
    photos, random = Photos(), np.random.default_rng(0)
    photos.write(folder / "tasks", groups)
    start = start_high_water()
    buffer = ReplayBuffer(groups, np.random.default_rng(0))
    for number in range(groups):
        made = rollouts_of(photos.load(folder / "tasks", number), number, random, renderer)
        for trajectory in made:
            renderer.layout(trajectory.segments)  # as the sampler has it
        buffer.add([_scored(made)])
    filled = resident()
    for group in buffer.sample(SAMPLED_GROUPS):
        for trajectory in group.trajectories:
            renderer.layout(trajectory.segments)
    state = folder / "run" / "state.pt"
    state.parent.mkdir()
    save_state(state, {"replay": buffer.state_dict()})
    assert len(buffer) == groups
    back = load_state(state)
    assert back is not None
    assert len(back["replay"]["groups"]) == groups
    yield {
        "kind": "host",
        "what": f"replay of {groups} groups of 8, filled, sampled, saved, read back",
        "pixel_bytes": groups * photos.pixel_bytes,
        "start_bytes": start,
        "then_bytes": filled,
        "peak_bytes": high_water(),
        "state_bytes": state.stat().st_size,
    }


def batch(folder: Path, *, groups: int) -> Iterator[Record]:
    """One update on groups of 8 rollouts of 4 megapixels each, of a model with next to no weights.

    The learner is that of a run: rows are laid out one after the other, and the pictures pass its tower.
    """
    renderer = _renderer(folder, QWEN_BUDGET)
    photos, random = Photos(), np.random.default_rng(0)
    photos.write(folder / "tasks", groups)
    config = ModelConfig(checkpoint=str(folder / "checkpoint"), device="cpu", train=FROZEN_TOWER)
    start = start_high_water()
    made = [
        _scored(rollouts_of(photos.load(folder / "tasks", number), number, random, renderer))
        for number in range(groups)
    ]
    rolled_out = resident()
    learner = Factory(config, Wording()).learner(
        GrpoObjective(GrpoConfig()),
        LearnerConfig(optim=OptimConfig(), total_updates=1, max_row_tokens=ROW_TOKENS),
    )
    metrics = learner.update(made)
    assert metrics["grad_norm"] > 0, "nothing was learned from: the part is empty"
    yield {
        "kind": "host",
        "what": f"an RL batch of {groups * GROUP} rollouts, learned from, with next to no weights",
        "pixel_bytes": groups * photos.pixel_bytes,
        "start_bytes": start,
        "then_bytes": rolled_out,
        "peak_bytes": high_water(),
    }


def _scored(group: Group) -> ScoredGroup:
    """Every other rollout of a group is right."""
    return score_group(group, {"correctness": [float(i % 2) for i in range(len(group))]}, scale="std")


def rl(folder: Path, *, steps: int, state_every: int) -> Iterator[Record]:
    """RL of a tiny model on PixelWorld: the resident size after each step, and the state's size now and then.

    The reward is a number that differs between rollouts, so that every step learns and fills the buffer.
    """
    _renderer(folder, SMALL_BUDGET)
    config = RLConfig.model_validate({
        "out": folder / "run", "steps": steps, "tasks_per_step": 3, "group_size": 4,
        "model": {"checkpoint": str(folder / "checkpoint"), "device": "cpu", "precision": "fp32"},
        "tasks": {"options": {"kinds": ["attribute"]}},
        "interaction": {"sampling": {"max_tokens": 8}, "limits": {"max_operations": 1}},
        "rewards": {"first_token": {"use": "benchmarks.photos:first_token"}},
    })  # fmt: skip
    config.out.mkdir()
    trainer, source = build(config), build_tasks(config.tasks, endless=True)
    resident_bytes: list[int] = []
    states: list[tuple[int, int]] = []
    n_replay: list[int] = []
    for step in range(1, steps + 1):
        start = (step - 1) * config.tasks_per_step
        trainer.train_step(list(source.take(start, config.tasks_per_step)))
        if step % state_every == 0:
            save_state(config.out / "state.pt", trainer.state_dict())
            states.append((step, (config.out / "state.pt").stat().st_size))
            n_replay.append(len(trainer.replay))
        resident_bytes.append(resident())
    yield {
        "kind": "growth",
        "what": f"{steps} steps of RL, a tiny model",
        "resident_bytes": resident_bytes,
        "states": states,
        "replay_groups": n_replay,
        "peak_bytes": high_water(),
    }


def _renderer(folder: Path, budget: PixelBudget) -> QwenVLRenderer:
    """That of a tiny checkpoint, written to `folder / "checkpoint"`."""
    checkpoint = folder / "checkpoint"
    new_checkpoint(
        checkpoint,
        architecture=Architecture(
            vocab_size=1500, hidden_size=32, layers=2, heads=2, kv_heads=1, intermediate_size=48,
            vision_hidden_size=16, vision_depth=1, vision_heads=2, vision_intermediate_size=32,
            position_grid=4,
        ),
        chat_format=ChatFormat(system="", guideline="", image=budget, crop=budget, video_frame=budget),
        corpus=["Which letter is on the red card? It reads K."] * 50,
        seed=0,
    )  # fmt: skip
    return renderer_of(checkpoint)


def _in_process(request: Mapping[str, Any]) -> list[Record]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.host"],
        input=json.dumps(request), capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"the process that measures memory failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    assert DECODED.max_bytes == PICTURE_BYTES
    sys.stdout.write(f"{json.dumps(measure(json.load(sys.stdin)))}\n")
