"""The RL loop on a model of a few thousand weights: exact resume, and the terms of the reward in the log."""

import ast
import json
import sys
from pathlib import Path

import pytest
import torch

from pixelreasoner.chat.chat_format import ChatFormat, PixelBudget
from pixelreasoner.core.errors import ConfigError, NonFiniteError
from pixelreasoner.core.recipe import load_recipe, save_resolved
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.rollout_log import RolloutLogConfig
from pixelreasoner.core.run_status import state_of
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.learn.state import save_state
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.nano.scratch import Architecture, new_checkpoint
from pixelreasoner.objectives.grpo import GrpoConfig
from pixelreasoner.objectives.scored_group import score_group
from pixelreasoner.objectives.truncation import nothing_to_learn
from pixelreasoner.tasks.config import build_tasks
from pixelreasoner.train import rl
from pixelreasoner.train.alarm import CollapseAlarm
from pixelreasoner.train.rl import ReplayConfig, RLConfig, RLTrainer, build


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rl") / "tiny"
    budget = PixelBudget(min_pixels=256, max_pixels=32 * 32)
    new_checkpoint(
        folder,
        architecture=Architecture(
            vocab_size=1500, hidden_size=32, layers=2, heads=2, kv_heads=1, intermediate_size=48,
            vision_hidden_size=16, vision_depth=1, vision_heads=2, vision_intermediate_size=32,
            position_grid=4,
        ),
        chat_format=ChatFormat(system="", guideline="", image=budget, crop=budget, video_frame=budget),
        corpus=["Which letter is on the red card?"] * 50,
        seed=3,
    )  # fmt: skip
    return folder


def config(out: Path, checkpoint: Path, *, train: dict[str, bool] | None = None, **changes) -> RLConfig:
    settings = {
        "out": out, "steps": 4, "tasks_per_step": 3, "group_size": 4,
        "model": {"checkpoint": str(checkpoint), "device": "cpu", "precision": "fp32", "train": train or {}},
        "tasks": {"options": {"kinds": ["attribute", "clip"]}}, "replay": ReplayConfig(episode_steps=3),
        "interaction": {"sampling": {"max_tokens": 6}, "limits": {"max_operations": 1}},
        "optim": OptimConfig(lr=1e-3), "updates_per_step": 2,
    }  # fmt: skip
    return RLConfig.model_validate(settings | changes)


def tasks_of(run: RLConfig, n: int) -> list[Task]:
    return list(build_tasks(run.tasks).take(0, n))


def weights(run_folder: Path) -> dict[str, torch.Tensor]:
    return VisionLanguageModel.load(run_folder / "model").hf.state_dict()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def rows_of(run_folder: Path) -> list[dict]:
    return [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]


def first_token_rewards(self: RLTrainer, groups):
    """Rewards that differ within a group, so that a random model has something to learn from."""
    rewards = [[float(y.n_sampled_tokens and y.turns[0].sampled.ids[0] % 5) for y in g] for g in groups]
    return [
        score_group(g, {"correctness": r}, scale="std", scores=r)
        for g, r in zip(groups, rewards, strict=True)
    ]


@pytest.mark.parametrize("freeze_vision", [True, False])
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(
    tmp_path, checkpoint, monkeypatch, freeze_vision
):
    monkeypatch.setattr(RLTrainer, "score", first_token_rewards)
    settings = {"train": {"vision": not freeze_vision}, "eval_every": 2, "eval": {"n": 3}}
    whole = config(tmp_path / "whole", checkpoint, **settings)
    rl.run(whole)

    stopped = config(tmp_path / "parts", checkpoint, **settings)
    real_step = RLTrainer.train_step

    def interrupted_after_two(self, tasks):
        if self.step == 2:
            raise KeyboardInterrupt  # a kill: nothing of this step is saved
        metrics = real_step(self, tasks)
        save_state(self.config.out / "state.pt", self.state_dict())
        return metrics

    monkeypatch.setattr(RLTrainer, "train_step", interrupted_after_two)
    with pytest.raises(KeyboardInterrupt):
        rl.run(stopped)
    monkeypatch.setattr(RLTrainer, "train_step", real_step)
    rl.run(stopped, resume=True)

    a, b = weights(whole.out), weights(stopped.out)
    start = VisionLanguageModel.load(checkpoint).hf.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], start[name]) for name in a), "nothing was learned: the test is empty"
    log_a, log_b = (
        [json.loads(line) for line in (c.out / "metrics.jsonl").read_text().splitlines()]
        for c in (whole, stopped)
    )
    timeless = lambda row: {k: v for k, v in row.items() if k != "time" and not k.startswith("seconds")}  # noqa: E731
    assert [timeless(r) for r in log_a] == [timeless(r) for r in log_b]
    assert {"eval_accuracy", "eval_rapr"} <= log_a[1].keys()
    assert contents(whole.out / "rollouts") == contents(stopped.out / "rollouts")


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


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path, checkpoint):
    run = config(tmp_path / "run", checkpoint, steps=1)
    rl.run(run)
    with pytest.raises(ConfigError, match="--resume"):
        rl.run(run)
    with pytest.raises(ConfigError, match="differs"):
        rl.run(run.model_copy(update={"seed": 9}), resume=True)


