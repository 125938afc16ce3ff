"""The learner of one process against padded rows and plain autograd."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from pixelreasoner.core.errors import NonFiniteError
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn
from pixelreasoner.learn.learner import LearnerConfig
from pixelreasoner.learn.local import LocalLearner
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.nano.padded import score_padded
from pixelreasoner.objectives.grpo import GrpoConfig, GrpoObjective, LossInputs, grpo_loss, sample_weights
from pixelreasoner.objectives.loss_mask import behavior_logprobs, loss_mask
from pixelreasoner.objectives.scored_group import ScoredGroup, imitation, score_group
from pixelreasoner.objectives.sft import SftObjective
from prompting import prompt_of

OBJECTIVE = GrpoObjective(GrpoConfig(normalization="sequence"), temperature=0.9)


@pytest.fixture
def own_model(model) -> VisionLanguageModel:
    """A copy that a test may change."""
    return VisionLanguageModel(copy.deepcopy(model.hf), model.renderer)


@pytest.fixture
def groups(renderer, picture) -> list[ScoredGroup]:
    """Two groups of two; one trajectory crops."""

    def written(prompt: Segment, text: str, crop=None, then: str = "It is K.") -> Trajectory:
        def sampled(words: str) -> Segment:
            ids = renderer.encode(words)
            return Segment(ids, logprobs=tuple(-5.0 - i / 10 for i in range(len(ids))))

        turns = [Turn(text, sampled=sampled(text))]
        if crop is not None:
            observation = Observation("Image 2:", (crop,))
            observed = renderer.observation(observation)
            turns = [Turn(text, sampled=sampled(text), observation=observation, observed=observed)]
            turns.append(Turn(then, sampled=sampled(then)))
        return Trajectory(Task("t", "", (), ()), tuple(turns), StopReason.ANSWER, prompt=prompt)

    a, b = (
        prompt_of(renderer, Task(name, "Which?", (picture(40, 24, seed),), ()), ())
        for seed, name in enumerate("ab")
    )
    first = written(a, "Closer.", picture(16, 24)), written(a, "K.")
    second = written(b, "It reads 7."), written(b, "The red")
    return [score_group(group, {"reward": [1.0, 0.25]}, scale="std") for group in (first, second)]


def learner(model: VisionLanguageModel, objective=OBJECTIVE, **changes) -> LocalLearner:
    """Plain gradient descent with a rate of 1, so that what the weights move by is the clipped gradient."""
    settings = {"optim": OptimConfig(lr=1.0, warmup=0.0, final=1.0, max_grad_norm=1e9), "total_updates": 3}
    made = LocalLearner(model, objective, LearnerConfig(**(settings | changes)), features=FeatureStore(model))
    made.optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return made


def padded_gradients(model: VisionLanguageModel, groups: list[ScoredGroup]) -> dict[str, torch.Tensor]:
    """Of the loss of all trajectories, each a row of its own."""
    trajectories = [y for group in groups for y in group.trajectories]
    advantages = [a for group in groups for a in group.advantages]
    counts = [int(loss_mask(y).sum()) for y in trajectories]

    def per_token(values) -> torch.Tensor:
        return torch.from_numpy(np.repeat(np.asarray(values, np.float32), counts))

    rows = [(model.renderer.layout(y.segments), loss_mask(y)) for y in trajectories]
    features = model.encode([block for layout, _ in rows for block in layout.blocks])
    scores = score_padded(model, rows, features, temperature=0.9, forbidden_ids=model.renderer.forbidden_ids)
    loss = grpo_loss(
        LossInputs(
            logp_T=scores.logp_N,
            behavior_logp_T=torch.from_numpy(np.concatenate([behavior_logprobs(y) for y in trajectories])),
            advantage_T=per_token(advantages),
            weight_T=per_token(sample_weights(counts, OBJECTIVE.config)),
        ),
        OBJECTIVE.config,
    ).loss
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("max_row_tokens", [10_000, 60, 1])
def test_one_step_descends_the_gradient_of_padded_rows(own_model, groups, max_row_tokens):
    """Whether all groups are in one row, each in its own, or each trajectory."""
    wanted = padded_gradients(own_model, groups)
    before = {name: p.detach().clone() for name, p in own_model.named_parameters()}
    metrics = learner(own_model, max_row_tokens=max_row_tokens).update(groups)
    for name, p in own_model.named_parameters():
        moved = before[name] - p.detach()
        expected = wanted.get(name, torch.zeros_like(p))
        torch.testing.assert_close(moved, expected, rtol=1e-5, atol=1e-7, msg=name)
    assert any("visual" in name for name in wanted)
    assert metrics["grad_norm"] == pytest.approx(
        torch.cat([g.flatten() for g in wanted.values()]).norm().item(), rel=1e-6
    )
    assert metrics["loss_tokens"] == sum(loss_mask(y).sum() for group in groups for y in group.trajectories)


def test_the_groups_are_shared_out_over_the_steps_of_an_update(own_model, groups):
    """Two steps on one group each are two updates of one step."""
    other = VisionLanguageModel(copy.deepcopy(own_model.hf), own_model.renderer)
    learner(own_model, steps_per_update=2).update(groups)
    one_by_one = learner(other)
    one_by_one.update(groups[:1])
    one_by_one.update(groups[1:])
    for a, b in zip(own_model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_each_picture_passes_a_trained_tower_once(own_model, groups):
    """Images of two prompts and one crop; two of them stand in two trajectories."""
    images = []
    own_model.vision.register_forward_pre_hook(
        lambda _, args, kwargs: images.append(len(kwargs["grid_thw"])), with_kwargs=True
    )
    learner(own_model).update(groups)
    assert images == [3]


def test_what_has_no_advantage_is_not_in_the_row(own_model, groups):
    first, second = groups
    silent = ScoredGroup(second.trajectories, {}, (1.0, 1.0), (0.0, 0.0))
    half = ScoredGroup(first.trajectories, {}, (1.0, 0.0), (1.0, 0.0))
    widths = []
    own_model.decoder.layers[0].register_forward_pre_hook(lambda _, args: widths.append(args[0].shape[1]))
    metrics = learner(own_model).update([half, silent])
    layout = own_model.renderer.layout(first.trajectories[0].segments)
    learned = loss_mask(first.trajectories[0])[layout.owner_T]
    assert widths == [np.flatnonzero(learned)[-1]]  # nothing is predicted from the last loss token
    assert metrics["loss_tokens"] == learned.sum()


def test_without_an_advantage_nothing_moves(own_model, groups):
    before = [p.detach().clone() for p in own_model.parameters()]
    silent = [ScoredGroup(g.trajectories, {}, (1.0, 1.0), (0.0, 0.0)) for g in groups]
    made = learner(own_model)
    assert made.update(silent) == {"loss_tokens": 0.0}
    assert made.n_updates == 1, "the schedule goes on"
    assert all(torch.equal(a, b) for a, b in zip(own_model.parameters(), before, strict=True))


def test_imitation_asks_for_no_log_probabilities_and_takes_the_model_as_it_is(own_model, groups):
    trajectory = groups[1].trajectories[0]
    layout, mask = own_model.renderer.layout(trajectory.segments), loss_mask(trajectory)
    with torch.no_grad():
        wanted = score_padded(own_model, [(layout, mask)], own_model.encode(layout.blocks)).logp_N
    unrecorded = Trajectory(
        trajectory.task,
        tuple(Turn("", sampled=Segment(t.sampled.ids)) for t in trajectory.turns),
        trajectory.stop,
        prompt=trajectory.prompt,
    )
    metrics = learner(own_model, SftObjective()).update([imitation(unrecorded)])
    assert metrics["loss"] == pytest.approx(-wanted.mean().item(), rel=1e-6)


def test_weights_are_the_models_own_tensors(own_model):
    found = dict(learner(own_model).weights())
    state = own_model.hf.state_dict()
    assert found.keys() == state.keys()
    assert all(found[name].data_ptr() == state[name].data_ptr() for name in state)


@dataclass(frozen=True)
class Broken(GrpoObjective):
    """Not a number for the groups with this many loss tokens in a row."""

    tokens: int = 0

    def __call__(self, scores, row):
        out = super().__call__(scores, row)
        return replace(out, loss=out.loss * torch.nan) if row.n_loss_tokens == self.tokens else out


def tokens_of(group: ScoredGroup) -> int:
    return sum(int(loss_mask(y).sum()) for y in group.trajectories)


def broken_at(group: ScoredGroup) -> Broken:
    return Broken(OBJECTIVE.config, OBJECTIVE.temperature, tokens_of(group))


def weights_of(model: VisionLanguageModel) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def test_a_step_without_a_finite_loss_is_skipped_and_the_other_is_taken(own_model, groups):
    """Of two steps the first has a loss that is not a number; what is left is one step on the second."""
    assert tokens_of(groups[0]) != tokens_of(groups[1])
    other = VisionLanguageModel(copy.deepcopy(own_model.hf), own_model.renderer)
    made = learner(own_model, broken_at(groups[0]), steps_per_update=2, max_skipped_steps=1)
    metrics = made.update(groups)
    wanted = learner(other).update(groups[1:])
    assert metrics == wanted | {"skipped_steps": 1.0}
    assert all(torch.equal(a, b) for a, b in zip(weights_of(own_model), weights_of(other), strict=True))
    assert made.n_updates == 1, "the schedule goes on"


def test_gradients_that_are_not_finite_are_dropped_with_their_step(own_model, groups):
    """The step after it is the one that would have been taken first."""
    other = VisionLanguageModel(copy.deepcopy(own_model.hf), own_model.renderer)
    made = learner(own_model, max_skipped_steps=1)
    before = weights_of(own_model)
    parameter = own_model.decoder.layers[0].mlp.down_proj.weight
    hook = parameter.register_hook(lambda gradient: gradient * torch.inf)
    assert made.update(groups) == {"loss_tokens": 0.0, "skipped_steps": 1.0}
    assert all(torch.equal(a, b) for a, b in zip(weights_of(own_model), before, strict=True))
    hook.remove()
    assert made.update(groups) == learner(other).update(groups)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(own_model), weights_of(other), strict=True))


def test_the_limit_is_on_steps_in_a_row(own_model, groups):
    """Two may be skipped: bad, bad, good, bad, bad, and the next bad one ends it; a good one begins anew."""
    bad, good = groups
    made = learner(own_model, broken_at(bad), max_skipped_steps=2)
    made.optimizer.param_groups[0]["lr"] = 0.0
    for group in (bad, bad, good, bad, bad):
        assert ("skipped_steps" in made.update([group])) == (group is bad)
    with pytest.raises(NonFiniteError, match="the loss is nan, after 2 steps in a row that were skipped"):
        made.update([bad])


def test_with_a_limit_of_zero_the_first_one_ends_it(own_model, groups):
    with pytest.raises(NonFiniteError, match=r"^the loss is nan$"):
        learner(own_model, broken_at(groups[0])).update(groups[:1])


def test_a_state_knows_how_many_were_skipped(own_model, groups):
    made = learner(own_model, broken_at(groups[0]), max_skipped_steps=1)
    made.update(groups[:1])
    again = learner(own_model, broken_at(groups[0]), max_skipped_steps=1)
    again.load_state_dict(made.state_dict())
    with pytest.raises(NonFiniteError, match="after 1 steps in a row"):
        again.update(groups[:1])
    old = {name: value for name, value in made.state_dict().items() if name != "n_skipped"}
    again.load_state_dict(old)
    assert again.n_skipped == 0, "states of before count none"


def test_weights_that_are_not_finite_end_it_whatever_the_limit(own_model, groups):
    made = learner(own_model, max_skipped_steps=3)
    next(own_model.decoder.layers.parameters()).data.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="the norm of the weights is nan"):
        made.update(groups)
