"""A run whose teacher, student and judge are on a server: exact, and the same however it is disturbed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chat_server import Answer, Body, ChatServer, serving
from benchmarks.teacher_script import TRANSPORT, TeacherScript
from disk import full_disk
from pixelreasoner.core.errors import ConfigError, RecordError
from pixelreasoner.core.recipe import load_recipe, save_resolved
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.run_status import read_status, state_of
from pixelreasoner.endpoint.failures import EndpointError
from pixelreasoner.endpoint.ledger import OutOfBudgetError
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.run import run
from seed_files import make_fineweb_visa
from synth.served_runs import check_complete, config, dataset, make_seeds, rejections

pytest.importorskip("openai")
pytest.importorskip("pyarrow")
ROOT = Path(__file__).parents[2]
PAGES = {"student": None, "judge": None, "n": 6, "mix": {"text_only": 0.0, "full_image_share": 0.0, "image": {
    "single_pass": 0.5, "recrop_once": 0.5, "recrop_twice": 0.0, "further_zoom": 0.0}}}  # fmt: skip
"""Six trajectories about pages, with a teacher alone: six requests where nothing goes wrong."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    make_fineweb_visa(folder / "fineweb-visa", 24, shards=1)
    return folder


@pytest.fixture
def script() -> TeacherScript:
    return TeacherScript()


@pytest.fixture
def server(script: TeacherScript) -> Iterator[ChatServer]:
    with serving(script) as serves:
        yield serves


def one_by_one(url: str, **changes: Any) -> dict[str, Any]:
    """A teacher that is asked one request at a time."""
    prices = {"usd_per_million_prompt_tokens": 1000.0, "usd_per_million_completion_tokens": 1000.0}
    server = {"url": url, "model": "m", "concurrency": 1, "retries": 0, **prices, **changes}
    return {"server": server, "max_tokens": 300}


def test_a_teacher_on_a_server_gives_what_the_mix_says(
    checkpoint: Path, pages: Path, tmp_path: Path, script: TeacherScript, server: ChatServer
):
    made = run(config(tmp_path / "out", checkpoint, pages, server.url, **PAGES))
    assert made == {"single_pass": 3, "recrop_once": 3}
    assert check_complete(tmp_path / "out", 6) == made
    assert script.counts == {"write": 6}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    # The script says 700 and 150 tokens for each: 6 * (700 * 2.5 + 150 * 10) / 1e6 dollars.
    assert summary["spending"]["write"] == {
        "requests": 6, "prompt_tokens": 4200, "completion_tokens": 900,
        "usd": pytest.approx(0.0195), "estimated": 0,
    }  # fmt: skip
    assert (summary["by_source"], summary["rejections"]) == ({"fineweb-visa": 6}, {})
    assert not (tmp_path / "out" / "waiting").exists()


def test_a_task_that_is_rejected_is_followed_by_the_next_of_its_chain(
    checkpoint: Path, pages: Path, tmp_path: Path, script: TeacherScript, server: ChatServer
):
    refused: set[str] = set()

    def refuses_first(body: Body) -> Answer:
        answer = script(body)
        question = str(body["messages"][1]["content"])[-800:]
        if len(refused) < 1 or question in refused:
            refused.add(question)
            return Answer(None, fields={"refusal": "No."})
        return answer

    server.script = refuses_first
    changes = {**PAGES, "chat_teacher": one_by_one(server.url)}
    assert run(config(tmp_path / "out", checkpoint, pages, server.url, **changes)) == {
        "single_pass": 3,
        "recrop_once": 3,
    }
    (row,) = rejections(tmp_path / "out")
    assert (row["stage"], row["reason"]) == ("write", "the model refused")
    assert row["detail"] == "No."
    kept = list(read_trajectories(tmp_path / "out" / "trajectories.jsonl"))
    (so_far,) = read_trajectories(tmp_path / "out" / "rejected" / "trajectories.jsonl")
    assert so_far.task.id == row["task"]
    assert so_far.turns[0].observation is not None, "its operations are on record, without words"
    assert so_far.task.id not in {t.task.id for t in kept}
    assert check_complete(tmp_path / "out", 6).total() == 6


def test_what_cannot_be_filled_is_said_and_the_rest_is_there(
    checkpoint: Path, pages: Path, tmp_path: Path, server: ChatServer, capsys: pytest.CaptureFixture[str]
):
    server.script = lambda body: Answer("no JSON at all")
    with pytest.raises(Exception, match="no trajectory was made"):
        run(config(tmp_path / "out", checkpoint, pages, server.url, **{**PAGES, "tries": 2}))
    said = capsys.readouterr().err
    assert "0 of 6 trajectories were made; for 6 (3 of single_pass, 3 of recrop_once)" in said
    assert Counter(row["slot"] for row in rejections(tmp_path / "out")) == dict.fromkeys(range(6), 2)


