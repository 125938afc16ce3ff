"""That tuning goes on where it stopped, and what its data must be."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from pixelreasoner.core.errors import ConfigError, NonFiniteError, RecordError
from pixelreasoner.core.records import read_trajectories, write_trajectories
from pixelreasoner.core.run_folder import RunFolder
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment, StopReason, Trajectory, Turn
from pixelreasoner.learn.learner import LearnerConfig
from pixelreasoner.learn.local import LocalLearner
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.scored_group import ScoredGroup, imitation
from pixelreasoner.objectives.sft import SftObjective
from pixelreasoner.train import sft
from pixelreasoner.train.progress import Interruptible
from pixelreasoner.train.sft import SFTConfig, SFTTrainer, build, train
from prompting import prompt_of

CONFIG = SFTConfig(out=Path("unused"), data=Path("unused"), batch_size=1, optim=OptimConfig(lr=2e-3))


@pytest.fixture
def groups(model, picture) -> list[ScoredGroup]:
    """Two short answers to learn."""
    prompt = prompt_of(model.renderer, Task("t", "Which?", (picture(24, 16),), ()), ())
    return [
        imitation(
            Trajectory(
                Task("t", "", (), ()),
                (Turn(text, sampled=Segment(model.renderer.encode(text))),),
                StopReason.ANSWER,
                prompt=prompt,
            )
        )
        for text in ("It reads K.", "The red card")
    ]


def trainer(
    model: VisionLanguageModel, groups: list[ScoredGroup], steps: int, **changes: object
) -> SFTTrainer:
    """A run on a copy of the model."""
    fresh = VisionLanguageModel(copy.deepcopy(model.hf), model.renderer)
    fresh.vision.requires_grad_(False)
    learner = LocalLearner(
        fresh,
        SftObjective(),
        LearnerConfig(optim=CONFIG.optim, total_updates=steps),
        features=FeatureStore(fresh),
    )
    return SFTTrainer(CONFIG.model_copy(update=changes), learner, groups, steps)


def go_on(run: SFTTrainer, until: int) -> list[float]:
    """The losses of the steps up to `until`, or to the run's end."""
    losses = []
    while not run.done and run.step < until:
        losses.append(run.train_step()["loss"])
    return losses


def test_a_resumed_run_equals_an_uninterrupted_one(model, groups):
    whole = trainer(model, groups, 15)
    losses = go_on(whole, 15)
    assert sum(losses[-5:]) < sum(losses[:5])
    first = trainer(model, groups, 15)
    go_on(first, 7)
    second = trainer(model, groups, 15)
    second.load_state_dict(first.state_dict())
    assert go_on(second, 15) == losses[7:]
    for (name, a), (_, b) in zip(second.learner.weights(), whole.learner.weights(), strict=True):
        assert torch.equal(a, b), name


def test_every_trajectory_once_per_epoch(model, groups):
    seen: list[str] = []

    class Recording:
        """A learner that notes what it is given."""

        def update(self, batch: list[ScoredGroup]) -> dict[str, float]:
            seen.extend(group.trajectories[0].turns[0].text for group in batch)
            return {"loss": 1.0}

    run = SFTTrainer(CONFIG, Recording(), groups, 8)  # pyright: ignore[reportArgumentType]
    go_on(run, 8)
    assert [sorted(seen[i : i + 2]) for i in range(0, 8, 2)] == [["It reads K.", "The red card"]] * 4


def test_the_last_numbered_checkpoints_are_kept_and_load(tmp_path, model, groups):
    run = trainer(model, groups, 5, out=tmp_path, save_every=1, keep_checkpoints=2)
    with Interruptible() as interrupt:
        train(run, RunFolder(tmp_path), interrupt)
    folders = sorted((tmp_path / "checkpoints").iterdir())
    assert [path.name for path in folders] == ["step-000003", "step-000004"], "the last step is model/"
    assert VisionLanguageModel.load(folders[-1]).hf.state_dict().keys() == model.hf.state_dict().keys()


def test_a_batch_that_is_not_finite_is_on_disk_with_its_texts(tmp_path, model, groups, picture):
    """The second step's: one of the two trajectories of the data, whole."""
    data = [
        Trajectory(Task(f"t{i}", "Which?", (picture(24, 16),), ()), (Turn(text),), StopReason.ANSWER)
        for i, text in enumerate(("It reads K.", "The red card"))
    ]
    write_trajectories(tmp_path / "data.jsonl", data)
    run = trainer(model, groups, 4, out=tmp_path / "run", data=tmp_path / "data.jsonl")
    run.train_step()
    assert run.skipped is None
    next(p for p in run.learner.model.parameters() if p.requires_grad).data.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="step 2: the loss is nan"):
        run.train_step()
    (trajectory,) = read_trajectories(tmp_path / "run" / "rollouts" / "nonfinite-step-000002.jsonl")
    assert trajectory in data


