"""What an RL run leaves in its folder: exact resume, rollouts, checkpoints, and what ended it."""

import json
import sys

import pytest
import torch

from pixelreasoner.core.errors import ConfigError, NonFiniteError
from pixelreasoner.core.recipe import load_recipe, save_resolved
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.rollout_log import RolloutLogConfig
from pixelreasoner.core.run_status import state_of
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.learn.state import save_state
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.train import rl
from pixelreasoner.train.alarm import CollapseAlarm
from pixelreasoner.train.rl import RLConfig, RLTrainer, build
from rl_helpers import config, contents, first_token_rewards, rows_of, tasks_of, weights


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
    settings = {"steps": 4, "save_every": 2, "updates_per_step": 1, "max_skipped_steps": 0}
    run, whole = (config(tmp_path / name, checkpoint, **settings) for name in ("run", "whole"))
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


def test_a_step_that_is_not_finite_is_skipped_and_a_resumed_run_skips_it_too(
    tmp_path, checkpoint, monkeypatch, capsys
):
    """The second of three: its batch is on disk, it is in the log, and the weights are finite."""
    monkeypatch.setattr(RLTrainer, "score", first_token_rewards)
    select = RLTrainer.select
    hooks = []

    def break_it(self, scored):
        while hooks:
            hooks.pop().remove()
        if self.step == 1:
            parameter = next(p for p in self.learner.model.parameters() if p.requires_grad)
            hooks.append(parameter.register_hook(lambda gradient: gradient * torch.inf))
        return select(self, scored)

    monkeypatch.setattr(RLTrainer, "select", break_it)
    constant = {"optim": OptimConfig(lr=1e-3, warmup=0, final=1), "updates_per_step": 1, "save_every": 1}
    whole = config(tmp_path / "whole", checkpoint, steps=3, **constant)
    rl.run(whole)
    assert "step 2: an optimiser step was skipped" in " ".join(capsys.readouterr().err.split())
    rows = rows_of(whole.out)
    assert [row.get("skipped_steps") for row in rows] == [None, 1.0, None]
    assert [row["loss_tokens"] > 0 for row in rows] == [True, False, True]
    assert list(read_trajectories(whole.out / "rollouts" / "nonfinite-step-000002.jsonl"))
    a, b = (VisionLanguageModel.load(whole.out / "checkpoints" / f"step-00000{n}") for n in (1, 2))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert any(not torch.equal(x, weights(whole.out)[n]) for n, x in b.hf.state_dict().items())

    rl.run(config(tmp_path / "parts", checkpoint, steps=2, **constant))
    rl.run(config(tmp_path / "parts", checkpoint, steps=3, **constant), resume=True)
    found = weights(tmp_path / "parts")
    assert all(torch.equal(found[name], tensor) for name, tensor in weights(whole.out).items())


def test_a_missing_tracker_is_told_before_the_folder_is_taken_and_the_model_loaded(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    run = config(tmp_path / "run", tmp_path / "no checkpoint is here", trackers=("wandb",))
    with pytest.raises(ConfigError, match=r"pip install 'pixelreasoner\[wandb\]'"):
        rl.run(run)
    assert not run.out.exists()