def test_a_server_that_does_not_answer_leaves_its_trajectories_undone_and_the_others_go_on(
    checkpoint: Path, pages: Path, tmp_path: Path, script: TeacherScript, server: ChatServer
):
    first: list[str] = []

    def one_fails(body: Body) -> Answer:
        answer, asked = script(body), json.dumps(body)
        first.extend([asked] if not first else [])
        return Answer(status=503, error="busy") if asked == first[0] else answer

    server.script = one_fails
    changes = {**PAGES, "chat_teacher": one_by_one(server.url)}
    out, given = tmp_path / "out", config(tmp_path / "out", checkpoint, pages, server.url, **changes)
    with pytest.raises(EndpointError, match=r"1 trajectory got no reply and is undone; trajectory \d: "):
        run(given)
    assert state_of(out) == "failed"
    in_place = (out / "trajectories.jsonl").read_bytes().count(b"\n")
    assert in_place + len(list((out / "waiting").glob("*.jsonl"))) == 5, "others are made, and wait for it"
    server.script = script
    assert sum(run(given, resume=True).values()) == 6
    assert script.counts["write"] == 6 + 1, "what was answered is not asked again"
    whole = config(tmp_path / "whole", checkpoint, pages, server.url, **changes)
    run(whole)
    assert dataset(out) == dataset(tmp_path / "whole")


def test_a_budget_ends_the_run_and_more_of_it_goes_on(
    checkpoint: Path, pages: Path, tmp_path: Path, script: TeacherScript, server: ChatServer
):
    # A request costs 0.85 dollars.
    changes = {**PAGES, "chat_teacher": one_by_one(server.url)}
    given = config(tmp_path / "out", checkpoint, pages, server.url, **changes, budget={"usd": 4.0})
    with pytest.raises(OutOfBudgetError, match=r"raise budget\.usd and go on with --resume"):
        run(given)
    asked = script.counts["write"]
    assert 1 <= asked <= 4, "nothing is asked that could cost more"
    status = read_status(tmp_path / "out")
    assert status is not None
    assert status.total == 6
    assert sum(run(given.changed(budget={"usd": 40.0}), resume=True).values()) == 6
    assert script.counts["write"] == 6
    run(config(tmp_path / "whole", checkpoint, pages, server.url, **changes))
    assert dataset(tmp_path / "out") == dataset(tmp_path / "whole")


def test_a_full_disk_ends_the_run_and_turns_nothing_down(
    checkpoint: Path, pages: Path, tmp_path: Path, script: TeacherScript, server: ChatServer
):
    """The cache of replies cannot grow: that is no fault of a task."""
    changes = {**PAGES, "chat_teacher": one_by_one(server.url)}
    given = config(tmp_path / "out", checkpoint, pages, server.url, **changes)
    with full_disk(60_000), pytest.raises(RecordError, match="that the disk has room"):
        run(given)
    assert run(given, resume=True) == {"single_pass": 3, "recrop_once": 3}
    assert rejections(tmp_path / "out") == []
    run(config(tmp_path / "whole", checkpoint, pages, server.url, **changes))
    assert dataset(tmp_path / "out") == dataset(tmp_path / "whole")


def test_a_budget_that_no_price_uses_up_is_refused_before_anything_is_asked(
    checkpoint: Path, pages: Path, tmp_path: Path, server: ChatServer
):
    free = {"chat_teacher": {"server": {"url": server.url, "model": "m"}}, "budget": {"usd": 4.0}}
    given = config(tmp_path / "out", checkpoint, pages, server.url, **{**PAGES, **free})
    with pytest.raises(ConfigError, match=r"no server has a price.*chat_teacher\.server.*budget\.tokens"):
        run(given)
    assert (server.requests, (tmp_path / "out").exists()) == ([], False)


def test_a_run_that_has_paid_keeps_its_folder_also_without_a_trajectory(
    checkpoint: Path, pages: Path, tmp_path: Path, script: TeacherScript, server: ChatServer
):
    """Its first texts have faults, and the budget is spent before it has others."""
    script.leaks = 1.0
    changes = {**PAGES, "n": 1, "chat_teacher": one_by_one(server.url), "budget": {"usd": 40.0}}
    given = config(tmp_path / "out", checkpoint, pages, server.url, **changes)
    with pytest.raises(OutOfBudgetError):
        run(given.changed(budget={"usd": 1.6}))
    assert script.counts["write"] == 1
    with pytest.raises(ConfigError, match="already holds a run"):
        run(given)
    assert load_recipe(SynthConfig, tmp_path / "out" / "config.toml").budget.usd == 1.6
    assert run(given, resume=True) == {"single_pass": 1}
    assert script.counts["write"] == 2


def test_a_wrong_key_ends_the_run_at_once(checkpoint: Path, pages: Path, tmp_path: Path, server: ChatServer):
    server.script = lambda body: Answer(status=401, error="who are you?")
    with pytest.raises(EndpointError, match=r"chat_teacher\.server"):
        run(config(tmp_path / "out", checkpoint, pages, server.url, **PAGES))
    assert len(server.requests) <= 8, "those that were under way together"


