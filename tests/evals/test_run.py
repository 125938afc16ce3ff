"""Evaluating a scripted policy: right where it crops, and resumable."""

from __future__ import annotations

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
from pixelreasoner.evals.metrics import summarize
from pixelreasoner.evals.run import EvalConfig, Evaluated, rollout_seed, rollouts, run
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
        ["attribute", "0.0 (0.0)", "0.0 (0.0)"],
        ["count", "100.0 (100.0)", "–"],
        ["RaPR", "50.0 (50.0)", "0.0 (0.0)"],
        ["failed operations", "0.0", "0.0"],
        ["operations on the cue", counted(counting["cue_coverage"]), "(–)"],
        ["IoU with the cue", counted(counting["cue_iou"]), "(–)"],
        ["crops of the whole image", f"{100 * counting['whole_image_crops']:.1f}", "–"],
    ]


def counted(share: float) -> str:
    return f"({100 * share:.1f})"


def config(out: Path, **changes: object) -> EvalConfig:
    return EvalConfig.model_validate({"out": out, "tasks": TASKS, "n": 6, "batch_size": 2, **changes})


def test_a_run_writes_its_results(tmp_path: Path):
    summary = run(config(tmp_path), load=lambda config: Evaluated(oracle(6), RENDERER))
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
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
    assert run(config(tmp_path), resume=True, load=lambda config: Evaluated(policy, RENDERER)) == whole
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
    assert longer == whole
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


def answers_a(config: EvalConfig) -> Evaluated:
    return Evaluated(ScriptedPolicy(["\\boxed{A}"], RENDERER), RENDERER)


def answers_nothing(config: EvalConfig) -> str:
    return config.seed.__str__()


def test_a_policy_of_ones_own_is_named_in_the_recipe(tmp_path: Path):
    assert run(config(tmp_path, policy=f"{__name__}:answers_a"))["n"] == 6
    assert {t.answer for t in read_trajectories(tmp_path / "trajectories.jsonl")} == {"A"}
    with pytest.raises(ConfigError, match=r"returns no pixelreasoner\.evals\.run\.Evaluated"):
        run(config(tmp_path / "other", policy=f"{__name__}:answers_nothing"))
    assert not (tmp_path / "other" / "config.toml").exists()
