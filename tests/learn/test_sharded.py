"""The learner of two processes against that of one: losses, gradients, states and checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch

from pixelreasoner.core.errors import NonFiniteError
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment, StopReason, Trajectory, Turn
from pixelreasoner.learn.learner import LearnerConfig
from pixelreasoner.learn.local import LocalLearner
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.learn.processes import Processes
from pixelreasoner.learn.sharded import ShardedLearner
from pixelreasoner.learn.shards import whole
from pixelreasoner.learn.state import load_state, save_state
from pixelreasoner.models.adapters import adapter_weights, merged_weights
from pixelreasoner.models.config import LoraConfig, ModelConfig, TrainableParts
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.loader import load_model
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.grpo import GrpoConfig, GrpoObjective
from pixelreasoner.objectives.scored_group import ScoredGroup, score_group
from processes_helpers import in_processes
from prompting import prompt_of

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
OBJECTIVE = GrpoObjective(GrpoConfig(normalization="sequence"), temperature=0.9)
Weights = dict[str, torch.Tensor]


def written(renderer, task: Task, *texts: str) -> ScoredGroup:
    """A group whose rewards differ."""
    prompt = prompt_of(renderer, task, ())

    def trajectory(text: str) -> Trajectory:
        ids = renderer.encode(text)
        sampled = Segment(ids, logprobs=tuple(-5.0 - i / 10 for i in range(len(ids))))
        return Trajectory(
            Task(task.id, "", (), ()), (Turn(text, sampled=sampled),), StopReason.ANSWER, prompt=prompt
        )

    rewards = [float(i) for i in range(len(texts))]
    return score_group(tuple(map(trajectory, texts)), {"reward": rewards}, scale="std")


@pytest.fixture
def seen(renderer, picture) -> list[ScoredGroup]:
    """Three groups, one of them without a picture, and one without an advantage."""
    a, b = (Task(name, "Which?", (picture(40, 24, s),), ()) for s, name in enumerate("ab"))
    silent = written(renderer, a, "K.", "No.")
    return [
        written(renderer, a, "Closer.", "K."),
        written(renderer, Task("c", "Which letter?", (), ()), "It reads 7.", "red", "The red card"),
        ScoredGroup(silent.trajectories, {}, (1.0, 1.0), (0.0, 0.0)),
        written(renderer, b, "It reads 7.", "The red"),
    ]


def learner(
    model,
    processes: Processes | None = None,
    *,
    adam: bool = False,
    precision="fp32",
    kind="adamw",
    **changes,
):
    """Plain gradient descent with a rate of 1: what the weights move by is the gradient."""
    optim = OptimConfig(
        kind=kind,
        lr=1e-3 if adam else 1.0,
        warmup=0.0,
        final=1.0,
        max_grad_norm=0.5 if adam else 1e9,
    )
    config = LearnerConfig(optim=optim, total_updates=4, **changes)
    parts = {"features": FeatureStore(model), "precision": precision}
    if processes is None:
        made = LocalLearner(model, OBJECTIVE, config, **parts)
    else:
        made = ShardedLearner(model, OBJECTIVE, config, processes=processes, **parts)
    if not adam:
        made.optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    return made


def trained(made: LocalLearner | ShardedLearner, *updates: list[ScoredGroup]) -> tuple[list[dict], Weights]:
    metrics = [made.update(groups) for groups in updates]
    if isinstance(made, LocalLearner):
        return metrics, {n: t.detach().clone() for n, t in merged_weights(made.model.hf)}
    return metrics, {n: t.detach().clone() for n, t in made.weights()}


def both(
    make: Callable[[], VisionLanguageModel], folder, *updates: list[ScoredGroup], **options
) -> list[tuple[list[dict], Weights]]:
    """Metrics and weights of one process, and of each of two."""
    one = trained(learner(make(), **options), *updates)
    return [one, *in_processes(2, folder, lambda p: trained(learner(make(), p, **options), *updates))]


def assert_equal_up_to_rounding(results, *, rel: float = 1e-5) -> None:
    (wanted_metrics, wanted), *others = results
    for metrics, weights in others:
        for found, expected in zip(metrics, wanted_metrics, strict=True):
            assert found.keys() == expected.keys()
            assert found == pytest.approx(expected, rel=rel, abs=1e-6)
        assert weights.keys() == wanted.keys()
        for name, tensor in wanted.items():
            scale = tensor.abs().max().item()
            torch.testing.assert_close(weights[name], tensor, rtol=rel, atol=rel * scale, msg=name)


def copied(model, *, vision: bool, tied: bool = False) -> Callable[[], VisionLanguageModel]:
    def make() -> VisionLanguageModel:
        fresh = VisionLanguageModel(copy.deepcopy(model.hf), model.renderer)
        fresh.requires_grad_(True)
        fresh.vision.requires_grad_(vision)
        if tied:
            fresh.hf.lm_head.weight = fresh.decoder.embed_tokens.weight
        return fresh

    return make


@pytest.mark.parametrize("vision", [False, True])
@pytest.mark.parametrize("max_row_tokens", [10_000, 1])
def test_gradients_are_those_of_one_process(model, seen, tmp_path, vision, max_row_tokens):
    """One row per process, or one per trajectory: then one process has more rows than the other."""
    results = both(copied(model, vision=vision), tmp_path, seen, max_row_tokens=max_row_tokens)
    assert_equal_up_to_rounding(results)
    start = dict(copied(model, vision=vision)().hf.named_parameters())
    moved = {name for name, tensor in results[1][1].items() if not torch.equal(tensor, start[name])}
    assert any("visual" in name for name in moved) == vision
    assert any("layers" in name for name in moved)


def test_tied_embeddings(model, seen, tmp_path):
    assert_equal_up_to_rounding(both(copied(model, vision=True, tied=True), tmp_path, seen))


@pytest.mark.slow
def test_a_batch_without_pictures_leaves_a_trained_tower_alone(model, seen, tmp_path):
    """With momentum from the batch before; and two processes with one group between them."""
    results = both(copied(model, vision=True), tmp_path, seen, seen[1:2], adam=True)
    assert_equal_up_to_rounding(results, rel=1e-4)  # AdamW divides small gradients by themselves
    first = both(copied(model, vision=True), new_folder(tmp_path), seen, adam=True)[1][1]
    assert all(torch.equal(first[n], t) for n, t in results[1][1].items() if "visual" in n)


def new_folder(path: Path) -> Path:
    return Path(mkdtemp(dir=path))


def test_without_an_advantage_no_process_takes_a_step(model, seen, tmp_path):
    make = copied(model, vision=True)
    for metrics, weights in both(make, tmp_path, seen[2:3]):
        assert metrics == [{"loss_tokens": 0.0}]
        assert all(torch.equal(weights[name], p) for name, p in make().hf.named_parameters())


def test_what_is_not_finite_is_raised_by_all(model, seen, tmp_path):
    def work(processes: Processes) -> str:
        made = learner(copied(model, vision=False)(), processes)
        weight = next(made.model.decoder.layers.parameters())
        if not processes.is_main:  # the part of one process
            weight.data.to_local().fill_(torch.nan)
        with pytest.raises(NonFiniteError) as e:
            made.update(seen)
        return str(e.value)

    assert in_processes(2, tmp_path, work) == ["the loss is nan"] * 2


class Broken(GrpoObjective):
    """The loss of no row is a number."""

    def __call__(self, scores, row):
        out = super().__call__(scores, row)
        return replace(out, loss=out.loss * torch.nan)


def test_all_skip_a_step_that_is_not_finite_on_one(model, seen, tmp_path):
    """And the weights that they have afterwards are those of one process that takes the other steps."""
    wanted, weights = trained(learner(copied(model, vision=False)()), seen)

    def work(processes: Processes) -> tuple[list[dict], Weights, float]:
        made = learner(copied(model, vision=False)(), processes, max_skipped_steps=1)
        if not processes.is_main:
            made.objective = Broken(OBJECTIVE.config, OBJECTIVE.temperature)
        bad = made.update(seen)
        made.objective = OBJECTIVE
        return *trained(made, seen), bad

    for metrics, found, bad in in_processes(2, tmp_path, work):
        assert bad == {"loss_tokens": 0.0, "skipped_steps": 1.0}
        assert_equal_up_to_rounding([(wanted, weights), (metrics, found)])


@pytest.mark.slow
@pytest.mark.parametrize("vision", [False, True])
def test_adapters(folder, seen, tmp_path, vision):
    pytest.importorskip("peft")
    config = ModelConfig(
        checkpoint=str(folder), device="cpu", dtype="fp32", lora=LoraConfig(rank=2, vision=vision)
    )
    results = both(lambda: load_model(config, training=True), tmp_path, seen, adam=True)
    assert_equal_up_to_rounding(results, rel=1e-4)


@pytest.mark.slow
def test_adapters_in_float32_beside_weights_in_bf16(folder, seen, tmp_path):
    pytest.importorskip("peft")
    config = ModelConfig(checkpoint=str(folder), device="cpu", dtype="bf16", lora=LoraConfig(rank=2))

    def make() -> VisionLanguageModel:
        made = load_model(config, training=True)
        for name, parameter in made.hf.named_parameters():
            if "lora_B" in name:  # at zero, nothing of the adapters would be seen
                parameter.data.fill_(0.01)
        return made

    def update(processes: Processes | None) -> tuple[dict, Weights]:
        made = learner(make(), processes, max_row_tokens=1)
        metrics = made.update(seen)
        return metrics, {n: whole(t).clone() for n, t in adapter_weights(made.model.hf).items()}

    wanted, adapters = update(None)
    for metrics, found in in_processes(2, new_folder(tmp_path), update):
        assert metrics == pytest.approx(wanted, rel=1e-4)
        for name, tensor in adapters.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.slow
def test_weights_in_bf16_that_are_rounded_stochastically(folder, seen, tmp_path):
    """Other random numbers than with one process: the weights differ by a neighbour, the moments do not."""
    config = ModelConfig(checkpoint=str(folder), device="cpu", dtype="bf16")

    def update(processes: Processes | None) -> tuple[dict, Weights, list[torch.Tensor]]:
        made = learner(load_model(config, training=True), processes, adam=True, kind="adamw_bf16")
        metrics = made.update(seen)
        weights = {n: whole(t).clone() for n, t in made.model.hf.state_dict().items()}
        return metrics, weights, [whole(s["exp_avg"]) for s in made.optimizer.state.values()]

    wanted, weights, moments = update(None)
    for metrics, found, found_moments in in_processes(2, new_folder(tmp_path), update):
        assert metrics["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
        for name, tensor in weights.items():
            torch.testing.assert_close(found[name], tensor, rtol=2**-7, atol=2e-3, msg=name)
        assert all(moment.dtype == torch.float32 for moment in found_moments)
        a, b = (torch.cat([m.flatten() for m in of]) for of in (found_moments, moments))
        assert torch.cosine_similarity(a, b, dim=0) > 0.999


@pytest.mark.slow
def test_recomputed_activations(folder, seen, tmp_path):
    config = ModelConfig(
        checkpoint=str(folder), device="cpu", dtype="fp32", gradient_checkpointing=True,
        train=TrainableParts(vision=True),
    )  # fmt: skip
    assert_equal_up_to_rounding(both(lambda: load_model(config, training=True), tmp_path, seen))


@pytest.mark.slow
def test_matrix_products_in_bf16(folder, seen, tmp_path):
    """Gradients as far from those of one process as rounding to eight bits brings them."""
    config = ModelConfig(checkpoint=str(folder), device="cpu", dtype="fp32")
    one, *two = both(lambda: load_model(config, training=True), tmp_path, seen, precision="bf16")
    start = dict(load_model(config, training=True).hf.named_parameters())
    for metrics, weights in two:
        assert metrics[0]["loss"] == pytest.approx(one[0][0]["loss"], rel=0.02)
        assert metrics[0]["grad_norm"] == pytest.approx(one[0][0]["grad_norm"], rel=0.02)
        a, b = (torch.cat([(w[n] - start[n]).flatten() for n in start if n in w]) for w in (one[1], weights))
        assert torch.cosine_similarity(a, b, dim=0) > 0.999


@pytest.mark.parametrize(
    ("before", "after"), [(2, 1), *(pytest.param(*n, marks=pytest.mark.slow) for n in ((1, 2), (2, 2)))]
)
def test_a_state_goes_on_with_another_number_of_processes(model, seen, tmp_path, before, after):
    """With the moments of AdamW; two updates in one go are the reference, up to rounding."""
    make, path = copied(model, vision=True), tmp_path / "state.pt"

    def first(processes: Processes) -> None:
        made = learner(make(), processes if before > 1 else None, adam=True)
        made.update(seen)
        save_state(path, {"step": 1, "learner": made.state_dict()}, processes)

    def second(processes: Processes) -> tuple[list[dict], Weights]:
        made = learner(make(), processes if after > 1 else None, adam=True)
        state = load_state(path, processes)
        assert state is not None
        assert state["step"] == 1
        made.load_state_dict(state["learner"])
        return trained(made, seen)

    def run(n: int, work):
        return in_processes(n, new_folder(tmp_path), work) if n > 1 else [work(Processes())]

    run(before, first)
    assert bool(list(tmp_path.glob("shards-*"))) == (before > 1)
    metrics, weights = trained(learner(make(), adam=True), seen, seen)
    assert_equal_up_to_rounding([(metrics[1:], weights), *run(after, second)], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adamw", "adamw_bf16"])
def test_as_many_processes_go_on_bit_for_bit(folder, seen, tmp_path, kind):
    config = ModelConfig(
        checkpoint=str(folder), device="cpu", dtype="bf16" if kind == "adamw_bf16" else "fp32"
    )

    def work(processes: Processes) -> tuple[Weights, Weights]:
        def made() -> ShardedLearner:
            return learner(load_model(config, training=True), processes, adam=True, kind=kind)

        whole_run = made()
        whole_run.update(seen)
        save_state(tmp_path / "state.pt", {"learner": whole_run.state_dict()}, processes)
        whole_run.update(seen)
        resumed = made()
        state = load_state(tmp_path / "state.pt", processes)
        assert state is not None
        resumed.load_state_dict(state["learner"])
        resumed.update(seen)
        return tuple({n: t.clone() for n, t in each.weights()} for each in (whole_run, resumed))

    for a, b in in_processes(2, new_folder(tmp_path), work):
        assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_only_the_shards_of_the_last_state_are_kept(model, seen, tmp_path):
    def work(processes: Processes) -> list[str]:
        made = learner(copied(model, vision=False)(), processes, adam=True)
        for step in range(3):
            save_state(tmp_path / "state.pt", {"step": step, "learner": made.state_dict()}, processes)
        return [path.name for path in tmp_path.glob("shards-*")]

    assert in_processes(2, new_folder(tmp_path), work)[0] == ["shards-3"]


def test_a_checkpoint_is_that_of_one_process(model, seen, tmp_path):
    make = copied(model, vision=True)

    def work(processes: Processes) -> None:
        made = learner(make(), processes)
        made.update(seen)
        made.save(tmp_path / "two")

    in_processes(2, new_folder(tmp_path), work)
    one = learner(make())
    one.update(seen)
    one.save(tmp_path / "one")
    names = [sorted(p.name for p in (tmp_path / name).iterdir()) for name in ("one", "two")]
    assert names[0] == names[1]
    a, b = (VisionLanguageModel.load(tmp_path / n, dtype=model.dtype).hf.state_dict() for n in ("one", "two"))
    for name, tensor in a.items():
        torch.testing.assert_close(b[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.slow
def test_adapters_are_saved_alone(folder, seen, tmp_path):
    pytest.importorskip("peft")
    lora = LoraConfig(rank=2, merge_on_save=False)
    config = ModelConfig(checkpoint=str(folder), device="cpu", dtype="fp32", lora=lora)

    def work(processes: Processes) -> Weights:
        made = learner(load_model(config, training=True), processes)
        made.update(seen)
        made.save(tmp_path / "saved")
        return {n: t.clone() for n, t in made.weights()}

    wanted = in_processes(2, new_folder(tmp_path), work)[0]
    found = VisionLanguageModel.load(tmp_path / "saved").hf.state_dict()
    assert not list((tmp_path / "saved").glob("*.safetensors"))
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-7, msg=name)