def test_a_skipped_step_leaves_its_batch_and_the_run_goes_on(tmp_path, recipe):
    """The first step's, whose gradient is infinite; the two trajectories of its batch, whole."""
    config = recipe("run", steps=2, max_skipped_steps=1)
    run = build(config)
    parameter = next(p for p in run.learner.model.parameters() if p.requires_grad)
    hook = parameter.register_hook(lambda gradient: gradient * torch.inf)
    metrics = run.train_step()
    hook.remove()
    assert (metrics["skipped_steps"], metrics["loss_tokens"]) == (1.0, 0.0)
    assert "loss" not in metrics
    path = config.out / "rollouts" / "nonfinite-step-000001.jsonl"
    assert str(path) in run.skipped
    kept, data = list(read_trajectories(path)), list(read_trajectories(config.data))
    assert len(kept) == 2
    assert all(y in data for y in kept)
    assert run.train_step()["loss_tokens"] > 0
    assert run.skipped is None


@pytest.fixture
def recipe(qwen3_folder, tmp_path, picture):
    """Tunes the tower, too, on three short trajectories."""
    data = [
        Trajectory(Task(f"t{i}", "Which?", (picture(24, 16, i),), ()), (Turn(text),), StopReason.ANSWER)
        for i, text in enumerate(("It reads K.", "The red card", "Three."))
    ]
    write_trajectories(tmp_path / "data.jsonl", data)
    settings = {
        "data": tmp_path / "data.jsonl", "batch_size": 2, "optim": {"lr": 1e-3, "warmup": 0, "final": 1},
        "model": {
            "checkpoint": str(qwen3_folder), "device": "cpu", "precision": "fp32", "train": {"vision": True}
        },
    }  # fmt: skip
    return lambda name, **changes: SFTConfig.model_validate(settings | {"out": tmp_path / name, **changes})


def tuned(config: SFTConfig, *, resume: bool = False) -> dict[str, torch.Tensor]:
    return VisionLanguageModel.load(sft.run(config, resume=resume)).hf.state_dict()


def test_a_finished_run_can_be_lengthened(recipe):
    """To the bit where the rate does not depend on the number of steps; by `steps` or by `epochs`."""
    whole, _ = tuned(recipe("whole", steps=5)), tuned(recipe("parts", epochs=2))
    longer = tuned(recipe("parts", steps=5, epochs=2, save_every=1), resume=True)
    assert all(torch.equal(whole[name], longer[name]) for name in whole)
    with pytest.raises(ConfigError, match="has done 5 steps, and 4 are fewer"):
        sft.run(recipe("parts", steps=4, epochs=2), resume=True)


def test_one_thread_gives_the_same_bits_whatever_the_process_had(recipe):
    """Sums of the tower's gradients are rounded by the number of threads; `model.threads` fixes it."""
    before, runs = torch.get_num_threads(), []
    try:
        for name, n in (("a", 1), ("b", 2), ("c", 2)):
            torch.set_num_threads(n)
            model = recipe(name).model.changed(threads=1)
            runs.append(tuned(recipe(name, steps=5, model=model)))
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    for other in runs[1:]:
        assert all(torch.equal(runs[0][name], other[name]) for name in other)


def test_a_trajectory_longer_than_the_model_reads(recipe):
    """Case C29, of tuning: both numbers, and the task."""
    config = recipe("run", steps=1)
    long = Trajectory(Task("long", "red " * 9000, (), ()), (Turn("K"),), StopReason.ANSWER)
    write_trajectories(config.data, [long], append=True)
    with pytest.raises(RecordError, match=r"task 'long' takes 9\d{3} tokens, and the model reads 8192"):
        sft.run(config)
    assert not (config.out / "config.toml").exists(), "the folder is free"


@pytest.mark.parametrize("lr", [1e4, 0.0])
def test_a_rate_that_teaches_nothing_is_refused(recipe, lr):
    """Case C12."""
    with pytest.raises(ValueError, match=r"optim\.lr"):
        recipe("run", optim={"lr": lr})