def test_a_finished_run_can_be_lengthened(tmp_path, checkpoint, monkeypatch):
    """To the bit where the rate does not depend on the number of steps; with other cadence and retention."""
    monkeypatch.setattr(RLTrainer, "score", first_token_rewards)
    constant = OptimConfig(lr=1e-3, warmup=0, final=1)
    whole = config(tmp_path / "whole", checkpoint, steps=3, optim=constant)
    rl.run(whole)
    short = config(tmp_path / "parts", checkpoint, steps=2, optim=constant)
    rl.run(short)
    changes = {"save_every": 7, "keep_checkpoints": 1, "rollout_log": RolloutLogConfig(enabled=False)}
    longer = short.model_copy(update={"steps": 3, **changes})
    rl.run(longer, resume=True)
    assert [row["step"] for row in rows_of(longer.out)] == [1, 2, 3]
    a, b = weights(whole.out), weights(longer.out)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert load_recipe(RLConfig, longer.out / "config.toml") == longer

    with pytest.raises(ConfigError, match=r"has done 3 steps, and 2 are fewer"):
        rl.run(short, resume=True)
    assert load_recipe(RLConfig, longer.out / "config.toml") == longer


def test_a_run_that_goes_on_names_what_differs(tmp_path, checkpoint):
    run = config(tmp_path / "run", checkpoint)
    run.out.mkdir()
    save_resolved(run, run.out)
    other = config(tmp_path / "run", checkpoint, optim=OptimConfig(lr=2e-3), group_size=8, steps=9)
    with pytest.raises(ConfigError) as e:
        rl.run(other, resume=True)
    assert "group_size (it was 4, and is now 8), optim.lr (it was 0.001, and is now 0.002);" in str(e.value)
    assert "steps" not in str(e.value)


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


