"""The RL loop on a model of a few thousand weights: what is learned, what is refused, what is logged."""

import ast
import json
from pathlib import Path

import pytest
import torch

from pixelreasoner.core.errors import ConfigError, NonFiniteError
from pixelreasoner.core.recipe import load_recipe
from pixelreasoner.core.trajectory import StopReason
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.grpo import GrpoConfig
from pixelreasoner.objectives.scored_group import score_group
from pixelreasoner.objectives.truncation import nothing_to_learn
from pixelreasoner.train import rl
from pixelreasoner.train.rl import ReplayConfig, RLConfig, RLTrainer, build
from rl_helpers import config, first_token_rewards, rows_of, tasks_of, weights


def test_a_frozen_tower_does_not_move_and_a_free_one_does(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr(RLTrainer, "score", first_token_rewards)
    start = VisionLanguageModel.load(checkpoint).hf.state_dict()
    for freeze in (True, False):
        run = config(tmp_path / str(freeze), checkpoint, train={"vision": not freeze}, steps=2)
        rl.run(run)
        now = weights(run.out)
        moved = {name for name in start if not torch.equal(start[name], now[name])}
        assert any(".visual." in name for name in moved) is (not freeze)
        assert any("language_model" in name for name in moved)


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_embeddings_and_output_layer_do_not_move_and_free_ones_do(
    tmp_path, checkpoint, monkeypatch, freeze
):
    monkeypatch.setattr(RLTrainer, "score", first_token_rewards)
    before = VisionLanguageModel.load(checkpoint).hf.state_dict()
    run = config(tmp_path / "run", checkpoint, train={"embeddings": not freeze}, steps=2)
    rl.run(run)
    after = weights(run.out)
    vectors = {name for name in before if "embed_tokens" in name or "lm_head" in name}
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert vectors
    assert vectors.isdisjoint(moved) if freeze else vectors <= moved
    assert any("mlp" in name for name in moved), "the rest is trained either way"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"interaction": {"sampling": {"max_tokens": 100_000}}}, "max_tokens = 100000 .* 8192 positions"),
        (
            {"eval_every": 1, "eval": {"sampling": {"max_tokens": 9000}}},
            "max_tokens = 9000 .* 8192 positions",
        ),
    ],
)
def test_messages_longer_than_the_model_reads_are_refused(tmp_path, checkpoint, changes, words):
    with pytest.raises(ConfigError, match=words):
        build(config(tmp_path / "run", checkpoint, **changes))


def test_a_checkpoint_whose_weights_are_not_finite(tmp_path, checkpoint):
    """Case C28: nothing is saved of it."""
    model = VisionLanguageModel.load(checkpoint)
    model.hf.lm_head.weight.data.fill_(torch.nan)
    save_checkpoint(model, tmp_path / "broken")
    run = config(tmp_path / "run", tmp_path / "broken", steps=1, tasks_per_step=1)
    with pytest.raises(
        NonFiniteError, match="scores are not finite: training has diverged, or the checkpoint"
    ):
        rl.run(run)
    assert not (run.out / "model").exists()


def test_groups_without_an_advantage_change_nothing(tmp_path, checkpoint):
    """A random model gets every task wrong in the same way: there is nothing to learn, and nothing moves."""
    run = config(tmp_path / "run", checkpoint, steps=2, replay=ReplayConfig(enabled=False))
    rl.run(run)
    start, now = VisionLanguageModel.load(checkpoint).hf.state_dict(), weights(run.out)
    rows = [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]
    assert [row["zero_advantage_groups"] for row in rows] == [1.0, 1.0]
    assert all(torch.equal(start[name], now[name]) for name in start)


