"""Evaluating a served model against a real server on this machine."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path
from threading import Lock

import numpy as np
import pytest

from benchmarks.chat_server import (
    CROP,
    Answer,
    Body,
    ChatServer,
    crops_once,
    pictures_in,
    serving,
    slowly,
    texts_in,
    turn_of,
)
from pixelreasoner.chat.pixels import fit, resized
from pixelreasoner.cli.main import main
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.media import Picture
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.trajectory import StopReason, Trajectory
from pixelreasoner.endpoint.failures import EndpointError
from pixelreasoner.evals.metrics import summarize
from pixelreasoner.evals.run import EvalConfig, run
from pixelreasoner.tasks.pixelworld import PixelWorld, WorldConfig

pytest.importorskip("openai")

WORLD = WorldConfig(kinds=("attribute", "count"))
TASKS = list(PixelWorld(WORLD).tasks("test", 6))
IMAGE = {"min_pixels": 1024, "max_pixels": 64 * 1024}


def config(out: Path, server: ChatServer, *, endpoint: Body | None = None, **changes: object) -> EvalConfig:
    asked = {
        "url": server.url,
        "model": "m",
        "family": "qwen3_vl",
        "retry_wait_s": 0.01,
        "retry_max_wait_s": 0.02,
    }
    interaction = {
        "wording": {"image": IMAGE, "observation_role": "user"},
        "sampling": {"temperature": 0.0, "max_tokens": 64},
    }
    table = {
        "out": out,
        "tasks": {"split": "test", "options": {"kinds": ["attribute", "count"]}},
        "n": 6,
        "interaction": interaction,
        "endpoint": asked | (endpoint or {}),
    }
    return EvalConfig.model_validate(table | changes)


def records(out: Path) -> list[Trajectory]:
    return list(read_trajectories(out / "trajectories.jsonl"))


def seen(picture: Picture, size: Size) -> np.ndarray:
    return np.asarray(resized(picture, size))


def test_crops_once_and_the_pixels_are_right(tmp_path: Path):
    with serving(crops_once) as server:
        summary = run(config(tmp_path, server))
    found = records(tmp_path)
    assert [t.task.id for t in found] == [t.id for t in TASKS]
    assert (summary["n"], summary["rapr"]["all"]) == (6, 1.0)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert summarize(found).items() <= summary.items()
    assert not (tmp_path / "waiting").exists()
    budget = config(tmp_path, server).interaction.wording.image
    assert budget is not None
    for task, trajectory in zip(TASKS, found, strict=True):
        picture = task.media[0]
        assert isinstance(picture, Picture)
        size = fit(picture.size, budget, factor=32)
        mine = [
            r
            for r in server.requests
            if task.question in texts_in(r["messages"][-1 if turn_of(r) == 0 else 1])
        ]
        first, second = sorted(mine, key=turn_of)
        sent = pictures_in(next(m for m in first["messages"] if m["role"] == "user"))
        assert len(sent) == 1
        assert np.array_equal(sent[0], seen(picture, size))
        # 0 to 400 of 1000, from the original pixels.
        observation = trajectory.turns[0].observation
        assert observation is not None
        assert observation.box is not None
        right, bottom = (int(np.ceil(0.4 * side)) for side in picture.size)
        assert np.array_equal(observation.images[0].pixels, picture.pixels[:bottom, :right])
        crop = fit(Size(right, bottom), budget, factor=32)
        (shown,) = pictures_in(second["messages"][-1])
        assert np.array_equal(shown, seen(observation.images[0], crop))
        assert trajectory.answer == str(int(shown.astype(np.int64).sum()) % 10)
        assert second["messages"][-2] == {"role": "assistant", "content": f"I look closer. {CROP}"}
        assert texts_in(second["messages"][-1]) == observation.text
        assert trajectory.metrics == {
            "prompt_tokens": 200,
            "completion_tokens": 20,
            "correct": trajectory.metrics["correct"],
        }
        assert trajectory.prompt is None
        assert trajectory.turns[0].sampled is None
        assert trajectory.coordinates == "relative"


def test_what_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", "secret")
    with serving(crops_once) as server:
        run(config(tmp_path, server, n=1, endpoint={"api_key_env": "MY_KEY", "extra": {"top_k": 1}}))
    request = server.requests[0]
    assert server.headers[0]["authorization"] == "Bearer secret"
    assert (request["model"], request["temperature"], request["max_completion_tokens"]) == ("m", 0.0, 64)
    assert request["top_k"] == 1
    assert "tools" not in request
    assert '"name": "crop_image"' in texts_in(request["messages"][0])
    assert 0 <= request["seed"] < 2**31
    assert request["seed"] != server.requests[1]["seed"]
    assert "secret" not in "".join(p.read_text() for p in tmp_path.glob("*") if p.is_file())


def native(body: Body) -> Answer:
    calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": "crop_image", "arguments": arguments}}
        for i, arguments in enumerate(['{"bbox_2d": [0, 0, 400, 400], "target_image": 1}', "{}"])
    ]
    return Answer(None, calls, finish="tool_calls") if turn_of(body) == 0 else Answer("\\boxed{3}")


@pytest.mark.parametrize("role", ["tool", "user"])
def test_native_calls(tmp_path: Path, role: str):
    interaction = {"wording": {"image": IMAGE, "observation_role": role}}
    with serving(native) as server:
        run(config(tmp_path, server, n=1, interaction=interaction, endpoint={"calls": "native"}))
    first, second = server.requests
    assert [tool["function"]["name"] for tool in first["tools"]] == ["crop_image", "select_frames"]
    assert all("<tools>" not in texts_in(m) for m in first["messages"])
    (found,) = records(tmp_path)
    assert found.turns[0].call is not None
    assert found.turns[0].call.arguments["bbox_2d"] == [0, 0, 400, 400]
    assert found.turns[0].text.startswith("<tool_call>")
    observation = found.turns[0].observation
    assert observation is not None
    assert observation.valid
    assert "Only the first of your 2 calls" in observation.text
    said, *results = second["messages"][-3 if role == "tool" else -4 :]
    assert [c["id"] for c in said["tool_calls"]] == ["c0", "c1"]
    assert [m["role"] for m in results] == (["tool", "tool"] if role == "tool" else ["tool", "tool", "user"])
    assert [m["tool_call_id"] for m in results[:2]] == ["c0", "c1"]
    assert texts_in(results[0]) == observation.text
    assert "only the first call" in texts_in(results[1])
    assert len(pictures_in(results[0 if role == "tool" else 2])) == 1


def test_broken_native_arguments_are_an_observation(tmp_path: Path):
    call = {"id": "c", "type": "function", "function": {"name": "crop_image", "arguments": '{"bbox_2d": [0,'}}
    script = lambda body: Answer("", [call]) if turn_of(body) == 0 else Answer("\\boxed{3}")  # noqa: E731
    with serving(script) as server:
        run(config(tmp_path, server, n=1, endpoint={"calls": "native"}))
    (found,) = records(tmp_path)
    assert found.turns[0].call is None
    assert found.answer == "3"
    assert found.turns[0].observation is not None
    assert not found.turns[0].observation.valid
    assert "not valid JSON" in found.turns[0].observation.text


def test_xml_calls_in_the_words_of_a_server_without_a_parser(tmp_path: Path):
    call = "<tool_call>\n<function=crop_image>\n<parameter=bbox_2d>\n[0, 0, 400, 400]\n</parameter>\n"
    call += "<parameter=target_image>\n1\n</parameter>\n</function>\n</tool_call>"
    with serving(lambda body: Answer(call) if turn_of(body) == 0 else Answer("\\boxed{3}")) as server:
        run(config(tmp_path, server, n=1, endpoint={"family": "qwen3_5"}))
    assert records(tmp_path)[0].n_operations == 1


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thoughts_are_kept_and_sent_back(tmp_path: Path, name: str):
    def script(body: Body) -> Answer:
        thoughts = {name: f"I will not use {CROP} again. \\boxed{{7}}"}
        return Answer(CROP, fields={name: "Look."}) if turn_of(body) == 0 else Answer("", fields=thoughts)

    with serving(script) as server:
        run(config(tmp_path, server, n=1))
    (found,) = records(tmp_path)
    assert found.turns[0].text == f"<think>\nLook.\n</think>\n\n{CROP}"
    assert found.answer == "7"
    assert len(found.turns) == 2
    assert server.requests[1]["messages"][-2] == {"role": "assistant", "content": CROP, name: "Look."}


def test_limits_are_those_of_the_loop(tmp_path: Path):
    with serving(lambda body: Answer(CROP)) as server:
        limits = {"max_operations": 2, "max_images": 16}
        run(config(tmp_path / "operations", server, n=1, interaction={"limits": limits}))
        run(config(tmp_path / "images", server, n=1, interaction={"limits": {"max_images": 2}}))
        run(config(tmp_path / "tokens", server, n=1, interaction={"limits": {"max_tokens": 111}}))
    (operations,), (images,), (tokens,) = (records(tmp_path / n) for n in ("operations", "images", "tokens"))
    assert (operations.stop, len(operations.turns), operations.n_operations) == (StopReason.TURN_LIMIT, 3, 2)
    assert (images.stop, images.n_operations, images.n_unread_operations) == (StopReason.IMAGE_LIMIT, 1, 1)
    # The server counted 110 tokens; the crop takes more than the one that is left.
    assert (tokens.stop, len(tokens.turns), tokens.n_operations) == (StopReason.TOKEN_LIMIT, 1, 0)


def test_a_cut_message_has_no_answer_and_a_long_question_scores_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def script(body: Body) -> Answer:
        if TASKS[0].question in texts_in(body["messages"][1]):
            return Answer("\\boxed{3}", finish="length")
        return Answer(status=400, error="This model's maximum context length is 10 tokens.")

    with serving(script) as server:
        run(config(tmp_path, server, n=2))
    cut, long = records(tmp_path)
    assert (cut.stop, cut.answer, len(cut.turns)) == (StopReason.TOKEN_LIMIT, None, 1)
    assert (long.stop, long.answer, long.turns) == (StopReason.TOKEN_LIMIT, None, ())
    assert f"task {TASKS[1].id} scores 0: the server says" in " ".join(capsys.readouterr().err.split())


FAULTS = {
    "busy": Answer(status=429, error="busy", headers={"Retry-After": "0"}),
    "broken": Answer(status=500, error="broken"),
    "cut JSON": Answer(raw=b'{"choices": [{"message": {"content": "\\\\boxed{'),
    "no message": Answer(raw=b'{"choices": []}'),
    "cut body": Answer("\\boxed{1}", content_length=100_000),
    "late": Answer("\\boxed{1}", delay_s=1.0),
}


class Faulty:
    """A fault in place of the first `times` replies to each request, or to the first one of one task."""

    def __init__(self, fault: Answer, times: int, only: str = "") -> None:
        self.fault, self.times, self.only = fault, times, only
        self.asked: Counter[str] = Counter()
        self._lock = Lock()

    def __call__(self, body: Body) -> Answer:
        key = texts_in(body["messages"][1]) + f"/{turn_of(body)}"
        with self._lock:
            self.asked[key] += 1
            n = self.asked[key]
        chosen = not self.only or (self.only in key and turn_of(body) == 0)
        return self.fault if chosen and n <= self.times else crops_once(body)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_tried_again(tmp_path: Path, fault: str):
    endpoint = {"retries": 2, "timeout_s": 0.4}
    with serving(crops_once) as server:
        run(config(tmp_path / "whole", server, n=2))
    with serving(Faulty(FAULTS[fault], times=2)) as server:
        run(config(tmp_path / "faulty", server, n=2, endpoint=endpoint))
    assert len(server.requests) == 3 * 4
    whole, faulty = ((tmp_path / name / "trajectories.jsonl").read_bytes() for name in ("whole", "faulty"))
    assert whole == faulty


def test_a_task_without_a_reply_is_not_a_wrong_answer_and_resume_makes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with serving(crops_once) as server:
        run(config(tmp_path / "whole", server))
    faulty = Faulty(FAULTS["broken"], times=3, only=TASKS[1].question)
    out = tmp_path / "faulty"
    with serving(faulty) as server:
        first = config(out, server, endpoint={"retries": 1})
        with pytest.raises(
            EndpointError, match=r"1 task got no reply and is not counted; .* kept; .*--resume"
        ):
            run(first)
        assert [t.task.id for t in records(out)] == [TASKS[0].id]
        assert not (out / "summary.json").exists()
        assert sorted(p.name for p in (out / "waiting").glob("*.jsonl")) == [
            f"{i:06}.jsonl" for i in (2, 3, 4, 5)
        ]
        n_asked = len(server.requests)
        with pytest.raises(ConfigError, match="already holds a run"):
            run(first)
        run(first, resume=True)
    assert f"task {TASKS[1].id}: status 500: " in capsys.readouterr().err
    # Twice that failed, one that still fails, and the two messages of the task: no other is asked again.
    assert len(server.requests) == n_asked + 3
    for path in (tmp_path / "whole").rglob("*"):
        if path.is_file() and path.name not in (".lock", "run.json", "config.toml", "seconds.json"):
            assert repeated(out / path.relative_to(tmp_path / "whole")) == repeated(path), path
    assert {p.name for p in out.iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}


def repeated(path: Path) -> object:
    """What a run that is made again repeats of a file: of a summary, all but machine, times and address."""
    if path.name not in ("summary.json", "protocol.json"):
        return path.read_bytes()
    found = json.loads(path.read_text())
    found.pop("host", None)
    protocol = found.get("protocol", found)
    for key in ("url", "retries", "retry_wait_s"):
        protocol["recipe"]["endpoint"].pop(key)
    return found


def test_a_first_task_that_fails_keeps_the_others_and_the_recipe(tmp_path: Path):
    with serving(Faulty(FAULTS["broken"], times=1, only=TASKS[0].question)) as server:
        failing = config(tmp_path, server, endpoint={"retries": 0})
        with pytest.raises(EndpointError, match="1 task"):
            run(failing)
        with pytest.raises(ConfigError, match="differs from the recipe given in seed"):
            run(failing.changed(seed=1), resume=True)
        assert run(failing, resume=True)["n"] == 6


def test_after_many_failures_no_other_task_is_begun(tmp_path: Path):
    with serving(lambda body: Answer(status=400, error="no pictures here")) as server:
        changes = {"concurrency": 1, "max_failures": 2}
        with pytest.raises(EndpointError, match=r"2 tasks .* \(endpoint.max_failures = 2.*no pictures here"):
            run(config(tmp_path, server, endpoint=changes))
    assert len(server.requests) == 2


@pytest.mark.parametrize(("status", "said"), [(401, "no key"), (404, "the model 'm'")])
def test_a_server_that_refuses_everything_ends_the_run_at_once(tmp_path: Path, status: int, said: str):
    refusing = serving(lambda body: Answer(status=status, error="no"))
    with refusing as server, pytest.raises(EndpointError, match=f"{said}.*status {status}"):
        run(config(tmp_path, server, endpoint={"concurrency": 1}))
    assert len(server.requests) == 1


def test_the_order_is_that_of_the_tasks_however_long_each_takes(tmp_path: Path):
    with serving(crops_once) as server:
        run(config(tmp_path / "one", server, endpoint={"concurrency": 1}))
        assert server.most_together == 1
    with serving(slowly) as server:
        run(config(tmp_path / "many", server, endpoint={"concurrency": 4}))
        assert server.most_together > 1
    one, many = ((tmp_path / name / "trajectories.jsonl").read_bytes() for name in ("one", "many"))
    assert one == many


def test_a_task_of_a_video_sends_its_frames_with_their_times(tmp_path: Path):
    (task,) = PixelWorld(WorldConfig(kinds=("clip",))).tasks("test", 1)
    video = task.media[0]
    assert not isinstance(video, Picture)
    call = '<tool_call>{"name": "select_frames", "arguments": {"target_frames": [2, 1]}}</tool_call>'
    with serving(lambda body: Answer(call) if turn_of(body) == 0 else Answer("\\boxed{3}")) as server:
        tasks = {"split": "test", "options": {"kinds": ["clip"]}}
        run(config(tmp_path, server, n=1, tasks=tasks))
    user = server.requests[0]["messages"][1]
    frames = pictures_in(user)
    assert len(frames) == len(video.frames)
    assert len(set(re.findall(r"<[\d.]+ seconds>", texts_in(user)))) == len(video.frames)
    (found,) = records(tmp_path)
    observation = found.turns[0].observation
    assert observation is not None
    assert observation.frames == (2, 1)
    assert len(pictures_in(server.requests[1]["messages"][-1])) == 2


def test_a_random_mixture_of_faults_leaves_the_same_bytes(tmp_path: Path):
    with serving(crops_once) as server:
        run(config(tmp_path / "whole", server))
    rng, lock = random.Random(0), Lock()
    faults = [fault for name, fault in FAULTS.items() if name != "late"]

    def script(body: Body) -> Answer:
        with lock:
            draw, fault = rng.random(), rng.choice(faults)
        return fault if draw < 0.3 else crops_once(body)

    with serving(script) as server:
        run(config(tmp_path / "faulty", server, endpoint={"retries": 30}))
    whole, faulty = ((tmp_path / name / "trajectories.jsonl").read_bytes() for name in ("whole", "faulty"))
    assert whole == faulty


def test_what_reads_records_takes_those_without_tokens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "200")
    with serving(crops_once) as server:
        run(config(tmp_path, server, n=2))
    page = tmp_path / "page.html"
    assert main(["show", str(tmp_path), "--html", str(page)]) == 0
    assert "I look closer." in page.read_text()
    assert main(["show", str(tmp_path), "--table"]) == 0
    assert TASKS[1].id in capsys.readouterr().out
    assert main(["export", str(tmp_path), "--format", "lmms-eval", "--out", str(tmp_path / "out")]) == 0
