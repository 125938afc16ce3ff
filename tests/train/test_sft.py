"""When tuning ends, and that it goes on where it stopped."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelreasoner.chat.layout import Layout
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.samples import TrainSample
from pixelreasoner.train.optim import OptimConfig
from pixelreasoner.train.sft import SMOOTHED, SFTConfig, SFTTrainer
from prompting import prompt_of

CONFIG = SFTConfig(
    out=Path("unused"), data=Path("unused"), batch_size=1, precision="fp32", optim=OptimConfig(lr=2e-3)
)


@pytest.fixture
def data(model, picture) -> tuple[list[TrainSample], list[Layout]]:
    """Two short answers to learn."""
    renderer = model.renderer
    samples = []
    for text in ("It reads K.", "The red card"):
        prompt = prompt_of(renderer, Task("t", "Which?", (picture(24, 16),), ()), ())
        answer = Segment(renderer.encode(text))
        mask = np.array([False] * len(prompt.ids) + [True] * len(answer.ids))
        samples.append(TrainSample((prompt, answer), mask, np.zeros(len(mask), np.float32), advantage=1.0))
    return samples, [renderer.layout(s.segments) for s in samples]


def trainer(model: VisionLanguageModel, steps: int, **changes: object) -> SFTTrainer:
    """A run on a copy of the model."""
    fresh = VisionLanguageModel(copy.deepcopy(model.hf), model.renderer)
    return SFTTrainer(fresh, CONFIG.model_copy(update=changes), steps)


def go_on(run: SFTTrainer, data: tuple[list[TrainSample], list[Layout]], until: int) -> list[float]:
    """The losses of the steps up to `until`, or to the run's end."""
    samples, layouts = data
    losses = []
    while not run.done and run.step < until:
        index = run.draw(len(samples))
        losses.append(run.update([samples[i] for i in index], [layouts[i] for i in index])["loss"])
    return losses


def test_tuning_stops_once_the_mean_of_the_last_losses_is_low_enough(model, data):
    losses = go_on(trainer(model, 40), data, 40)
    assert len(losses) == 40
    means = [sum(losses[i - SMOOTHED : i]) / SMOOTHED for i in range(SMOOTHED, 41)]
    assert means[20] < means[5]
    between = (means[5] + means[20]) / 2
    first_below = next(i for i, mean in enumerate(means) if mean < between) + SMOOTHED
    stopped = go_on(trainer(model, 40, stop_below=between), data, 40)
    assert stopped == pytest.approx(losses[:first_below])


def test_a_loss_that_never_comes_down_uses_all_steps(model, data):
    assert len(go_on(trainer(model, 12, stop_below=-1.0), data, 40)) == 12


def test_a_resumed_run_equals_an_uninterrupted_one_and_stops_at_the_same_step(model, data):
    losses = go_on(trainer(model, 30), data, 30)
    enough = sum(losses[15 - SMOOTHED : 15]) / SMOOTHED + 1e-4
    whole = trainer(model, 30, stop_below=enough)
    go_on(whole, data, 30)
    first = trainer(model, 30, stop_below=enough)
    go_on(first, data, 7)
    second = trainer(model, 30, stop_below=enough)
    second.load_state_dict(first.state_dict())
    go_on(second, data, 30)
    assert second.step == whole.step <= 15
    for a, b in zip(second.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(a, b)