def test_seeds_without_a_question_need_a_teacher_that_writes_one(
    checkpoint: Path, tmp_path: Path, server: ChatServer
):
    from seed_files import make_sa_1b

    make_sa_1b(tmp_path / "seeds" / "sa-1b", 2)
    given = config(tmp_path / "out", checkpoint, tmp_path / "seeds", server.url, chat_teacher=None)
    with pytest.raises(ConfigError, match="no questions"):
        run(given)


@pytest.mark.slow
def test_three_formats_with_a_server_that_answers_a_third_of_the_requests_badly(
    checkpoint: Path, tmp_path: Path
):
    """330 seeds, 75 trajectories: the mix of the plan, nothing lost or doubled, every rejection explained."""
    known = make_seeds(tmp_path / "seeds", 110)
    script = TeacherScript(
        faults=0.3, late_s=3.0, known=known, leaks=0.1, invalid=0.05, blind=0.05, fooled=0.05
    )
    with serving(script) as server:
        given = config(tmp_path / "out", checkpoint, tmp_path / "seeds", server.url, n=75)
        made = run(faster(given, samples=6))
    templates = check_complete(tmp_path / "out", 75)
    assert {str(name): count for name, count in made.items()} == templates
    # 20 text-only; 55 with an operation: 37 pictures at 50/25/25 %, 18 videos at 90/10 %.
    wanted = {"text_only": 20, "single_pass": 19 + 16, "recrop_once": 9, "recrop_twice": 9, "reselect": 2}
    assert all(abs(templates[name] - count) <= 1 for name, count in wanted.items()), templates
    assert templates.total() >= 74
    for kind in TRANSPORT:
        assert script.counts[kind] > 0, f"no request met the fault '{kind}'"


def faster(given: SynthConfig, samples: int = 3) -> SynthConfig:
    """With a time-out below the script's late replies."""
    text = given.model_dump(mode="json", exclude_none=True)
    for part in ("chat_teacher", "student", "judge"):
        text[part]["server"]["timeout_s"] = 1.5
    text["student"]["samples"] = samples
    return SynthConfig.model_validate(text)


@pytest.mark.slow
def test_a_run_that_is_killed_five_times_gives_the_same_bytes(checkpoint: Path, tmp_path: Path):
    known = make_seeds(tmp_path / "seeds", 40)
    rng = random.Random(18)
    script = TeacherScript(faults=0.3, late_s=3.0, latency_s=0.05, known=known, leaks=0.1)
    with serving(script) as server:
        whole = faster(config(tmp_path / "whole", checkpoint, tmp_path / "seeds", server.url, n=40))
        run(whole)
        asked = len({json.dumps(body, sort_keys=True) for body in server.requests})
        recipe = save_resolved(whole.changed(out=tmp_path / "killed"), tmp_path / "recipe")
        killed, before = 0, len(server.requests)
        while killed < 5:
            process = started(recipe, resume=killed > 0)
            # Each time after some more requests, so that it is at work and not at its end.
            until = before + asked * (killed + rng.random()) / 6
            while process.poll() is None and len(server.requests) < until:
                time.sleep(0.01)
            process.kill()
            process.communicate()
            if process.returncode != -signal.SIGKILL:
                break
            killed += 1
        ended = started(recipe, resume=True)
        _, said = ended.communicate()
        assert ended.returncode == 0, said
    assert dataset(tmp_path / "killed") == dataset(tmp_path / "whole")
    assert killed == 5
    unanswered = len(server.requests) - before - asked
    assert unanswered >= 0
    check_complete(tmp_path / "killed", 40)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_the_run_cleanly_and_it_goes_on(
    checkpoint: Path, pages: Path, tmp_path: Path, number: signal.Signals, code: int
):
    changes = {**PAGES, "n": 12, "tries": 2}
    with serving(TeacherScript(latency_s=0.5)) as server:
        teacher = one_by_one(server.url, concurrency=2)
        whole = config(tmp_path / "whole", checkpoint, pages, server.url, **changes, chat_teacher=teacher)
        run(whole)
        recipe = save_resolved(whole.changed(out=tmp_path / "stopped"), tmp_path / "recipe")
        before = len(server.requests)
        process = started(recipe, resume=False)
        while len(server.requests) < before + 5 and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate()
        assert process.returncode == code, said
        assert b"Interrupted. Go on with: pixelreasoner synth" in said
        assert b"Traceback" not in said
        assert state_of(tmp_path / "stopped") == "stopped"
        again = started(recipe, resume=True)
        _, said = again.communicate()
        assert again.returncode == 0, said
        # Two were under way, and are asked again.
        assert len(server.requests) <= before + 12 + 2
    assert dataset(tmp_path / "stopped") == dataset(tmp_path / "whole")


def started(recipe: Path, *, resume: bool) -> subprocess.Popen[bytes]:
    args = [sys.executable, "-m", "pixelreasoner", "synth", str(recipe), *(["--resume"] if resume else [])]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(args, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
