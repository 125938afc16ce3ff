"""Rows of a decoder with recurrent layers, one sequence each, against one padded row per trajectory."""

from __future__ import annotations

import pytest
import torch

from pixelreasoner.models.logprobs import score_row
from pixelreasoner.objectives.packing import pack_rows
from pixelreasoner.objectives.scored_group import imitation
from row_helpers import FORBIDDEN, assert_close, gradients, reference


@pytest.fixture
def folder(qwen35_folder):
    return qwen35_folder


def rows_of(model, groups, *, share_prompts):
    return list(
        pack_rows(
            [imitation(y) for y in groups(model.renderer)],
            lambda y: model.renderer.layout(y.segments),
            max_tokens=10_000,
            token_weights=lambda counts: [1.0] * len(counts),
            behavior=False,
            share_prompts=share_prompts,
        )
    )


def scored(model, rows):
    features = model.encode(block for row in rows for block in row.layout.blocks)
    return [score_row(model, row, features, temperature=0.7, forbidden_ids=FORBIDDEN) for row in rows]


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
def test_scores_and_gradients(trained, groups, checkpointing):
    model = trained(torch.float32)
    expected = reference(model, groups)
    wanted = gradients(model, expected)
    assert any("linear_attn" in name for name in wanted)
    assert any("visual" in name for name in wanted)
    if checkpointing:
        model.hf.gradient_checkpointing_enable({"use_reentrant": False})
    rows = rows_of(model, groups, share_prompts=False)
    assert len(rows) == len(groups(model.renderer))
    found = scored(model, rows)
    joined = type(expected)(*(torch.cat([getattr(x, n) for x in found]) for n in ("logp_N", "entropy_N")))
    torch.testing.assert_close(joined.logp_N, expected.logp_N, atol=2e-6, rtol=2e-6)
    torch.testing.assert_close(joined.entropy_N, expected.entropy_N, atol=2e-6, rtol=2e-6)
    assert_close(gradients(model, joined), wanted, rtol=5e-5)


def test_a_row_of_several_sequences_is_refused(trained, groups):
    """It would give other numbers without a word: a state passes from one sequence to the next."""
    model = trained(torch.float32)
    (row,) = rows_of(model, groups, share_prompts=True)
    with pytest.raises(AssertionError, match="from sequence to sequence"):
        scored(model, [row])


def test_the_refusal_is_needed(trained, groups, monkeypatch):
    model = trained(torch.float32)
    with torch.no_grad():
        expected = reference(model, groups)
        (row,) = rows_of(model, groups, share_prompts=True)
        monkeypatch.setattr(type(model), "recurrent", False)
        (found,) = scored(model, [row])
    assert (found.logp_N - expected.logp_N).abs().max() > 1e-4


def test_the_learner_gives_each_trajectory_its_row(trained, groups):
    """Its loss is that of the padded rows."""
    from pixelreasoner.learn.learner import LearnerConfig
    from pixelreasoner.learn.local import LocalLearner
    from pixelreasoner.learn.optim import OptimConfig
    from pixelreasoner.models.features import FeatureStore
    from pixelreasoner.objectives.sft import SftObjective

    model = trained(torch.float32)
    config = LearnerConfig(optim=OptimConfig(lr=1e-4), total_updates=1)
    learner = LocalLearner(model, SftObjective(), config, features=FeatureStore(model))
    trajectories = groups(model.renderer)
    metrics = learner.update([imitation(y) for y in trajectories])
    again = trained(torch.float32)
    from pixelreasoner.nano.padded import score_padded
    from pixelreasoner.objectives.loss_mask import loss_mask

    rows = [(again.renderer.layout(y.segments), loss_mask(y)) for y in trajectories]
    features = again.encode([block for layout, _ in rows for block in layout.blocks])
    with torch.no_grad():
        expected = -score_padded(again, rows, features).logp_N.mean().item()
    assert metrics["loss"] == pytest.approx(expected, rel=1e-5)
