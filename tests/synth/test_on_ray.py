"""A run on a cluster of two nodes on this machine: the files of a local run, byte for byte."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock

import pytest

from benchmarks.chat_server import Answer, Body, serving
from benchmarks.teacher_script import TeacherScript
from pixelreasoner.core.recipe import save_resolved
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.run import run
from seed_files import make_fineweb_visa
from synth.served_runs import check_complete, config, dataset, make_seeds
from synth.test_served import PAGES, one_by_one

pytest.importorskip("openai")
pytest.importorskip("pyarrow")
ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
SRC = Path(__file__).parents[2] / "src"
TIMEOUT_S, LATE_S = 12.0, 14.0
"""Long, so that no reply but a late one comes too late on a busy machine."""
START_S = 300
"""For a command on the cluster."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes with one processor each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # Elsewhere than on Linux Ray stays on the loopback anyhow; here it must not look for another address.
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(SRC), os.environ.get("PYTHONPATH", "")]))
        size = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        nodes = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
        try:
            nodes.add_node(**size)
            yield nodes.address
        finally:
            nodes.shutdown()


def command(given: SynthConfig, folder: Path, address: str, *args: str) -> subprocess.Popen[str]:
    """`pixelreasoner synth --ray` as a process of its own."""
    recipe = save_resolved(given, folder)
    words = [sys.executable, "-m", "pixelreasoner", "synth", str(recipe), "--ray", address, *args]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str], code: int = 0) -> str:
    """What a command wrote until its end."""
    try:
        out, err = process.communicate(timeout=START_S)
    finally:
        process.kill()
    assert process.returncode == code, out + err
    return out + err


def wait_until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until a command has come so far."""
    until = time.monotonic() + START_S
    while not reached():
        assert process.poll() is None, said(process)
        assert time.monotonic() < until
        time.sleep(0.05)


def workers_of(own_cache: Path) -> list[int]:
    """The processes of Ray's workers that belong to this test run."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            name, variables = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
            if b"MapWorker" in name and os.fsencode(own_cache) in variables:
                found.append(int(path.name))
    return found


def with_faults(given: SynthConfig) -> SynthConfig:
    """A recipe whose time-out is below the script's late replies."""
    text = given.model_dump(mode="json", exclude_none=True)
    for part in {"chat_teacher", "student", "judge"} & text.keys():
        text[part]["server"] |= {"timeout_s": TIMEOUT_S, "concurrency": 16}
    return SynthConfig.model_validate(text)


class Paid:
    """A script, and how often it gave each request a reply that a client can read, and pays for."""

    def __init__(self, script: TeacherScript) -> None:
        self.script, self.replies = script, Counter[str]()
        self._lock = Lock()

    def __call__(self, body: Body) -> Answer:
        answer = self.script(body)
        readable = answer.status == 200 and answer.raw is None and answer.content_length is None
        if readable and answer.delay_s < LATE_S:
            with self._lock:
                self.replies[json.dumps(body, sort_keys=True)] += 1
        return answer


def replies(folder: Path) -> tuple[int, int]:
    """Replies on disk, and how many were ever put there."""
    with closing(sqlite3.connect(folder / "replies.sqlite")) as file:
        (kept,) = file.execute("select count(*) from replies").fetchone()
        (put,) = file.execute("select sum(requests) from spent").fetchone()
    return kept, put


def test_without_servers_the_files_are_those_of_a_local_run(address: str, tmp_path: Path):
    given = SynthConfig.model_validate(
        {"out": str(tmp_path / "local"), "n": 40, "tasks": {"source": "pixelworld", "split": "train"}}
    )
    run(given)
    text = said(command(given.changed(out=tmp_path / "ray"), tmp_path / "recipe", address))
    assert dataset(tmp_path / "ray") == dataset(tmp_path / "local")
    assert "synth 40/40" in text
    assert not [line for line in text.splitlines() if "ray" in line.lower() and "tmp" not in line], text


