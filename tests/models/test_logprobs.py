"""Scores of loss tokens against a plain log-softmax over everything."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment
from pixelreasoner.models import logprobs
from pixelreasoner.nano.padded import score_padded
from prompting import prompt_of


@pytest.fixture
def rows(model, picture):
    """Two conversations of different lengths, the model's words marked; a third without any."""
    renderer = model.renderer
    out = []
    for question, said in (
        ("Which number is on the red card?", "It reads 7."),
        ("q", "It is the K."),
        ("q", ""),
    ):
        segments = [prompt_of(renderer, Task("a", question, (picture(24, 16),), ()), ())]
        n_prompt = len(segments[0].ids)
        if said:
            segments.append(Segment(renderer.encode(said)))
        mask = np.zeros(sum(len(s.ids) for s in segments), dtype=bool)
        mask[n_prompt:] = True
        out.append((renderer.layout(segments), mask))
    return out


def reference(model, rows, *, temperature=1.0, forbidden=()):
    """One row at a time, all positions, no padding."""
    logps, entropies = [], []
    for layout, mask in rows:
        hidden = model(model.embed([layout], model.encode(layout.blocks), left=False))
        scores = model.logits(hidden)[0] / temperature
        scores[:, list(forbidden)] = -torch.inf
        log_p = scores.log_softmax(-1)
        for t in range(1, len(layout)):
            if mask[layout.owner_T[t]]:
                logps.append(log_p[t - 1, layout.ids_T[t]])
                entropies.append(torch.distributions.Categorical(logits=log_p[t - 1]).entropy())
    return torch.stack(logps), torch.stack(entropies)


def blocks_of(rows):
    return [block for layout, _ in rows for block in layout.blocks]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("chunk", [1, 5, 4096])
def test_scores_are_those_of_a_plain_log_softmax(model, rows, temperature, chunk, monkeypatch):
    monkeypatch.setattr(logprobs, "CHUNK", chunk)
    scores = score_padded(model, rows, model.encode(blocks_of(rows)), temperature=temperature)
    logp, entropy = reference(model, rows, temperature=temperature)
    torch.testing.assert_close(scores.logp_N, logp, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(scores.entropy_N, entropy, atol=1e-10, rtol=1e-10)
    assert not scores.entropy_N.requires_grad


def test_chunks_are_shorter_with_a_large_vocabulary(model, rows, monkeypatch):
    sizes = []
    hook = model.hf.lm_head.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    monkeypatch.setattr(logprobs, "CHUNK_SCORES", 3 * model.hf.lm_head.out_features)
    with torch.no_grad():
        score_padded(model, rows, model.encode(blocks_of(rows)))
    hook.remove()
    assert max(sizes) == 3 < sum(sizes)


@pytest.mark.parametrize("chunk", [2, 4096])
def test_gradients(model, rows, chunk, monkeypatch):
    monkeypatch.setattr(logprobs, "CHUNK", chunk)

    def gradients(logp_N) -> dict[str, torch.Tensor]:
        model.zero_grad()
        (logp_N * torch.linspace(-1, 1, len(logp_N), dtype=logp_N.dtype)).sum().backward()
        found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        model.zero_grad()
        return found

    ours = gradients(score_padded(model, rows, model.encode(blocks_of(rows)), temperature=0.8).logp_N)
    theirs = gradients(reference(model, rows, temperature=0.8)[0])
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        # Norms are computed in float32 inside transformers.
        torch.testing.assert_close(gradient, theirs[name], atol=1e-6, rtol=1e-6, msg=name)


def test_forbidden_tokens_have_no_probability(model, rows):
    forbidden = model.renderer.forbidden_ids
    features = model.encode(blocks_of(rows))
    scores = score_padded(model, rows, features, forbidden_ids=forbidden)
    logp, entropy = reference(model, rows, forbidden=forbidden)
    torch.testing.assert_close(scores.logp_N, logp, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(scores.entropy_N, entropy, atol=1e-10, rtol=1e-10)
    assert (scores.logp_N > score_padded(model, rows, features).logp_N).all()


def test_nothing_to_score(model, rows):
    scores = score_padded(model, rows[2:], model.encode(blocks_of(rows[2:])))
    assert scores.logp_N.shape == scores.entropy_N.shape == (0,)
    scores.logp_N.sum().backward()
    model.zero_grad()


def test_a_first_token_cannot_be_predicted(model, rows):
    layout, mask = rows[0]
    with pytest.raises(AssertionError, match="first token"):
        score_padded(model, [(layout, np.ones_like(mask))], model.encode(layout.blocks))