def test_the_first_update_is_on_policy(tmp_path, checkpoint, monkeypatch):
    """The trainer's log-probabilities are the sampler's, so the ratio of the first update is one."""
    monkeypatch.setattr(RLTrainer, "score", first_token_rewards)
    run = config(tmp_path / "run", checkpoint, updates_per_step=1, grpo=GrpoConfig(normalization="sequence"))
    metrics = build(run).train_step(tasks_of(run, 3))
    assert metrics["ratio"] == pytest.approx(1.0, abs=1e-4)
    assert metrics["ratio_max"] == pytest.approx(1.0, abs=1e-4)
    assert metrics["approx_kl"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["loss_tokens"] > 0


def test_weights_are_sampled_under_their_version(tmp_path, checkpoint):
    trainer = build(config(tmp_path / "run", checkpoint))
    tasks = tasks_of(trainer.config, 3)
    for version in (0, 1):
        turns = [turn for group in trainer.roll_out(tasks[:1]) for y in group for turn in y.turns]
        assert {turn.weight_version for turn in turns} == {version}
        trainer.train_step(tasks)


def test_replayed_groups_are_counted(tmp_path, checkpoint, monkeypatch):
    """The third step has no informative group of its own: it replays those of the two before."""
    monkeypatch.setattr(RLTrainer, "score", first_token_rewards)
    trainer = build(config(tmp_path / "run", checkpoint))
    tasks = tasks_of(trainer.config, 9)
    for step in range(2):
        trainer.train_step(tasks[3 * step : 3 * step + 3])
    held = len(trainer.replay)
    assert held > 0
    monkeypatch.setattr(
        RLTrainer,
        "score",
        lambda self, groups: [score_group(g, {"none": [0.0] * 4}, scale="std") for g in groups],
    )
    monkeypatch.setattr(rl, "rollout_metrics", lambda scored: {"rapr": 0.0})
    metrics = trainer.train_step(tasks[6:])
    assert metrics["replayed_groups"] == min(3, held)
    assert metrics["replay_share"] == 1.0
    assert metrics["replay_age_max"] <= 2  # from the first or the second step


def test_every_term_of_the_reward_is_recorded_and_logged(tmp_path, checkpoint):
    trainer = build(config(tmp_path / "run", checkpoint))
    tasks = tasks_of(trainer.config, 2)
    scored = trainer.score(trainer.roll_out(tasks))
    assert [list(group.terms) for group in scored] == [["correctness", "curiosity", "efficiency"]] * 2
    for group in scored:
        assert group.rewards == tuple(map(sum, zip(*group.terms.values(), strict=True)))
    names = {"reward", "accuracy", "rapr", "curiosity", "efficiency", "zero_advantage_groups"}
    assert names <= rl.rollout_metrics(scored).keys()


@pytest.mark.parametrize(("mode", "masked"), [("none", False), ("all", True)])
def test_rollouts_cut_off_by_a_limit_are_masked_as_the_recipe_says(tmp_path, checkpoint, mode, masked):
    trainer = build(config(tmp_path / "run", checkpoint, mask_truncated=mode))
    (group,) = trainer.score(trainer.roll_out(tasks_of(trainer.config, 1)))
    cut = [y for y in group.trajectories if y.stop == StopReason.TOKEN_LIMIT]
    assert cut, "six tokens of a random model should not be a message"
    assert all(nothing_to_learn(y) is masked for y in cut)


@pytest.mark.parametrize(
    ("override", "remedy"),
    [("temperature=0", "a temperature above 0"), ("top_p=0.95", "set top_p = 1")],
)
def test_sampling_whose_logprobs_are_not_the_trainers_is_refused(override, remedy):
    """`eval` and `ask` take both; in RL the ratio of the first update would not be one."""
    with pytest.raises(ConfigError, match=remedy):
        load_recipe(RLConfig, None, ["out=run", f"interaction.sampling.{override}"])


@pytest.mark.parametrize("override", ["steps=0", "tasks_per_step=0", "group_size=1", "optim.lr=-1"])
def test_a_run_that_could_not_learn_is_refused(override):
    with pytest.raises(ConfigError, match=f"override '{override}'"):
        load_recipe(RLConfig, None, ["out=run", override])


def test_a_limit_above_the_models_positions_is_refused(tmp_path, checkpoint):
    long = config(tmp_path / "run", checkpoint, interaction={"limits": {"max_tokens": 8193}})
    with pytest.raises(ConfigError, match=r"8192 positions .* set max_tokens to 8192 or less"):
        build(long)


def test_an_evaluation_on_the_way_changes_nothing_of_the_run(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr(RLTrainer, "score", first_token_rewards)
    plain = config(tmp_path / "plain", checkpoint, steps=3, rollout_batch=4)
    evaluated = config(
        tmp_path / "evaluated", checkpoint, steps=3, eval_every=2, eval={"n": 5}, rollout_batch=4
    )
    for run in (plain, evaluated):
        rl.run(run)
    a, b = weights(plain.out), weights(evaluated.out)
    assert all(torch.equal(a[name], b[name]) for name in a)
    having = [row["step"] for row in rows_of(evaluated.out) if "eval_accuracy" in row]
    assert having == [2, 3], "every second step, and the last"


def test_the_same_tasks_are_evaluated_every_time(tmp_path, checkpoint):
    trainer = build(config(tmp_path / "run", checkpoint, steps=1, eval_every=1, eval={"n": 5}))
    trainer.step = 1
    assert trainer.evaluate() == trainer.evaluate()


def test_a_term_may_not_hide_what_is_logged(tmp_path, checkpoint):
    run = config(tmp_path / "run", checkpoint, rewards={"accuracy": {"use": "correctness"}})
    with pytest.raises(ConfigError, match=r"rewards\.accuracy"):
        build(run)


def test_the_loop_imports_no_implementation():
    """Model, policy and learner come from the factory: `train/rl.py` names protocols and configurations."""
    source = ast.parse(Path(rl.__file__).read_text())
    imported = {node.module or "" for node in ast.walk(source) if isinstance(node, ast.ImportFrom)} | {
        alias.name for node in ast.walk(source) if isinstance(node, ast.Import) for alias in node.names
    }
    allowed = {
        "pixelreasoner.models.config", "pixelreasoner.policy.base",
        "pixelreasoner.learn.factory", "pixelreasoner.learn.learner", "pixelreasoner.learn.optim",
        "pixelreasoner.learn.processes", "pixelreasoner.learn.state",
    }  # fmt: skip
    packages = ("pixelreasoner.models", "pixelreasoner.policy", "pixelreasoner.learn", "transformers")
    assert {name for name in imported if name.startswith(packages)} <= allowed


def test_tasks_without_reference_answers_are_said_once(tmp_path, checkpoint, capsys):
    """Of training and of the evaluation on the way: no reward can be earned there."""
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps({"id": f"q{i}", "question": f"Which {i}?"}) + "\n" for i in range(3)))
    source = {"source": str(file), "options": {}}
    rl.run(
        config(
            tmp_path / "out", checkpoint, tasks=source, steps=2, tasks_per_step=2,
            eval_every=1, eval={"n": 2, "tasks": source},
        )
    )  # fmt: skip
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("has no reference answers") == 2
    assert "rl: task q0 has no reference answers" in said
    assert "rl: eval: task q0 has no reference answers" in said
