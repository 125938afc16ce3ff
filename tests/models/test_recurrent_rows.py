"""Rows of a decoder with recurrent layers that share prompts, against one padded row per trajectory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pixelreasoner.learn.learner import LearnerConfig
from pixelreasoner.learn.local import LocalLearner
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.models.attention.shared_prefix import GroupSpan
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.logprobs import score_hidden, score_row
from pixelreasoner.nano.padded import score_padded
from pixelreasoner.objectives.loss_mask import loss_mask
from pixelreasoner.objectives.packing import pack_rows
from pixelreasoner.objectives.scored_group import imitation
from pixelreasoner.objectives.sft import SftObjective
from row_helpers import FORBIDDEN, assert_close, gradients, reference


@pytest.fixture
def folder(qwen35_folder):
    return qwen35_folder


def rows_of(model, groups):
    return list(
        pack_rows(
            [imitation(y) for y in groups(model.renderer)],
            lambda y: model.renderer.layout(y.segments),
            max_tokens=10_000,
            token_weights=lambda counts: [1.0] * len(counts),
            behavior=False,
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
    rows = rows_of(model, groups)
    assert len(rows) == 1
    assert rows[0].plan.across, "no prompt is shared"
    found = scored(model, rows)
    joined = type(expected)(*(torch.cat([getattr(x, n) for x in found]) for n in ("logp_N", "entropy_N")))
    torch.testing.assert_close(joined.logp_N, expected.logp_N, atol=2e-6, rtol=2e-6)
    torch.testing.assert_close(joined.entropy_N, expected.entropy_N, atol=2e-6, rtol=2e-6)
    assert_close(gradients(model, joined), wanted, rtol=5e-5)


def test_the_plan_is_needed(trained, groups):
    """Without it a state would pass from one sequence to the next, and give other numbers without a word."""
    model = trained(torch.float32)
    with torch.no_grad():
        expected = reference(model, groups)
        (row,) = rows_of(model, groups)
        alone = replace(row.plan, groups=(GroupSpan(row.plan.n_tokens),))
        features = model.encode(row.layout.blocks)
        hidden = [
            model(model.embed([row.layout], features, left=False), shared_prefix=plan)[0]
            for plan in (row.plan, alone)
        ]
        target = torch.from_numpy(row.target_N)
        found, wrong = (
            score_hidden(model, x[row.at_N], target, temperature=0.7, forbidden_ids=FORBIDDEN) for x in hidden
        )
    assert (found.logp_N - expected.logp_N).abs().max() < 1e-5
    assert (wrong.logp_N - expected.logp_N).abs().max() > 1e-4


def test_the_learner_has_the_loss_of_padded_rows(trained, groups):
    model = trained(torch.float32)
    config = LearnerConfig(optim=OptimConfig(lr=1e-4), total_updates=1)
    learner = LocalLearner(model, SftObjective(), config, features=FeatureStore(model))
    trajectories = groups(model.renderer)
    metrics = learner.update([imitation(y) for y in trajectories])
    again = trained(torch.float32)
    rows = [(again.renderer.layout(y.segments), loss_mask(y)) for y in trajectories]
    features = again.encode([block for layout, _ in rows for block in layout.blocks])
    with torch.no_grad():
        expected = -score_padded(again, rows, features).logp_N.mean().item()
    assert metrics["loss"] == pytest.approx(expected, rel=1e-5)
