"""The evidence from start to end: planted cheats are caught; a run that is killed gives the same figures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from colour_tasks import colour_recipe, colour_task, load_scripted
from pixelreasoner.core.errors import ConfigError, PixelReasonerError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.evals import rollouts as eval_rollouts
from pixelreasoner.evals import run as eval_run
from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.controls import ControlConfig
from pixelreasoner.evals.evidence import Evidence
from pixelreasoner.evals.evidence_run import evaluations, evidence_of, examples, run, scorer_of
from pixelreasoner.evals.run import EvalConfig, Evaluated
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.rewards.scorers import exact
from pixelreasoner.tasks.config import build_tasks

N = 12


def recipe(folder: Path, policy: str) -> EvalConfig:
    folder.mkdir(exist_ok=True)
    return colour_recipe(folder, N, model=ModelConfig(checkpoint=policy))


def evidence_for(folder: Path, policy: str) -> Evidence:
    return run(recipe(folder, policy), base="base", load=load_scripted)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Evidence]]:
    """The evidence of a policy and its folder, made once."""

    @cache
    def of(policy: str) -> tuple[Path, Evidence]:
        folder = tmp_path_factory.mktemp(policy)
        return folder / "out", evidence_for(folder, policy)

    return of


def test_one_that_reads_the_crop_owes_its_gain_to_it(made):
    _, found = made("reader")
    over, part = found["over_base"], found["all"]
    assert (over["gain"]["mean"], over["intrinsic"]["mean"]) == (1.0, 0.0)
    assert over["tool_share"]["mean"] == 1.0
    assert over["pixel_share"]["mean"] == 1.0
    assert (part["call"]["gain"], part["call"]["harm"], part["schema"]) == (N, 0, None)
    # It says "grey" to a grey picture, and the other colour to another question's crop.
    assert part["answers"]["blank"]["changed"]["mean"] == 1.0
    assert part["swapped"]["n"] == N
    assert part["swapped"]["follows"]["mean"] == 1.0
    assert part["swapped"]["keeps"]["mean"] == 0.0
    assert found["localisation"]["cue_iou"]["mean"] == 1.0
    assert found["box_mapping"]["iou"]["declared"]["mean"] == 1.0
    assert "was worth +100.0 points" in found["verdict"]


def test_a_cheat_that_ignores_what_it_sees_owes_nothing_to_it(made):
    _, found = made("ignorer")
    over, part = found["over_base"], found["all"]
    assert part["called"]["mean"] == 1.0
    assert (over["gain"]["mean"], over["intrinsic"]["mean"]) == (1.0, 1.0)
    assert over["tool_share"]["mean"] == 0.0
    assert over["pixel_share"]["mean"] == 0.0
    assert (part["call"]["gain"], part["call"]["harm"]) == (0, 0)
    assert part["swapped"]["follows"]["mean"] == 0.0
    assert part["swapped"]["keeps"]["mean"] == 1.0
    assert {c: a["changed"]["mean"] for c, a in part["answers"].items()} == {
        "blank": 0.0, "random_crop": 0.0, "swap": 0.0,
    }  # fmt: skip
    assert "no difference beyond chance" in found["verdict"]


def test_a_cheat_that_answers_only_after_a_call_is_caught_by_the_pixels(made):
    _, found = made("pretender")
    # Without operations it gives no answer: by that alone, all of its gain would be the tool's.
    assert found["over_base"]["tool_share"]["mean"] == 1.0
    assert found["over_base"]["pixel_share"]["mean"] == 0.0
    assert found["all"]["swapped"]["follows"]["mean"] == 0.0
    assert "no difference beyond chance" in found["verdict"]


def test_each_control_is_a_usual_folder_and_says_what_it_is(made):
    out, _ = made("reader")
    for name in ("blank", "random_crop", "swap"):
        folder = out / name
        rollouts = list(read_trajectories(folder / "trajectories.jsonl"))
        assert [t.n_operations for t in rollouts] == [1] * N
        assert {t.turns[0].observation.replaced for t in rollouts if t.turns[0].observation} == {name}
        assert json.loads((folder / "summary.json").read_text())["rapr"]["all"] == 1.0
        assert f'use = "{name}"' in (folder / "config.toml").read_text()
    silent = list(read_trajectories(out / "no_operations" / "trajectories.jsonl"))
    assert all(t.turns[0].observation is None for t in silent)
    assert json.loads((out / "evidence.json").read_text())["base"] == "base"


def test_pictures_of_the_tasks_are_stored_once(made):
    out, _ = made("reader")
    picture = colour_task(0).media[0]
    assert isinstance(picture, Picture)
    files = [
        out / run / "media" / f"{picture.digest}.png"
        for run in ("plain", "no_operations", "swap", "base/plain", "base/no_operations")
    ]
    assert len({file.stat().st_ino for file in files}) == 1


def test_one_that_does_not_call_is_not_rolled_out_again(tmp_path):
    loads: list[str] = []

    def load(config: EvalConfig) -> Evaluated:
        loads.append(config.model.checkpoint)
        return load_scripted(config)

    found = run(recipe(tmp_path, "base"), load=load)
    assert loads == ["base"]
    assert found["all"]["pixels"] == {"blank": None, "random_crop": None, "swap": None}
    assert found["over_base"] is None
    assert found["verdict"] == "The model called no operation: it gained nothing by them."
    plain = (tmp_path / "out" / "plain" / "trajectories.jsonl").read_bytes()
    assert (tmp_path / "out" / "swap" / "trajectories.jsonl").read_bytes() == plain


def test_the_base_can_be_an_evidence_that_is_there(tmp_path, made):
    _, whole = made("reader")
    base = recipe(tmp_path / "base", "base")
    run(base, load=load_scripted)
    config = colour_recipe(tmp_path, N, model=ModelConfig(checkpoint="reader"))
    config = config.model_copy(update={"tasks": base.tasks})
    assert run(config, base=str(base.out), load=load_scripted) == whole
    assert not (config.out / "base").exists()
    with pytest.raises(ConfigError, match="was evaluated otherwise: seed"):
        run(
            config.model_copy(update={"seed": 1, "out": tmp_path / "x"}),
            base=str(base.out),
            load=load_scripted,
        )


class Killed(Exception):
    pass


@pytest.mark.slow
def test_one_that_is_stopped_anywhere_gives_the_same_files(tmp_path, made, monkeypatch):
    whole_out, whole = made("reader")
    cut = recipe(tmp_path / "cut", "reader")
    real = eval_rollouts.rollouts

    def dying(*args, **options):
        for number, trajectory in enumerate(real(*args, **options)):
            if number == 7:
                raise Killed
            yield trajectory

    # Every run dies after seven tasks, and the next one after seven more.
    for _ in range(2 * 7):
        monkeypatch.setattr(eval_rollouts, "rollouts", dying)
        try:
            run(cut, base="base", load=load_scripted)
        except Killed:
            continue
    found = run(cut, base="base", load=load_scripted)
    assert found == whole
    for name in ("plain", "no_operations", "blank", "random_crop", "swap", "base/plain"):
        files = (out / name / "trajectories.jsonl" for out in (tmp_path / "cut" / "out", whole_out))
        assert len({file.read_bytes() for file in files}) == 1


def test_a_control_of_another_evaluation_is_refused(tmp_path):
    config = recipe(tmp_path, "reader")
    plain = dict(evaluations(config))["plain"]
    eval_run.run(plain, load=load_scripted)
    control = config.model_copy(update={"control": ControlConfig(use="blank", plain=plain.out)})
    with pytest.raises(ConfigError, match="differs from this control of it in seed"):
        eval_run.run(control.model_copy(update={"seed": 1}), load=load_scripted)
    nowhere = ControlConfig(use="blank", plain=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="holds no finished evaluation"):
        eval_run.run(config.model_copy(update={"control": nowhere}), load=load_scripted)


def test_what_cannot_be_weighed_is_refused(tmp_path):
    config = recipe(tmp_path, "reader")
    silent = config.interaction.model_copy(update={"operations": ()})
    with pytest.raises(ConfigError, match="offers no operations"):
        run(config.model_copy(update={"interaction": silent}), load=load_scripted)
    control = ControlConfig(use="blank", plain=tmp_path)
    with pytest.raises(ConfigError, match="a control itself"):
        run(config.model_copy(update={"control": control}), load=load_scripted)
    with pytest.raises(ConfigError, match="holds no evaluation"):
        evidence_of(tmp_path)


def test_folders_of_different_tasks_are_refused(tmp_path, made):
    shutil.copytree(made("reader")[0], tmp_path / "out")
    records = tmp_path / "out" / "swap" / "trajectories.jsonl"
    records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(PixelReasonerError, match="'swap' holds other tasks"):
        evidence_of(tmp_path / "out")


def test_examples_are_of_both_kinds(made):
    followed, kept = (examples(made(policy)[0]) for policy in ("reader", "ignorer"))
    assert [label.split(" the ")[0] for label, _ in followed] == ["follows"] * 2
    assert [label.split(" the ")[0] for label, _ in kept] == ["does not follow"] * 2


def test_what_cannot_be_weighed_is_refused_before_anything_is_evaluated(tmp_path: Path):
    config = recipe(tmp_path, "reader")
    sampling = config.interaction.sampling.model_copy(update={"temperature": 1.0})
    interaction = config.interaction.model_copy(update={"sampling": sampling})
    several = config.model_copy(update={"samples": 2, "interaction": interaction})
    with pytest.raises(ConfigError, match=r"samples = 2.*set samples = 1"):
        run(several, load=load_scripted)
    with pytest.raises(ConfigError, match=r"--base base names a checkpoint.*'my:policy', which is none"):
        run(config.model_copy(update={"policy": "my:policy"}), base="base", load=load_scripted)
    assert not config.out.exists()


def test_the_evidence_of_an_incomplete_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[bool] = []
    config = recipe(tmp_path, "reader").model_copy(update={"benchmark": "mine", "incomplete": True})

    def load_benchmark(name: str, options: object, *, incomplete: bool = False) -> Benchmark:
        asked.append(incomplete)
        return Benchmark(name, build_tasks(config.tasks), scorer=exact)

    monkeypatch.setattr("pixelreasoner.evals.evidence_run.load_benchmark", load_benchmark)
    assert scorer_of(config) is exact
    assert asked == [True]
