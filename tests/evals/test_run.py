"""Evaluating a scripted policy: right where it crops, and resumable."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from pixelreasoner.chat.hermes import format_call
from pixelreasoner.chat.plain import PlainRenderer
from pixelreasoner.core.errors import CheckpointError, ConfigError
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.recipe import load_recipe
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import turn_seed
from pixelreasoner.evals.metrics import Summary, summarize
from pixelreasoner.evals.rollouts import rollout_seed, rollouts
from pixelreasoner.evals.run import EvalConfig, Evaluated, run
from pixelreasoner.evals.tables import summary_table
from pixelreasoner.policy.base import Completion, CompletionRequest, OnToken, Policy, Sampling
from pixelreasoner.policy.scripted import ScriptedPolicy, per_prompt, turn_of
from pixelreasoner.rewards.scorers import exact
from pixelreasoner.tasks.pixelworld import PixelWorld, WorldConfig
from prompting import prompt_of

RENDERER = PlainRenderer()
WORLD = WorldConfig(kinds=("attribute", "count"))
TASKS = {"split": "test", "options": {"kinds": ["attribute", "count"]}}
INTERACTION = Interaction(sampling=Sampling(temperature=0.0))
ZOOM = format_call(ToolCall("crop_image", {"bbox_2d": [0, 0, 600, 600], "target_image": 1}))


def evaluated(policy: Policy, tasks: Sequence[Task], **options: int) -> list[Trajectory]:
    return list(rollouts(Evaluated(policy, RENDERER), INTERACTION, iter(tasks), exact, **options))


class Oracle(ScriptedPolicy):
    """Crops and then answers right about counts; says "?" about all else. Remembers what it was asked."""

    def __init__(self, answers: dict[str, str]) -> None:
        super().__init__(self._say, RENDERER)
        self.answers = answers
        self.batches: list[int] = []
        self.seeds: list[int] = []

    def complete_batch(
        self, requests: Sequence[CompletionRequest], on_token: OnToken | None = None
    ) -> list[Completion]:
        self.batches.append(len(requests))
        self.seeds += [r.seed for r in requests]
        return super().complete_batch(requests, on_token)

    def _say(self, request: CompletionRequest, turn: int) -> str:
        prompt = RENDERER.decode(request.segments[0].ids)
        answer = next((a for question, a in self.answers.items() if question in prompt), "?")
        counting = "How many" in prompt
        return ZOOM if counting and turn_of(request) == 0 else f"\\boxed{{{answer if counting else '?'}}}"


def oracle(n: int) -> Oracle:
    return Oracle({t.question: t.answers[0] for t in PixelWorld(WORLD).tasks("test", n)})


def test_evaluate_in_batches():
    tasks = list(PixelWorld(WORLD).tasks("test", 6))
    policy = Oracle({t.question: t.answers[0] for t in tasks})
    found = evaluated(policy, tasks, batch_size=4)
    # Batches of 4 and 2, each asked again for the halves that cropped.
    assert policy.batches == [4, 2, 2, 1]
    assert [t.task for t in found] == tasks
    assert [t.metrics["correct"] for t in found] == [0.0, 1.0] * 3
    summary = summarize(found)
    assert summary["accuracy"]["by_kind"]["count"]["all"] == 1.0
    assert summary["rapr"]["all"] == 0.5


def test_without_a_toolbox_nothing_is_operated():
    tasks = list(PixelWorld(WORLD).tasks("test", 2))
    policy = ScriptedPolicy(per_prompt({"": [ZOOM + r" \boxed{3}"]}, RENDERER), RENDERER)
    silent = Interaction(operations=(), limits=Limits(max_turns=1))
    found = list(rollouts(Evaluated(policy, RENDERER), silent, iter(tasks), exact))
    assert summarize(found)["rapr"]["all"] == 0.0
    assert found[0].answer == "3"


def test_draws_depend_on_the_task_and_the_seed_only():
    tasks = list(PixelWorld(WORLD).tasks("test", 4))
    alone, together = oracle(4), oracle(4)
    evaluated(alone, [tasks[3]], seed=5)
    evaluated(together, tasks, seed=5)
    assert alone.seeds[0] == together.seeds[3]
    assert rollout_seed(5, tasks[3]) != rollout_seed(6, tasks[3])


def test_the_table_has_a_column_per_model():
    tasks = list(PixelWorld(WORLD).tasks("test", 4))
    counting = summarize(evaluated(oracle(4), tasks))
    reading = summarize(evaluated(oracle(4), tasks[::2]))
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(summary_table({"counts": counting, "reads": reading}))
    rows = [line.split("│")[1:-1] for line in console.export_text().splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        # Of two tasks of each kind, the second needs the operation.
        ["tasks", "4", "2"],
        ["accuracy", "50.0 (50.0)", "0.0 (0.0)"],
        ["standard error", "25.0 (35.4)", "0.0 (0.0)"],
        # Right answers of four are binomial(4, 1/2): none with probability 1/16.
        ["95 %, bootstrap", "0.0 to 100.0", "0.0 to 0.0"],
        ["attribute", "0.0 (0.0)", "0.0 (0.0)"],
        ["count", "100.0 (100.0)", "–"],
        ["RaPR", "50.0 (50.0)", "0.0 (0.0)"],
        ["easy / hard", "50.0 / 50.0", "0.0 / 0.0"],
        ["failed operations", "0.0", "0.0"],
        ["crop_image, calls", "2", "0"],
        ["operations on the cue", counted(counting["cue_coverage"]), "(–)"],
        ["IoU with the cue", counted(counting["cue_iou"]), "(–)"],
        ["crops of the whole image", f"{100 * counting['whole_image_crops']:.1f}", "–"],
        ["turns", "1.50", "1.00"],
        ["sampled tokens", tokens(counting, "sampled_tokens"), tokens(reading, "sampled_tokens")],
        ["visual tokens", tokens(counting, "visual_tokens"), tokens(reading, "visual_tokens")],
        ["no box / empty, rollouts", "0 / 0", "0 / 0"],
    ]


def tokens(summary: Summary, name: str) -> str:
    return f"{summary['per_rollout'][name]['mean']:.0f}"


def counted(share: float) -> str:
    return f"({100 * share:.1f})"


def repeated(summary: Summary) -> Summary:
    """What of a summary does not depend on the time and the machine."""
    return {key: value for key, value in summary.items() if key != "host"}


def config(out: Path, **changes: object) -> EvalConfig:
    return EvalConfig.model_validate({"out": out, "tasks": TASKS, "n": 6, "batch_size": 2, **changes})


def test_a_run_writes_its_results(tmp_path: Path):
    summary = run(config(tmp_path), load=lambda config: Evaluated(oracle(6), RENDERER))
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert summary["host"]["seconds"]["rollouts"] == 6
    assert (summary["n"], summary["accuracy"]["all"]) == (6, 0.5)
    read = list(read_trajectories(tmp_path / "trajectories.jsonl"))
    assert [t.task.id for t in read] == [t.id for t in PixelWorld(WORLD).tasks("test", 6)]
    assert all(t.task.split == "test" for t in read)


@pytest.mark.parametrize("kept", [0, 3, 6])
def test_a_resumed_run_makes_only_what_is_missing(tmp_path: Path, kept: int):
    whole = run(config(tmp_path), load=lambda config: Evaluated(oracle(6), RENDERER))
    path = tmp_path / "trajectories.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:kept]) + (lines[kept][:50] if kept < 6 else b""))
    (tmp_path / "summary.json").unlink()
    policy = oracle(6)
    again = run(config(tmp_path), resume=True, load=lambda config: Evaluated(policy, RENDERER))
    assert repeated(again) == repeated(whole)
    assert path.read_bytes() == b"".join(lines)
    # One message per rollout, one more for each of the three that crop; a batch that was cut is made whole.
    assert len(policy.seeds) == {0: 9, 3: 6, 6: 0}[kept]


def test_a_run_that_is_there_is_kept_and_another_recipe_cannot_go_on(tmp_path: Path):
    load = lambda config: Evaluated(oracle(6), RENDERER)  # noqa: E731
    run(config(tmp_path), load=load)
    with pytest.raises(ConfigError, match="already holds a run"):
        run(config(tmp_path), load=load)
    with pytest.raises(
        ConfigError, match=r"differs from the recipe given in seed \(it was 0, and is now 1\);"
    ):
        run(config(tmp_path, seed=1), resume=True, load=load)
    with pytest.raises(ConfigError, match=r"holds 6 rollouts: n = 4 is fewer"):
        run(config(tmp_path, n=4), resume=True, load=load)
    assert load_recipe(EvalConfig, tmp_path / "config.toml").n == 6


def test_a_finished_evaluation_can_be_lengthened(tmp_path: Path):
    """The same bytes as of one that had so many tasks from the start."""
    run(config(tmp_path / "a", n=3), load=lambda config: Evaluated(oracle(6), RENDERER))
    longer = run(config(tmp_path / "a"), resume=True, load=lambda config: Evaluated(oracle(6), RENDERER))
    whole = run(config(tmp_path / "b"), load=lambda config: Evaluated(oracle(6), RENDERER))
    assert repeated(longer) == repeated(whole)
    a, b = ((tmp_path / name / "trajectories.jsonl").read_bytes() for name in ("a", "b"))
    assert a == b


def test_more_tasks_than_there_are_is_said(tmp_path: Path, capsys):
    changes = {"tasks": TASKS | {"limit": 4}, "n": 300}
    summary = run(config(tmp_path, **changes), load=lambda config: Evaluated(oracle(6), RENDERER))
    assert summary["n"] == 4
    assert "eval: n = 300, and the tasks are 4: all of them" in capsys.readouterr().err


def test_a_question_the_model_cannot_read_is_named_and_the_others_are_asked(tmp_path: Path, capsys):
    """Case C29: the limit is longer than one of the prompts."""
    tasks = list(PixelWorld(WORLD).tasks("test", 6))
    long = max(RENDERER.n_tokens(prompt_of(RENDERER, task, ()), prompt=True) for task in tasks)
    changes = {"interaction": {"operations": [], "limits": {"max_tokens": long}}}
    summary = run(config(tmp_path, **changes), load=lambda config: Evaluated(oracle(6), RENDERER))
    error = " ".join(capsys.readouterr().err.split())
    assert summary["n"] == 6
    assert f"scores 0: the question with its pictures takes {long} tokens" in error
    assert f"at most {long} (interaction.limits.max_tokens)" in error


def test_a_checkpoint_that_is_not_there_does_not_keep_the_folder(tmp_path: Path):
    def no_checkpoint(config):
        raise CheckpointError("no checkpoint there")

    with pytest.raises(CheckpointError):
        run(config(tmp_path), load=no_checkpoint)
    assert run(config(tmp_path, n=4), load=lambda config: Evaluated(oracle(6), RENDERER))["n"] == 4


def test_tasks_without_end_need_a_number(tmp_path: Path):
    with pytest.raises(ConfigError, match="never end; say how many to take"):
        run(config(tmp_path, n=None), load=lambda config: Evaluated(oracle(6), RENDERER))
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_no_answer_can_win_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    letters_as_numbers = {"by_kind": {"attribute": "integer"}}
    run(config(tmp_path, scoring=letters_as_numbers), load=lambda config: Evaluated(oracle(6), RENDERER))
    said = " ".join(capsys.readouterr().err.split())
    unwinnable = [t for t in PixelWorld(WORLD).tasks("test", 6) if not t.answers[0].isdigit()]
    assert said.count("its own answer") == len(unwinnable) > 0
    for task in unwinnable:
        assert f"task {task.id}: its own answer '{task.answers[0]}' scores 0, not 1" in said


def test_tasks_without_reference_answers_are_said_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "mine.jsonl"
    rows = [{"id": f"q{i}", "question": f"Q{i}?", **({"answers": "?"} if i == 1 else {})} for i in range(4)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    silent = config(tmp_path / "out", tasks={"source": str(file)}, n=None)
    run(silent, load=lambda config: Evaluated(oracle(6), RENDERER))
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("eval: task q0 has no reference answers") == 1
    assert "3 of 4 tasks have no reference answers and count as wrong" in said


def needs_no_reference(answer, references, task) -> float:
    return 1.0


def test_a_scorer_that_needs_no_references_is_not_doubted(tmp_path: Path, capsys):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"question": "Q?"}\n')
    judged = {"default": f"{__name__}:needs_no_reference"}
    silent = config(tmp_path / "out", tasks={"source": str(file)}, n=None, scoring=judged)
    run(silent, load=lambda config: Evaluated(oracle(6), RENDERER))
    assert "count as wrong" not in capsys.readouterr().err


SAMPLED = {"samples": 3, "n": 2, "interaction": {"sampling": {"temperature": 1.0}}}


def test_samples_stand_together_and_have_seeds_of_their_own(tmp_path: Path):
    policy = oracle(2)
    summary = run(config(tmp_path, **SAMPLED), load=lambda config: Evaluated(policy, RENDERER))
    tasks = list(PixelWorld(WORLD).tasks("test", 2))
    read = list(read_trajectories(tmp_path / "trajectories.jsonl"))
    assert [t.task.id for t in read] == [tasks[0].id] * 3 + [tasks[1].id] * 3
    assert (summary["n"], summary["samples"], summary["outputs"]["rollouts"]) == (2, 3, 6)
    # Never right about the attribute, always about the count.
    assert summary["avg_at_k"] == {"3": 0.5}
    assert summary["pass_at_k"] == {"1": 0.5, "2": 0.5, "3": 0.5}
    seeds = [rollout_seed(0, task, sample) for task in tasks for sample in range(3)]
    assert len(set(seeds)) == 6
    assert set(policy.seeds) >= {turn_seed(seed, 0) for seed in seeds}


def test_one_sample_has_the_seed_that_it_always_had():
    task = next(iter(PixelWorld(WORLD).tasks("test", 1)))
    digest = hashlib.blake2b(f"7/{task.id}".encode(), digest_size=8).digest()
    assert rollout_seed(7, task) == rollout_seed(7, task, 0) == int.from_bytes(digest, "big") >> 1


@pytest.mark.parametrize("kept", [1, 4, 5])
def test_samples_are_resumed_exactly(tmp_path: Path, kept: int):
    """Batches of two rollouts, three rollouts per task: a batch may hold two tasks, and begin within one."""
    load = lambda config: Evaluated(oracle(2), RENDERER)  # noqa: E731
    whole = run(config(tmp_path, **SAMPLED), load=load)
    path = tmp_path / "trajectories.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:kept]))
    assert repeated(run(config(tmp_path, **SAMPLED), resume=True, load=load)) == repeated(whole)
    assert path.read_bytes() == b"".join(lines)


def test_samples_of_a_greedy_model_are_refused():
    with pytest.raises(
        ConfigError, match=r"samples = 3 .* greedy rollouts of a task are all the same; set a"
    ):
        EvalConfig(out=Path("x"), samples=3)


def test_the_protocol_is_in_the_summary_and_does_not_depend_on_the_run(tmp_path: Path):
    facts = {"checkpoint": {"weights": "ab"}}
    a, b = (
        run(config(tmp_path / name), load=lambda config: Evaluated(oracle(6), RENDERER, facts=facts))
        for name in ("a", "b")
    )
    assert repeated(a) == repeated(b)
    protocol = a["protocol"]
    assert json.loads((tmp_path / "a" / "protocol.json").read_text()) == protocol
    assert protocol["checkpoint"] == {"weights": "ab"}
    assert protocol["wording"]["guideline"] == RENDERER.chat_format.guideline
    assert protocol["vision"]["image"]["max_pixels"] == RENDERER.vision.image.max_pixels
    assert protocol["recipe"]["interaction"]["limits"]["max_operations"] == 4
    assert protocol["recipe"]["interaction"]["sampling"]["temperature"] == 0.0
    assert (protocol["recipe"]["seed"], protocol["recipe"]["batch_size"], protocol["recipe"]["samples"]) == (
        0,
        2,
        1,
    )
    assert [tool["function"]["name"] for tool in protocol["operations"]] == ["crop_image", "select_frames"]
    assert protocol["tasks"]["n"] == 6
    assert {"pixelreasoner", "torch", "transformers"} <= protocol["packages"].keys()
    assert str(tmp_path) not in json.dumps(protocol)
    assert a["host"]["machine"]


def test_a_checkpoint_that_changed_meanwhile_is_named(tmp_path: Path, capsys):
    first, second = (
        lambda config, weights=weights: Evaluated(
            oracle(6), RENDERER, facts={"checkpoint": {"name": "x", "weights": weights}}
        )
        for weights in ("ab", "cd")
    )
    run(config(tmp_path, n=2), load=first)
    summary = run(config(tmp_path), resume=True, load=second)
    said = " ".join(capsys.readouterr().err.split())
    assert "not as when this evaluation began: checkpoint.weights;" in said
    assert summary["protocol"]["checkpoint"]["weights"] == "ab"
    assert summary["protocol"]["changed"] == {"checkpoint.weights": "cd"}


def test_what_a_failed_attempt_left_is_not_the_protocol(tmp_path: Path):
    """A policy that fails in its first batch: the folder is free, and holds the protocol of the attempt."""

    def broken(config: EvalConfig) -> Evaluated:
        def fail(request: CompletionRequest) -> str:
            raise ConfigError("no such thing")

        facts = {"checkpoint": {"weights": "ab"}}
        return Evaluated(ScriptedPolicy(lambda request, turn: fail(request), RENDERER), RENDERER, facts=facts)

    with pytest.raises(ConfigError, match="no such thing"):
        run(config(tmp_path), load=broken)
    facts = {"checkpoint": {"weights": "cd"}}
    summary = run(config(tmp_path, seed=1), load=lambda config: Evaluated(oracle(6), RENDERER, facts=facts))
    assert summary["protocol"]["checkpoint"] == {"weights": "cd"}
    assert "changed" not in summary["protocol"]


def test_easy_questions_are_those_that_were_right_without_operations(tmp_path: Path):
    def plain(config: EvalConfig) -> Evaluated:
        """Right about the first count, by a guess, and about nothing else."""
        first = next(t for t in PixelWorld(WORLD).tasks("test", 6) if t.kind == "count")
        known = {first.question: [f"\\boxed{{{first.answers[0]}}}"], "": ["\\boxed{?}"]}
        return Evaluated(ScriptedPolicy(per_prompt(known, RENDERER), RENDERER), RENDERER)

    without, used = tmp_path / "without", tmp_path / "used"
    run(config(without, interaction={"operations": []}), load=plain)
    summary = run(
        config(used, without_operations=without), load=lambda config: Evaluated(oracle(6), RENDERER)
    )
    assert summary["easy_by"] == "without_operations"
    assert summary["tasks"]["rapr"]["easy"] == 1
    # All three counts are zoomed into; one of them is easy.
    assert summary["rapr"]["easy"] == 1.0
    assert summary["rapr"]["hard"] == 2 / 5
    with pytest.raises(ConfigError, match="operations were used there"):
        run(config(tmp_path / "c", without_operations=used), load=plain)


def answers_a(config: EvalConfig) -> Evaluated:
    return Evaluated(ScriptedPolicy(["\\boxed{A}"], RENDERER), RENDERER)


def answers_nothing(config: EvalConfig) -> str:
    return config.seed.__str__()


def test_a_policy_of_ones_own_is_named_in_the_recipe(tmp_path: Path):
    assert run(config(tmp_path, policy=f"{__name__}:answers_a"))["n"] == 6
    assert {t.answer for t in read_trajectories(tmp_path / "trajectories.jsonl")} == {"A"}
    with pytest.raises(ConfigError, match=r"returns no pixelreasoner\.evals\.rollouts\.Evaluated"):
        run(config(tmp_path / "other", policy=f"{__name__}:answers_nothing"))
    assert not (tmp_path / "other" / "config.toml").exists()