def test_with_servers_and_faults_and_a_kill_the_files_are_those_of_a_local_run(
    address: str, checkpoint: Path, tmp_path: Path
):
    known = make_seeds(tmp_path / "seeds", 20)
    changes = {"faults": 0.3, "late_s": LATE_S, "latency_s": 0.1, "known": known, "leaks": 0.1}
    with serving(TeacherScript(**changes)) as server:
        given = with_faults(config(tmp_path / "local", checkpoint, tmp_path / "seeds", server.url, n=30))
        run(given)
        server.script = whole = Paid(TeacherScript(**changes))
        text = said(command(given.changed(out=tmp_path / "whole"), tmp_path / "recipe", address))
        assert "synth 30/30" in text
        assert "cost $" in text
        assert "judge 30" in text
        server.script = killed = Paid(TeacherScript(**changes))
        out = tmp_path / "killed"
        process = command(given.changed(out=out), tmp_path / "recipe-2", address)
        wait_until(lambda: len(list(out.glob("waiting/*.jsonl"))) >= 3, process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.communicate()
        before = killed.replies.total()
        said(command(given.changed(out=out), tmp_path / "recipe-2", address, "--resume"))
    assert dataset(tmp_path / "whole") == dataset(tmp_path / "local")
    assert dataset(out) == dataset(tmp_path / "local")
    check_complete(out, 30)
    kept, put = replies(tmp_path / "whole")
    assert (kept, put) == (len(whole.replies), whole.replies.total()), "a request was paid twice"
    assert replies(out) == (kept, kept)
    assert 0 < before < kept
    # Of those that were under way when the process was killed, nobody took the reply.
    assert set(killed.replies) == set(whole.replies)
    assert killed.replies.total() <= kept + 3 * 16


def test_a_wrong_key_ends_a_run_on_a_cluster_with_one_line(address: str, checkpoint: Path, tmp_path: Path):
    make_seeds(tmp_path / "seeds", 6)
    with serving(lambda body: Answer(status=401, error="who are you?")) as server:
        given = config(tmp_path / "out", checkpoint, tmp_path / "seeds", server.url, n=6)
        text = said(command(given, tmp_path / "recipe", address), code=2)
    (error,) = [line for line in text.splitlines() if line.startswith("error: ")]
    assert "refuses requests for the model 'm'" in error
    assert "Traceback" not in text


def test_a_worker_that_dies_is_begun_again_and_nothing_is_doubled(
    address: str, checkpoint: Path, tmp_path: Path, own_cache: Path
):
    make_fineweb_visa(tmp_path / "seeds" / "fineweb-visa", 40, shards=1)
    changes = {**PAGES, "n": 16}
    with serving(TeacherScript(latency_s=1.0)) as server:
        run(with_faults(config(tmp_path / "local", checkpoint, tmp_path / "seeds", server.url, **changes)))
        out = tmp_path / "out"
        given = with_faults(config(out, checkpoint, tmp_path / "seeds", server.url, **changes))
        server.script = paid = Paid(TeacherScript(latency_s=1.0))
        process = command(given, tmp_path / "recipe", address)
        wait_until(lambda: bool(paid.replies), process)
        killed = workers_of(own_cache)[0]
        os.kill(killed, signal.SIGKILL)
        said(process)
    assert dataset(out) == dataset(tmp_path / "local")
    assert killed not in workers_of(own_cache)
    kept, put = replies(out)
    assert kept == put == len(paid.replies) == 16
    assert paid.replies.total() <= 16 + 8, "what the dead worker had asked is asked again, and no more"


def test_an_interrupted_run_ends_cleanly(address: str, checkpoint: Path, tmp_path: Path, own_cache: Path):
    make_fineweb_visa(tmp_path / "seeds" / "fineweb-visa", 40, shards=1)
    with serving(TeacherScript(latency_s=0.5)) as server:
        given = config(tmp_path / "out", checkpoint, tmp_path / "seeds", server.url, **{**PAGES, "n": 16})
        process = command(given, tmp_path / "recipe", address)
        wait_until(lambda: bool(server.requests), process)
        process.send_signal(signal.SIGTERM)
        text = said(process, code=128 + signal.SIGTERM)
    assert "Interrupted. Go on with: pixelreasoner synth" in text
    assert text.splitlines()[-1].endswith(f"--ray {address} --resume")
    assert "Traceback" not in text
    until = time.monotonic() + 30
    while workers_of(own_cache) and time.monotonic() < until:
        time.sleep(0.5)
    assert workers_of(own_cache) == []


def test_the_budget_of_a_run_is_one_for_all_workers(address: str, checkpoint: Path, tmp_path: Path):
    make_fineweb_visa(tmp_path / "seeds" / "fineweb-visa", 40, shards=1)
    with serving(paid := Paid(TeacherScript())) as server:
        # A request costs 0.85 dollars, and 1.1 at most.
        teacher = one_by_one(server.url, concurrency=16)
        changes = {**PAGES, "n": 12, "chat_teacher": teacher, "budget": {"usd": 6.0}}
        given = config(tmp_path / "out", checkpoint, tmp_path / "seeds", server.url, **changes)
        text = said(command(given, tmp_path / "recipe", address), code=2)
        assert "raise budget.usd and go on with --resume" in text
        assert 1 <= paid.replies.total() <= 7
        more = given.changed(budget={"usd": 60.0})
        said(command(more, tmp_path / "recipe", address, "--resume"))
    assert paid.replies.total() == 12
    check_complete(tmp_path / "out", 12)


def test_what_a_server_does_not_answer_stays_undone(address: str, checkpoint: Path, tmp_path: Path):
    make_fineweb_visa(tmp_path / "seeds" / "fineweb-visa", 24, shards=1)
    script, first = TeacherScript(), list[str]()

    def one_fails(body: Body) -> Answer:
        answer, asked = script(body), json.dumps(body)
        first.extend([asked] if not first else [])
        return Answer(status=503, error="busy") if asked == first[0] else answer

    with serving(one_fails) as server:
        changes = {**PAGES, "chat_teacher": one_by_one(server.url)}
        given = config(tmp_path / "out", checkpoint, tmp_path / "seeds", server.url, **changes)
        text = said(command(given, tmp_path / "recipe", address), code=2)
    assert re.search(r"error: 1 trajectory got no reply and is undone; trajectory \d: status 503", text)
    in_place = (tmp_path / "out" / "journal.jsonl").read_text().count("\n")
    assert in_place + len(list((tmp_path / "out" / "waiting").glob("*.jsonl"))) == 5


def test_sources_that_a_machine_cannot_read_are_named_with_the_machine(
    address: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # The variable of the key is set here, and not where the workers are.
    monkeypatch.setenv("KEY_OF_THE_TEST", "secret")
    make_fineweb_visa(tmp_path / "seeds" / "fineweb-visa", 24, shards=1)
    with serving(TeacherScript()) as server:
        changes = {**PAGES, "chat_teacher": one_by_one(server.url, api_key_env="KEY_OF_THE_TEST")}
        given = config(tmp_path / "out", checkpoint, tmp_path / "seeds", server.url, **changes)
        text = said(command(given, tmp_path / "recipe", address), code=2)
    (error,) = [line for line in text.splitlines() if line.startswith("error: ")]
    assert "KEY_OF_THE_TEST is not set" in error
    assert f"on the machine {platform.node()}" in error
    assert "secret" not in text


def test_a_cluster_that_is_not_there_is_said(tmp_path: Path):
    given = SynthConfig.model_validate({"out": str(tmp_path / "out"), "n": 2})
    text = said(command(given, tmp_path / "recipe", "127.0.0.1:1"), code=2)
    assert "error: --ray 127.0.0.1:1: " in text
    assert "ray start --head" in text
