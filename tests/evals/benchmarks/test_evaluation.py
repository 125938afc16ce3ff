"""A benchmark evaluated: both scores, the published figures, and the cue from its boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.benchmarks.test_vstar import ROWS, annotate
from pixelreasoner.chat.hermes import format_call
from pixelreasoner.chat.plain import PlainRenderer
from pixelreasoner.cli.main import main
from pixelreasoner.core.errors import ConfigError, RecordError
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.evals.benchmark import BENCHMARKS, load_benchmark
from pixelreasoner.evals.run import EvalConfig, Evaluated, run
from pixelreasoner.policy.base import CompletionRequest
from pixelreasoner.policy.scripted import ScriptedPolicy, turn_of

RENDERER = PlainRenderer()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two questions of each category, whose pictures are those of the fixture."""
    annotate(tmp_path)
    rows = [{**row, "question_id": f"{copy}{row['question_id']}"} for copy in "ab" for row in ROWS]
    (tmp_path / "test_questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def say(request: CompletionRequest, turn: int) -> str:
    """Crops the glove and is right about it, in words that the released code does not take; is right, with a
    letter, about the dog."""
    prompt = RENDERER.decode(request.segments[0].ids)
    if "glove" not in prompt:
        return "\\boxed{A}"
    zoom = format_call(ToolCall("crop_image", {"bbox_2d": [2, 3, 6, 8], "target_image": 1}))
    return zoom if turn_of(request) == 0 else "\\boxed{B. cotton (woven)}"


def test_both_scores_and_the_figures(folder: Path, tmp_path: Path):
    recipe = EvalConfig.model_validate({
        "out": tmp_path / "out", "benchmark": "vstar", "benchmark_options": {"path": str(folder)},
        "incomplete": True,
    })  # fmt: skip

    def load(config: EvalConfig) -> Evaluated:
        return Evaluated(ScriptedPolicy(say, RENDERER), RENDERER)

    summary: dict[str, Any] = run(recipe, load=load)
    assert summary["accuracy"]["all"] == 1.0
    assert summary["scores"]["pr_compat"] == {
        "all": 0.5,
        "by_kind": {"direct_attributes": {"all": 0.0}, "relative_position": {"all": 1.0}},
    }
    said = summary["benchmark"]
    assert (said["name"], said["complete"]) == ("vstar", False)
    assert said["wrong_rows"] == {"direct_attributes": [2, 115], "relative_position": [2, 76]}
    assert said["figures"]["correct"]["all"] == 1.0
    assert said["figures"]["pr_compat"]["all"] == 0.5
    assert said["figures"]["pr_compat"]["kinds"]["relative_position"] == 1.0
    first, *_ = read_trajectories(tmp_path / "out" / "trajectories.jsonl")
    assert (first.metrics["correct"], first.metrics["pr_compat"]) == (1.0, 0.0)
    assert first.task.cue is not None
    seen = first.read_observations[0]
    assert seen is not None
    assert seen.box == first.task.cue.box  # the box that was annotated is the one that was cropped


def test_a_benchmark_may_be_looked_through(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["tasks", "vstar", "--path", str(folder), "--show", "1"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["direct_attributes", "2", "0", "2", "2", "0", "0", "B", "(2)"] in lines
    assert ["relative_position", "2", "0", "2", "2", "0", "0", "A", "(2)"] in lines


HUB_FILES = {
    "vstar": ("craigwu/vstar_bench", ["test_questions.jsonl", "direct_attributes/sa_1.jpg"], ["OCR/1.jpg"]),
    "tallyqa": ("vikhyatk/tallyqa-test", ["data/test-00000-of-00007.parquet"], ["README.md"]),
    "infovqa": ("lmms-lab/DocVQA", ["InfographicVQA/validation-00000-of-00003.parquet"],
                ["DocVQA/validation-0.parquet", "InfographicVQA/test-00000-of-00003.parquet"]),
    "mvbench": ("OpenGVLab/MVBench", ["json/action_count.json", "video/perception.zip"], []),
    "hrbench": ("DreamMr/HR-Bench", ["hr_bench_4k.parquet"], ["hr_bench_8k.parquet", "hr_bench_4k.tsv"]),
    "visualprobe-eval": ("Mini-o3/VisualProbe_Hard", ["val.json", "images/1.jpg"], []),
    "treebench": ("HaochenWang/TreeBench", ["TreeBench.tsv"], ["README.md"]),
    "zoombench": ("inclusionAI/ZoomBench", ["data/test.parquet"], []),
    "mme-realworld": ("yifanzhang114/MME-RealWorld-lite-lmms-eval", ["data/train-0.parquet"], []),
    "cgbench": ("CG-Bench/CG-Bench", ["cgbench_mini.json"], ["cgbench.json"]),
    "pixelreasoner-eval": ("JasperHaozhe/VStar-EvalData-PixelReasoner", ["vstar.parquet", "images.zip"], []),
}  # fmt: skip
"""Where a benchmark is on the hub, files that are fetched, and files beside them that are not."""


@pytest.mark.parametrize("name", sorted(HUB_FILES))
def test_what_is_fetched_from_the_hub(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from huggingface_hub.utils import filter_repo_objects

    asked: list[tuple[str, list[str]]] = []

    def download(repo: str, *, allow_patterns: list[str], repo_type: str) -> str:
        assert repo_type == "dataset"
        asked.append((repo, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    place, wanted, others = HUB_FILES[name]
    # The folder that was "fetched" is empty: it is refused, by the names of the files that are looked for.
    with pytest.raises(RecordError, match="holds no file of"):
        load_benchmark(name, {})
    ((repo, patterns),) = asked
    assert repo == place
    assert list(filter_repo_objects([*wanted, *others], allow_patterns=patterns)) == wanted


def test_every_registered_benchmark_is_here():
    assert sorted(HUB_FILES) == sorted(BENCHMARKS.parts.keys() - {"pixelworld-test"})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hrbench", {"size": "16k"}, "the option 'size' cannot be '16k': input should be '4k' or '8k'"),
        ("tallyqa", {"subset": "hard"}, "'complex', 'simple' or 'all'"),
        ("visualprobe-eval", {"level": "Hard"}, "'easy', 'medium' or 'hard'"),
        ("pixelworld-test", {"n": 0}, "the option 'n' cannot be 0"),
        ("vstar", {"split": "test"}, "cannot be called with the options"),
    ],
)
def test_options_are_checked(name: str, options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        load_benchmark(name, options)
