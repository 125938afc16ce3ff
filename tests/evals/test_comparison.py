"""Comparisons by hand: six tasks, two or three models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pixelreasoner.core.errors import ConfigError, RecordError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn
from pixelreasoner.evals.comparison import compare, comparison_text, warnings_of
from pixelreasoner.evals.comparison_table import comparison_tables
from pixelreasoner.evals.protocol import Protocol
from pixelreasoner.evals.reading import Evaluation, read_evaluation
from pixelreasoner.evals.results import check_same_checkpoint, easy_questions
from pixelreasoner.evals.scores import score

PICTURE = Picture(np.zeros((4, 4, 3), np.uint8))


def rollout(task_id: str, value: float, question: str = "Q?", **more: float) -> Trajectory:
    kind = "count" if task_id < "q3" else "page"
    task = Task(task_id, question, (PICTURE,), ("A",), kind=kind, needs_operation=task_id < "q2")
    return Trajectory(task, (Turn("A"),), StopReason.ANSWER, answer="A", metrics={"correct": value, **more})


def evaluation(
    values: Sequence[float] | Mapping[str, Sequence[float]],
    protocol: Protocol | None = None,
    question: str = "Q?",
) -> Evaluation:
    """One value per task q0, q1, ...; or several by task id."""
    if not isinstance(values, Mapping):
        values = {f"q{i}": [value] for i, value in enumerate(values)}
    by_task = {key: tuple(score(rollout(key, v, question)) for v in found) for key, found in values.items()}
    return Evaluation(Path("x"), by_task, protocol)


def test_two_models_by_hand():
    a, b = evaluation([1, 1, 0, 0, 0, 0], {}), evaluation([1, 0, 1, 1, 1, 0], {})
    comparison = compare({"a": a, "b": b})
    assert (comparison["n"], comparison["samples"]) == (6, 1)
    (pair,) = comparison["pairs"]
    assert (pair["a"], pair["b"], pair["n"]) == ("a", "b", 6)
    assert pair["difference"] == pytest.approx(2 / 6)
    # q1 is a's alone; q2, q3 and q4 are b's.
    assert (pair["only_a"], pair["only_b"]) == (1, 3)
    assert pair["mcnemar_p"] == pytest.approx(2 * (1 + 4) / 16)
    assert pair["sign_flip_p"] == pytest.approx(10 / 16, abs=0.02)
    assert (pair["test"], pair["p"], pair["p_holm"]) == ("mcnemar", pair["mcnemar_p"], pair["mcnemar_p"])
    # Differences -1, 1, 1, 1, 0, 0: mean 1/3, squares sum to 4.
    assert pair["stderr"] == pytest.approx(((4 / 6 - 1 / 9) / 6) ** 0.5)
    low, high = pair["bootstrap95"]
    assert low < 0 < 1 / 3 < high
    # Of kind count are q0, q1 and q2.
    assert pair["by_kind"]["count"]["difference"] == 0.0
    assert (pair["by_kind"]["count"]["only_a"], pair["by_kind"]["count"]["only_b"]) == (1, 1)
    assert pair["by_kind"]["page"]["difference"] == pytest.approx(2 / 3)
    assert comparison["runs"]["b"]["summary"]["accuracy"]["all"] == pytest.approx(4 / 6)
    assert json.loads(comparison_text(comparison)) == comparison
    assert warnings_of(comparison) == []


def test_pairs_are_found_by_the_task_whatever_the_order():
    a = evaluation({"q0": [1], "q1": [0]})
    b = evaluation({"q1": [0], "q0": [1]})
    (pair,) = compare({"a": a, "b": b})["pairs"]
    assert (pair["only_a"], pair["only_b"], pair["difference"]) == (0, 0, 0.0)


def test_three_models_are_corrected_after_holm():
    a, b, c = evaluation([0] * 6), evaluation([1] * 6), evaluation([1] * 5 + [0])
    pairs = compare({"a": a, "b": b, "c": c})["pairs"]
    assert [(p["a"], p["b"]) for p in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [p["p"] for p in pairs] == [2 / 64, 2 / 32, 1.0]
    assert [p["p_holm"] for p in pairs] == pytest.approx([3 * 2 / 64, 2 * 2 / 32, 1.0])


def test_several_rollouts_are_compared_by_the_means_of_tasks():
    a = evaluation({f"q{i}": [0, 1] for i in range(6)})
    b = evaluation({f"q{i}": [1, 1] for i in range(6)})
    (pair,) = compare({"a": a, "b": b})["pairs"]
    assert (pair["difference"], pair["only_a"], pair["mcnemar_p"]) == (0.5, None, None)
    # All six differences are 1/2: of 64 choices of signs two are as far from 0.
    assert pair["test"] == "sign_flip"
    assert pair["p"] == pytest.approx(2 / 64, abs=0.006)


def test_scores_between_right_and_wrong_are_not_left_to_mcnemar():
    a, b = evaluation([0.5, 1, 0]), evaluation([0.75, 1, 0])
    (pair,) = compare({"a": a, "b": b})["pairs"]
    assert (pair["only_a"], pair["only_b"], pair["mcnemar_p"]) == (0, 0, 1.0)
    assert (pair["test"], pair["p"]) == ("sign_flip", pair["sign_flip_p"])


def test_other_tasks_are_refused_in_a_sentence_and_what_is_shared_can_be_compared():
    a, b = evaluation([1, 1, 0]), evaluation([1, 0, 0, 1])
    with pytest.raises(RecordError, match=r"1 tasks of b are not in a \(the first is 'q3'\); .* --common"):
        compare({"a": a, "b": b})
    comparison = compare({"a": a, "b": b}, common=True)
    assert (comparison["n"], comparison["left_out"]) == (3, {"a": 0, "b": 1})
    assert "1 tasks of b are left out" in " ".join(warnings_of(comparison))
    with pytest.raises(RecordError, match="no task in common"):
        compare({"a": a, "b": evaluation({"other": [1]})}, common=True)


def test_the_same_name_for_another_question_is_no_pair():
    a, b = evaluation([1, 1]), evaluation([1, 0], question="Another?")
    with pytest.raises(RecordError, match="no task in common"):
        compare({"a": a, "b": b})
    mixed = replace(b, by_task={"q0": a.by_task["q0"], "q1": b.by_task["q1"]})
    with pytest.raises(RecordError, match=r"1 tasks ask something else in b than in a \(the first is 'q1'\)"):
        compare({"a": a, "b": mixed})
    assert compare({"a": a, "b": mixed}, common=True)["n"] == 1


def test_other_numbers_of_samples_are_refused_or_cut_to_the_least():
    a, b = evaluation({"q0": [1], "q1": [0]}), evaluation({"q0": [1, 0, 0], "q1": [1, 0, 0]})
    with pytest.raises(RecordError, match="a has 1 rollouts per task and b has 3"):
        compare({"a": a, "b": b})
    comparison = compare({"a": a, "b": b}, common=True)
    assert (comparison["samples"], comparison["pairs"][0]["only_b"]) == (1, 1)


def test_protocols_that_differ_are_named_but_for_the_checkpoint():
    protocol = {"checkpoint": {"weights": "ab"}, "vision": {"image": {"max_pixels": 100}}, "recipe": {"n": 3}}
    other = {"checkpoint": {"weights": "cd"}, "vision": {"image": {"max_pixels": 400}}, "recipe": {"n": 4}}
    evaluations = {"a": evaluation([1, 0], protocol), "b": evaluation([1, 0], other), "c": evaluation([1, 0])}
    comparison = compare(evaluations)
    assert comparison["protocol_differences"] == [
        {"key": "vision.image.max_pixels", "values": {"a": 100, "b": 400}}
    ]
    said = warnings_of(comparison)
    assert "the protocol of c is not known" in said[0]
    assert "the protocols differ in vision.image.max_pixels;" in said[1]


def test_another_score_of_the_records_can_be_compared(tmp_path: Path):
    found = {}
    for name, values in (("a", (1.0, 0.0)), ("b", (0.0, 0.0))):
        path = tmp_path / name / "trajectories.jsonl"
        path.parent.mkdir()
        write_trajectories(path, [rollout(f"q{i}", 1.0, pr_compat=v) for i, v in enumerate(values)])
        found[name] = read_evaluation(tmp_path / name)
    assert compare(found)["pairs"][0]["difference"] == 0.0
    comparison = compare(found, score="pr_compat")
    assert comparison["pairs"][0]["difference"] == -0.5
    assert comparison["runs"]["a"]["summary"]["accuracy"]["all"] == 0.5
    with pytest.raises(RecordError, match="no score 'judge'; it has correct, pr_compat"):
        compare(found, score="judge")


def test_a_record_that_is_no_whole_evaluation_is_refused(tmp_path: Path):
    path = tmp_path / "trajectories.jsonl"
    write_trajectories(path, [rollout("q0", 1), rollout("q0", 0), rollout("q1", 1)])
    with pytest.raises(RecordError, match="of task q1 there are 1 rollouts, of others 2"):
        read_evaluation(tmp_path)
    write_trajectories(path, [replace(rollout("q0", 1), metrics={})])
    with pytest.raises(RecordError, match="task q0 has no score"):
        read_evaluation(path)
    write_trajectories(path, [rollout("q0", 1), rollout("q0", 0, question="Another?")])
    with pytest.raises(RecordError, match="two tasks are called 'q0'"):
        read_evaluation(tmp_path)
    with pytest.raises(RecordError, match="holds no evaluation"):
        read_evaluation(tmp_path / "media")


@pytest.mark.parametrize("width", [80, 160])
def test_the_tables_fit_a_terminal(width: int):
    names = ("rl_without_curiosity", "warm_start", "rl_with_curiosity")
    values = ([1, 0, 0, 1, 0, 0], [1, 1, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1])
    comparison = compare({name: evaluation(v) for name, v in zip(names, values, strict=True)})
    console = Console(width=width, record=True, file=None, quiet=False)
    with console.capture() as captured:
        for table in comparison_tables(comparison):
            console.print(table)
    text = captured.get()
    assert max(map(len, text.splitlines())) <= width
    assert "+66.7" in text
    assert "0 / 4" in text
    assert "…" not in text


def test_what_is_easy_for_one_checkpoint_says_nothing_of_another():
    mine = {"checkpoint": {"weights": "ab"}}
    check_same_checkpoint(mine, evaluation([1], {"checkpoint": {"weights": "ab"}}))
    check_same_checkpoint(mine, evaluation([1]))  # nothing is known of it
    with pytest.raises(ConfigError, match=r"x is of other weights \(cd\) than this evaluation \(ab\)"):
        check_same_checkpoint(mine, evaluation([1], {"checkpoint": {"weights": "cd"}}))


def test_easy_questions_are_of_the_same_tasks(tmp_path: Path):
    right = Evaluation(
        tmp_path, {"q1": (score(rollout("q1", 1.0)),), "q2": (score(rollout("q2", 0.0)),)}, None
    )
    assert easy_questions(right, {"q1", "other"}) == {"q1": True, "q2": False}
    with pytest.raises(ConfigError, match="is of other tasks; give an evaluation of the same tasks"):
        easy_questions(right, {"other"})
