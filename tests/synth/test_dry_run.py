"""What a run is said to ask before it asks: from its own prompts, with nothing sent and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.chat_server import serving
from benchmarks.teacher_script import TeacherScript
from pixelreasoner.cli.main import main
from pixelreasoner.core.recipe import save_resolved
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.dry_run import SoFar, dry_run, estimated
from pixelreasoner.synth.run import run
from seed_files import make_fineweb_visa, make_sa_1b
from synth.served_runs import config, recipe

pytest.importorskip("openai")
pytest.importorskip("pyarrow")
NOWHERE = "http://127.0.0.1:9/v1"
"""Nobody listens there."""
PLAIN = {"text_only": 0.0, "full_image_share": 0.0, "image": {
    "single_pass": 1.0, "recrop_once": 0.0, "recrop_twice": 0.0, "further_zoom": 0.0}}  # fmt: skip


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    make_fineweb_visa(folder / "fineweb-visa", 24, shards=1)
    return folder


def test_requests_are_slots_times_the_tasks_that_each_takes(checkpoint: Path, seeds: Path, tmp_path: Path):
    given = config(tmp_path / "out", checkpoint, seeds, NOWHERE, n=20, mix=PLAIN)
    found = estimated(given)
    # Assumed: 90 % of the texts and 70 % of the judgements pass, and 70 % are not too easy.
    judged, written, solved = 20 / 0.7, 20 / (0.7 * 0.9), 20 / (0.7 * 0.9 * 0.7)
    counts = {purpose: part.requests for purpose, part in found.by_purpose.items()}
    assert counts == pytest.approx({"judge": 2 * judged, "write": written, "solve": 3 * solved})
    write = found.by_purpose["write"]
    # A page of 640 x 800 pixels is 654 tokens, and its crop is at least 256 x 256 or 84.
    assert 738 < write.prompt_tokens / write.requests < 2500
    assert write.completion_tokens == pytest.approx(350 * written)
    assert write.usd == pytest.approx(
        (write.prompt_tokens * 2.5 + write.completion_tokens * 10) / 1e6, abs=1e-4
    )
    # One server of eight at a time for each part, ten seconds a reply: the student's takes longest.
    assert found.seconds == pytest.approx(3 * solved * 10 / 8)
    assert not (tmp_path / "out").exists()


def test_questions_are_estimated_for_seeds_that_have_none(checkpoint: Path, tmp_path: Path):
    make_sa_1b(tmp_path / "seeds" / "sa-1b", 4)
    given = config(
        tmp_path / "out", checkpoint, tmp_path / "seeds", NOWHERE, n=2, mix=PLAIN, student=None, judge=None
    )
    found = estimated(given)
    counts = {purpose: part.requests for purpose, part in found.by_purpose.items()}
    assert counts == pytest.approx({"propose": 2 / (0.9 * 0.7), "write": 2 / 0.9})


def test_seeds_without_candidates_are_asked_about_too(checkpoint: Path, tmp_path: Path):
    folder = tmp_path / "seeds" / "media-folder"
    folder.mkdir(parents=True)
    for name in "abcd":
        Image.new("RGB", (640, 480), (9, 99, 199)).save(folder / f"{name}.png")
    given = config(
        tmp_path / "out", checkpoint, folder.parent, NOWHERE, n=2, mix=PLAIN, student=None, judge=None
    )
    counts = {purpose: part.requests for purpose, part in estimated(given).by_purpose.items()}
    assert counts == pytest.approx({"propose": 2 / (0.9 * 0.7), "write": 2 / 0.9})


def test_what_no_prompt_can_be_built_for_is_said(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A box as large as its page leaves no room for a wrong crop, whatever the page."""
    rows = tmp_path / "seeds" / "tasks"
    rows.mkdir(parents=True)
    Image.new("RGB", (640, 480)).save(rows / "a.png")
    row = {"question": "Which?", "answers": ["x"], "images": ["a.png"], "cue": {"box": [0, 0, 640, 480]}}
    (rows / "tasks.jsonl").write_text("".join(json.dumps({"id": f"{i}", **row}) + "\n" for i in range(4)))
    mix = PLAIN | {
        "image": {"single_pass": 0.0, "recrop_once": 1.0, "recrop_twice": 0.0, "further_zoom": 0.0}
    }
    given = recipe(tmp_path / "out", checkpoint, tmp_path / "seeds", NOWHERE, n=2, mix=mix)
    given = SynthConfig.model_validate(given | {"seeds": [{"tasks": {"source": str(rows / "tasks.jsonl")}}]})
    assert estimated(given).unknown == 2
    dry_run(given)
    assert "Not counted: 2 trajectories" in capsys.readouterr().out


def test_what_a_killed_run_left_half_written_is_passed_over(checkpoint: Path, seeds: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "replies.sqlite").touch()
    (tmp_path / "out" / "rejections.jsonl").write_bytes(
        b'{"stage": "judge"}\n{"stage"\n\0\0\n[]\n{"stage": "w'
    )
    found = estimated(config(tmp_path / "out", checkpoint, seeds, NOWHERE, n=2, mix=PLAIN)).so_far
    assert (found.spent, found.rejected) == ({}, {"judge": 1})


def test_a_run_that_was_begun_is_measured(
    checkpoint: Path, seeds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    with serving(TeacherScript()) as server:
        given = config(out, checkpoint, seeds, server.url, n=6, mix=PLAIN, student=None, judge=None)
        run(given)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    longer = save_resolved(given.changed(n=10), tmp_path / "recipe")
    capsys.readouterr()
    assert main(["synth", str(longer), "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "4 of 10 trajectories to make. No request was made." in said
    assert "Spent so far: 6 requests, 5,100 tokens" in said
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    found = estimated(given.changed(n=10))
    # The script's replies have 150 tokens.
    assert found.by_purpose["write"].completion_tokens == pytest.approx(150 * 4 / 0.9)


def test_yields_are_measured_from_the_last_stage_up():
    so_far = SoFar(slots=60, made=60, rejected={"judge": 20, "write": 20, "propose": 100}, spent={})
    assert so_far.yields() == pytest.approx(
        {"judge": 0.75, "compose": 1, "write": 0.8, "difficulty": 1, "ocr": 1, "outline": 1, "propose": 0.5}
    )
    assert SoFar(slots=2, made=2, rejected={"judge": 9}, spent={}).yields()["judge"] == 0.7, "too few"


def test_without_a_server_nothing_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["synth", "nano/synth", "n=5", "--dry-run", "--out", str(tmp_path / "out")]) == 0
    assert "5 trajectories to make; the recipe names no server" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_other_stages_have_no_such_option(capsys: pytest.CaptureFixture[str]):
    assert main(["sft", "nano/sft", "--dry-run"]) == 2
    assert "there is no option --dry-run" in capsys.readouterr().err
