"""Scores of samples do not depend on whether their groups share a prompt in memory."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.samples import TrainSample
from pixelreasoner.train.batches import score_samples
from pixelreasoner.train.shared_update import score_shared, shared_micro_batches
from prompting import prompt_of


@pytest.fixture
def model(model) -> VisionLanguageModel:
    """A copy that a test may change."""
    return VisionLanguageModel(copy.deepcopy(model.hf), model.renderer)


@pytest.fixture
def samples(renderer, picture) -> list[TrainSample]:
    """Two groups of two, their attempts in turn; one zooms in."""

    def sample(prompt: Segment, text: str, crop=None) -> TrainSample:
        segments = [prompt, Segment(renderer.encode(text))]
        if crop is not None:
            segments.append(renderer.observation(Observation("Image 2:", (crop,))))
            segments.append(Segment(renderer.encode("It is K.")))
        learned = [i % 2 == 1 for i in range(len(segments))]
        mask = np.concatenate(
            [np.full(len(s.ids), learn) for s, learn in zip(segments, learned, strict=True)]
        )
        return TrainSample(tuple(segments), mask, np.zeros(len(mask), np.float32), advantage=1.0)

    a, b = (
        prompt_of(renderer, Task(name, "Which?", (picture(40, 24, seed),), ()), ())
        for seed, name in enumerate("ab")
    )
    crop = picture(16, 24)
    return [sample(a, "Closer.", crop), sample(b, "It reads 7."), sample(a, "K."), sample(b, "The red")]


@pytest.mark.parametrize("frozen", [False, True])
def test_scores_are_those_of_single_samples(model, samples, frozen):
    layouts = [model.renderer.layout(s.segments) for s in samples]
    options = {"temperature": 0.9, "forbidden_ids": model.renderer.forbidden_ids}
    model.vision.requires_grad_(not frozen)
    with torch.no_grad():
        expected = score_samples(model, FeatureStore(model), samples, layouts, **options)
        found = score_shared(model, FeatureStore(model), samples, layouts, **options)
    torch.testing.assert_close(found.logp_N, expected.logp_N, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(found.entropy_N, expected.entropy_N, atol=1e-12, rtol=1e-12)


def test_each_picture_passes_a_learning_tower_once(model, samples):
    """Images of two prompts and one crop, which stand in the row four times."""
    samples = [*samples, samples[0]]
    layouts = [model.renderer.layout(s.segments) for s in samples]
    images = []
    model.vision.register_forward_pre_hook(
        lambda _, args, kwargs: images.append(len(kwargs["grid_thw"])), with_kwargs=True
    )
    scores = score_shared(model, FeatureStore(model), samples, layouts)
    assert images == [3]
    scores.logp_N.sum().backward()
    assert all(p.grad is not None for p in model.vision.patch_embed.parameters())


def test_micro_batches_hold_whole_groups(renderer, samples):
    layouts = [renderer.layout(s.segments) for s in samples]
    assert list(shared_micro_batches(samples, layouts, 10_000)) == [[0, 2, 1, 3]]
    # Two groups of two attempts without sharing are longer than this; each of them fits by itself.
    budget = len(layouts[0]) + len(layouts[2]) - 20
    assert list(shared_micro_batches(samples, layouts, budget)) == [[0, 2], [1, 3]]
    assert sorted(shared_micro_batches(samples, layouts, 1)) == [[0], [1], [2], [3]]
