"""The judge, against a server on this machine that speaks the protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pixelreasoner.chat.plain import PlainRenderer
from pixelreasoner.core.errors import ConfigError, RecordError
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn
from pixelreasoner.evals.judge import INSTRUCTION, JudgeConfig, judge_score, verdict
from pixelreasoner.evals.run import EvalConfig, Evaluated, run
from pixelreasoner.policy.scripted import ScriptedPolicy
from pixelreasoner.rewards.scorers import exact

pytest.importorskip("openai")


class Server:
    """Answers by the answer it is asked about, and remembers what it was asked."""

    def __init__(self) -> None:
        self.replies: dict[str, str] = {}
        """From an answer to the reply; one that is not there fails with an error of the server."""
        self.asked: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append({"path": self.path, "key": self.headers["Authorization"], **body})
                answer = json.loads(body["messages"][1]["content"])["answer"]
                reply = outer.replies.get(answer)
                self.send_response(500 if reply is None else 200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                message = {"role": "assistant", "content": reply}
                self.wfile.write(json.dumps({
                    "id": "1", "object": "chat.completion", "created": 0, "model": body["model"],
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                }).encode())  # fmt: skip

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever)
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()
    thread.join()


def config(server: Server, folder: Path, **changes: Any) -> JudgeConfig:
    values = {"url": server.url, "model": "judge-1", "cache": folder / "cache", "retries": 0, **changes}
    return JudgeConfig.model_validate(values)


def trajectory(answer: str | None, *references: str) -> Trajectory:
    task = Task("t", "What is on the sign?", (), references or ("No entry",))
    return Trajectory(task, (Turn(""),), StopReason.ANSWER, answer)


def test_a_verdict_is_yes_or_no(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUDGE_KEY", "secret")
    judge = judge_score(config(server, tmp_path, api_key_env="JUDGE_KEY"), exact)
    server.replies = {"entry forbidden": "Yes.", "stop": " **no** ", "perhaps": "Yes and no", "empty": ""}
    assert judge(trajectory("entry forbidden", "No entry", "Do not enter")) == 1.0
    assert judge(trajectory("stop")) == 0.0
    # What is no verdict, and a server that fails, are no wrong answers.
    assert judge(trajectory("perhaps")) is None
    assert judge(trajectory("empty")) is None
    assert judge(trajectory("not known to the server")) is None
    first = server.asked[0]
    assert (first["path"], first["key"]) == ("/v1/chat/completions", "Bearer secret")
    assert (first["model"], first["temperature"], first["max_tokens"]) == ("judge-1", 0.0, 16)
    assert first["messages"][0]["content"] == INSTRUCTION
    assert json.loads(first["messages"][1]["content"]) == {
        "question": "What is on the sign?",
        "reference": "No entry or Do not enter",
        "answer": "entry forbidden",
    }


def test_rules_go_first(server: Server, tmp_path: Path):
    judge = judge_score(config(server, tmp_path), exact)
    assert judge(trajectory("no entry.")) == 1.0
    assert judge(trajectory(None)) == judge(trajectory("")) == judge(trajectory(" \n ")) == 0.0
    assert judge(trajectory("x" * 10_001)) == 0.0
    assert server.asked == []


def test_no_request_is_made_twice_unless_it_failed(server: Server, tmp_path: Path):
    server.replies = {"a": "yes", "b": "no", "c": "well"}
    for _ in range(2):
        # Another process, as it were: the replies are on disk.
        judge = judge_score(config(server, tmp_path), exact)
        assert [judge(trajectory(a)) for a in "abcd"] == [1.0, 0.0, None, None]
    answers = [json.loads(body["messages"][1]["content"])["answer"] for body in server.asked]
    assert answers == ["a", "b", "c", "d", "d"]
    server.replies["d"] = "yes"
    assert judge_score(config(server, tmp_path), exact)(trajectory("d")) == 1.0
    # Another model is asked anew.
    judge_score(config(server, tmp_path, model="judge-2"), exact)(trajectory("a"))
    assert server.asked[-1]["model"] == "judge-2"


def test_a_reply_on_disk_that_is_none_is_named(server: Server, tmp_path: Path):
    server.replies = {"a": "yes"}
    judge_score(config(server, tmp_path), exact)(trajectory("a"))
    (path,) = (tmp_path / "cache").iterdir()
    path.write_text("{")
    with pytest.raises(RecordError, match="is no reply of a judge"):
        judge_score(config(server, tmp_path), exact)(trajectory("a"))


def test_an_address_is_needed(server: Server, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"judge\.url: 'localhost' is no address"):
        judge_score(config(server, tmp_path, url="localhost"), exact)


@pytest.mark.parametrize(("reply", "score"), [("YES", 1.0), ("no!", 0.0), ("yes, it is", None), (None, None)])
def test_only_one_word_is_a_verdict(reply: str | None, score: float | None):
    assert verdict(reply) == score


def test_an_evaluation_counts_failures_apart(server: Server, tmp_path: Path):
    tasks = tmp_path / "tasks.jsonl"
    rows = [{"id": str(i), "question": f"Question {i}?", "answers": "No entry"} for i in range(4)]
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = ["No entry", "entry forbidden", "stop", "lost"]
    server.replies = {"entry forbidden": "yes", "stop": "no"}
    renderer = PlainRenderer()

    def say(request: Any, turn: int) -> str:
        prompt = renderer.decode(request.segments[0].ids)
        return next(f"\\boxed{{{a}}}" for i, a in enumerate(answers) if f"Question {i}?" in prompt)

    recipe = EvalConfig.model_validate({
        "out": tmp_path / "out", "tasks": {"source": str(tasks), "split": "test"},
        "judge": {"url": server.url, "model": "m", "cache": tmp_path / "cache", "retries": 0},
    })  # fmt: skip
    summary = run(recipe, load=lambda config: Evaluated(ScriptedPolicy(say, renderer), renderer))
    assert summary["accuracy"]["all"] == 0.25
    assert summary["scores"]["judge"]["all"] == pytest.approx(2 / 3)
    assert (summary["tasks"]["scores"]["judge"]["all"], summary["n"]) == (3, 4)