def test_a_resumed_run_alarms_exactly_as_an_uninterrupted_one(tmp_path, checkpoint, monkeypatch):
    """RaPR falls from 1 to 0 after the second step; smoothed by 0.5: 1, 1, 0.5, 0.25, 0.125, 0.0625."""
    falling = iter(())
    notes: list[tuple[int, str]] = []

    class HalfAlarm(CollapseAlarm):
        def __init__(self):
            super().__init__(smoothing=0.5)

    def note(self, text):
        notes.append((self._line.done, text))

    def killed_in_step_five(self, tasks):
        if self.step == 4:
            raise RuntimeError("killed")
        return real_step(self, tasks)

    monkeypatch.setattr(rl, "CollapseAlarm", HalfAlarm)
    monkeypatch.setattr(rl.RunLog, "note", note)
    monkeypatch.setattr(rl, "rollout_metrics", lambda scored: {"rapr": next(falling)})
    real_step = RLTrainer.train_step

    falling = iter([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    rl.run(config(tmp_path / "whole", checkpoint, steps=6, tasks_per_step=1, save_every=3))
    whole, notes = notes, []
    assert [step for step, _ in whole] == [6]

    # The state on disk is that of step 3: step 4 is made again.
    stopped = config(tmp_path / "parts", checkpoint, steps=6, tasks_per_step=1, save_every=3)
    monkeypatch.setattr(RLTrainer, "train_step", killed_in_step_five)
    falling = iter([1.0, 1.0, 0.0, 0.0])
    with pytest.raises(RuntimeError, match="killed"):
        rl.run(stopped)
    monkeypatch.setattr(RLTrainer, "train_step", real_step)
    falling = iter([0.0, 0.0, 0.0])
    rl.run(stopped, resume=True)
    assert notes == whole
    alarms = [
        [json.loads(line)["collapse_alarm"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (tmp_path / "whole", tmp_path / "parts")
    ]
    assert alarms == [[0.0] * 5 + [1.0]] * 2


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


def test_every_rollout_is_on_disk_with_what_was_made_of_it(tmp_path, checkpoint, monkeypatch):
    run = config(tmp_path / "run", checkpoint, steps=2)
    rl.run(run)
    records = list(read_trajectories(run.out / "rollouts" / "step-000001.jsonl"))
    assert [y.metrics["step"] for y in records] == [1] * 12 + [2] * 12
    for y in records:
        terms = ("correctness", "curiosity", "efficiency")
        assert y.metrics.keys() == {"step", "reward", "advantage", "correct", *terms}
        assert y.metrics["reward"] == sum(y.metrics[name] for name in terms)
        assert {turn.weight_version for turn in y.turns} == {y.metrics["step"] - 1}
    first = rows_of(run.out)[0]
    for name in ("reward", "correctness", "curiosity", "efficiency"):
        assert first[name] == pytest.approx(sum(y.metrics[name] for y in records[:12]) / 12)
    assert first["stop_token_limit"] == sum(y.stop == "token_limit" for y in records[:12]) / 12


def test_the_rollouts_of_a_step_are_kept_before_it_is_learned_from(tmp_path, checkpoint, monkeypatch):
    """An update that runs out of memory leaves what it was to learn from."""
    trainer = build(config(tmp_path / "run", checkpoint))

    def update(batch):
        raise MemoryError

    monkeypatch.setattr(trainer.learner, "update", update)
    with pytest.raises(MemoryError):
        trainer.train_step(tasks_of(trainer.config, 3))
    trainer.rollout_log.flush()
    assert len(list(read_trajectories(tmp_path / "run" / "rollouts" / "step-000001.jsonl"))) == 12


def test_the_last_numbered_checkpoints_are_kept_and_load(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr(RLTrainer, "score", first_token_rewards)
    run = config(tmp_path / "run", checkpoint, steps=5, save_every=1, keep_checkpoints=2)
    rl.run(run)
    folders = sorted(path.name for path in (run.out / "checkpoints").iterdir())
    assert folders == ["step-000003", "step-000004"], "the last step is model/"
    third, fourth = (
        VisionLanguageModel.load(run.out / "checkpoints" / name).hf.state_dict() for name in folders
    )
    assert any(not torch.equal(third[name], fourth[name]) for name in third)


def test_no_checkpoint_is_later_than_the_state(tmp_path, checkpoint):
    """One that a killed run wrote after its last state is removed when the run goes on."""
    run = config(tmp_path / "run", checkpoint, steps=3, save_every=1)
    rl.run(run)
    save_state(run.out / "state.pt", build(run).state_dict())  # that of step 0
    written = {path.name for path in (run.out / "checkpoints").iterdir()}
    assert written == {"step-000001", "step-000002"}
    rl.restore(build(run), rl.RunFolder(run.out), keep=2)
    assert list((run.out / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("broken", ["loss", "gradient", "weights"])
def test_what_is_not_finite_stops_the_run_with_its_batch_on_disk(tmp_path, checkpoint, monkeypatch, broken):
    """The third step's; the second is the last one saved, and the run goes on from there."""
    monkeypatch.setattr(RLTrainer, "score", first_token_rewards)
    run = config(tmp_path / "run", checkpoint, steps=4, save_every=2, updates_per_step=1)
    whole = config(tmp_path / "whole", checkpoint, steps=4, save_every=2, updates_per_step=1)
    rl.run(whole)
    select = RLTrainer.select

    def break_it(self, scored):
        if self.step == 2:
            parameter = next(p for p in self.learner.model.parameters() if p.requires_grad)
            if broken == "loss":
                parameter.data.fill_(torch.nan)
            elif broken == "gradient":
                parameter.register_hook(lambda gradient: gradient * torch.inf)
            else:
                self.learner.optimizer.state[parameter]["exp_avg"].fill_(torch.inf)
        return select(self, scored)

    monkeypatch.setattr(RLTrainer, "select", break_it)
    with pytest.raises(NonFiniteError, match=r"step 3: .*nonfinite-step-000003\.jsonl.*--resume") as e:
        rl.run(run)
    assert {"loss": "the loss is nan", "gradient": "gradient norm", "weights": "the weights"}[broken] in str(
        e.value
    )
    assert str(run.out / "checkpoints" / "step-000002") in str(e.value)
    assert state_of(run.out) == "failed"
    batch = list(read_trajectories(run.out / "rollouts" / "nonfinite-step-000003.jsonl"))
    assert batch
    assert all({"reward", "advantage", "correctness"} <= y.metrics.keys() for y in batch)
    assert [row["step"] for row in rows_of(run.out)] == [1, 2]

    monkeypatch.setattr(RLTrainer, "select", select)
    rl.run(run, resume=True)
    a, b = weights(whole.out), weights(run.out)
    assert all(torch.equal(a[name], b[name]) for name in a)


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


def test_a_missing_tracker_is_told_before_the_folder_is_taken_and_the_model_loaded(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    run = config(tmp_path / "run", tmp_path / "no checkpoint is here", trackers=("wandb",))
    with pytest.raises(ConfigError, match=r"pip install 'pixelreasoner\[wandb\]'"):
        rl.run(run)
    assert not run.out.exists()


def test_the_loop_imports_no_implementation():
    """Model, policy and learner come from the factory: `train/rl.py` names protocols and configurations."""
    source = ast.parse(Path(rl.__file__).read_text())
    imported = {node.module or "" for node in ast.walk(source) if isinstance(node, ast.ImportFrom)} | {
        alias.name for node in ast.walk(source) if isinstance(node, ast.Import) for alias in node.names
    }
    allowed = {
        "pixelreasoner.models.config", "pixelreasoner.policy.base",
        "pixelreasoner.learn.factory", "pixelreasoner.learn.learner", "pixelreasoner.learn.optim",
        "pixelreasoner.learn.state",
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
