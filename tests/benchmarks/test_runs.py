"""Miniature runs: the numbers exist, all methods agree, and all roll out the same script."""

import json
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest

from benchmarks import gpu, rollout, train
from benchmarks.cases import Case
from benchmarks.child import measure
from benchmarks.methods.base import Settings
from benchmarks.rollout import RolloutPlan
from benchmarks.shapes import write_checkpoint
from benchmarks.step import run as run_step
from pixelreasoner.core.errors import ConfigError, MissingExtraError
from pixelreasoner.models.vlm import VisionLanguageModel

CASE = Case(60, 40, 9, crops=1, group=3, image=0.6)
WITH_CROPS = Case(80, 100, 12, crops=1, group=2, spread=0.0, image=0.6)
OURS = ("shared", "padded", "stock")
MODELS = ("tiny-qwen3", "tiny-qwen2.5")


@pytest.fixture(autouse=True)
def _numbers_are_made_quickly(monkeypatch):
    """A process of its own for every number of memory is for real measurements."""
    monkeypatch.setattr(train, "measured_in_child", measure)
    monkeypatch.setattr(rollout, "measured_in_child", measure)
    # PyTorch's profiler takes seconds to sum up many small operators.
    for module in (rollout, gpu):
        monkeypatch.setattr(module, "where_time_goes", lambda step, device: {})


@pytest.mark.parametrize(
    ("model", "frozen"), [(MODELS[0], False), (MODELS[1], True), ("tiny-qwen3.5", False)]
)
def test_all_ways_of_training_agree_with_float64(model, frozen):
    plan = train.TrainPlan(
        models=(model,), cases=(CASE,), methods=OURS, settings=Settings(frozen=frozen, rows=2), rounds=2,
        minutes=0.0, groups=(2,),
    )  # fmt: skip
    machine, *records = json.loads(json.dumps(list(train.run(plan))))
    assert machine["kind"] == "machine"
    timed = [r for r in records if r["kind"] == "train"]
    assert [r["method"] for r in timed] == list(OURS)
    # Those of the decays of recurrent layers nearly cancel: transformers' own are off by 2e-4 in float32.
    gradients = 1e-2 if model == "tiny-qwen3.5" else 1e-5
    for record in timed:
        assert record["largest_logp_difference"] < 1e-5
        assert record["largest_gradient_difference"] < gradients
        assert len(record["seconds_of_rounds"]) == 2
        assert 0 < record["utilisation"] == pytest.approx(record["bound_seconds"] / record["seconds"])
        assert sum(record["profile"].values()) == pytest.approx(1.0)
    shared, padded, stock = timed
    assert shared["tokens"] == 60 + 3 * 39
    # Rows of 2 and 1: lengths 32, 40 | 48 after the prompt.
    assert padded["tokens"] == stock["tokens"] == 2 * (60 + 40) + (60 + 48)
    assert shared["flops_computed"] == shared["flops_needed"] < padded["flops_computed"]
    assert shared["times_ours"] == 1.0
    sizes = [(r["method"], r["group"]) for r in records if r["kind"] == "memory"]
    assert sizes == [(method, group) for method in OURS for group in (3, 2)]


@pytest.mark.parametrize("tasks", [1, 2])
def test_all_methods_sample_the_same_script(tasks):
    cases, methods = (replace(WITH_CROPS, tasks=tasks),), ("group", "local")
    plan = rollout.RolloutPlan(models=MODELS[:1], cases=cases, methods=methods, rounds=2, minutes=0.0)
    _, *records = json.loads(json.dumps(list(rollout.run(plan))))
    assert [r["method"] for r in records] == ["group", "local"]
    for record in records:
        # Two messages of (100 - 12 - 6) // 2 tokens by two attempts at each task.
        assert record["sampled"] == tasks * 2 * 2 * 41
        assert record["largest_logp_difference"] < 1e-4
        assert record["bound_seconds"] > 0
    assert records[0]["observed"] == records[1]["observed"]


def test_a_step_rolls_out_and_trains():
    plan = RolloutPlan(
        models=MODELS[1:], cases=(WITH_CROPS,), methods=("group", "local"), rounds=2, minutes=0.0
    )
    _, *records = json.loads(json.dumps(list(run_step(plan))))
    for record in records:
        assert 0 < record["rollout_seconds"] < record["seconds"]
        assert record["sampled"] == 2 * 2 * 41


def test_the_accelerator_script_runs_on_a_processor_too():
    plan = gpu.GpuPlan(model=MODELS[0], cases=(CASE,), device="cpu", rounds=2, minutes=0.0)
    assert [r["kind"] for r in gpu.run(plan)] == ["machine", "note"]
    plan = gpu.GpuPlan(model=MODELS[0], cases=(CASE,), device="cpu", rounds=2, minutes=1.0)
    _, *records = gpu.run(plan)
    assert [r["method"] for r in records] == ["shared", "padded"]
    assert all(r["largest_gradient_difference"] < 1e-5 for r in records)
    assert records[0]["gradient_bytes"] == records[1]["gradient_bytes"] > 0


def test_a_case_that_does_not_fit_the_minutes_any_more_is_left_out(monkeypatch):
    monkeypatch.setattr(gpu, "PASSES", 1e9)
    plan = gpu.GpuPlan(model=MODELS[0], cases=(CASE,), device="cpu", minutes=1.0)
    _, note = gpu.run(plan)
    assert note["kind"] == "note"
    assert "left out" in note["text"]


def test_an_accelerator_that_is_not_there_is_the_users_mistake(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="CUDA"):
        next(gpu.run(gpu.GpuPlan()))


def test_without_trl_the_way_to_install_it_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "trl", None)
    folder = write_checkpoint("tiny-qwen3", tmp_path)
    model = VisionLanguageModel.load(folder)
    group = train.random_group(CASE, model.renderer)
    with pytest.raises(MissingExtraError, match=r"pip install 'pixelreasoner\[bench\]'"):
        train.training_method("trl", folder, model, group, Settings())


def test_what_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(train, "package_version", lambda package: None)
    assert train.available(train.METHODS) == list(OURS)
    assert rollout.available_methods(rollout.METHODS) == ["group", "local"]


# `make test-slow` brings the files of trl without what it imports.
@pytest.mark.skipif(None in (find_spec("trl"), find_spec("datasets")), reason="needs the extra `bench`")
@pytest.mark.filterwarnings("ignore")
def test_trl_trains_and_plays_the_same():
    plan = train.TrainPlan(
        models=MODELS[:1], cases=(CASE,), methods=("shared", "trl"), rounds=2, minutes=0.0, groups=()
    )
    record = next(r for r in train.run(plan) if r.get("method") == "trl")
    assert record["largest_logp_difference"] < 1e-5
    assert record["largest_gradient_difference"] < 1e-5
    both = ("local", "trl")
    cases = (replace(WITH_CROPS, tasks=2),)
    plan = rollout.RolloutPlan(models=MODELS[:1], cases=cases, methods=both, rounds=2, minutes=0.0)
    _, ours, theirs = rollout.run(plan)
    assert [ours[k] for k in ("prompt", "sampled", "observed")] == [
        theirs[k] for k in ("prompt", "sampled", "observed")
    ]
    _, _, step = run_step(RolloutPlan(models=MODELS[:1], cases=(WITH_CROPS,), methods=both, rounds=2))
    assert 0 < step["rollout_seconds"] < step["seconds"]
