"""Rules of a run's log: what is on disk after each step, what resuming drops, what Ctrl-C does."""

import io
import json
import math
import signal
import sys
from pathlib import Path

import pytest
from rich.console import Console

from disk import full_disk
from pixelreasoner.core.errors import RecordError, Terminated
from pixelreasoner.core.metrics_file import (
    Curve,
    curve_of,
    last_metrics,
    metric_names,
    read_curves,
    read_metrics,
)
from pixelreasoner.train.progress import Interruptible, RunLog


def plain() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=200)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_step_is_on_disk_as_soon_as_it_is_logged(tmp_path: Path):
    with RunLog(tmp_path / "run", 3, "rl", console=plain()) as log:
        log.step(1, {"reward": 0.5})
        log.step(2, {"reward": math.nan, "rapr": 1})
        lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(r["step"], r["reward"]) for r in rows] == [(1, 0.5), (2, None)]
    assert rows[0]["time"] <= rows[1]["time"]


def test_resuming_drops_the_steps_after_the_last_save_and_a_torn_line(tmp_path: Path):
    with RunLog(tmp_path, 5, "rl", console=plain()) as log:
        for step in (1, 2, 3):
            log.step(step, {"reward": step})
    with (tmp_path / "metrics.jsonl").open("a") as f:
        f.write('{"step": 4, "rew')
    assert len(read_metrics(tmp_path)) == 3
    with RunLog(tmp_path, 5, "rl", resume_at=2, console=plain()) as log:
        log.step(3, {"reward": 30})
    assert read_curves(tmp_path, ["reward"]) == {"reward": [1, 2, 30]}


def test_a_fresh_run_starts_a_fresh_file(tmp_path: Path):
    for value in (1.0, 2.0):
        with RunLog(tmp_path, 1, "sft", console=plain()) as log:
            log.step(1, {"loss": value})
    assert read_curves(tmp_path, ["loss", "reward"]) == {"loss": [2.0], "reward": []}


def test_a_value_that_is_not_finite_reads_back_as_nan(tmp_path: Path):
    with RunLog(tmp_path, 1, "sft", console=plain()) as log:
        log.step(1, {"loss": math.inf})
    assert math.isnan(read_curves(tmp_path, ["loss"])["loss"][0])


def test_without_a_terminal_the_first_and_the_last_step_are_said(tmp_path: Path):
    console = plain()
    with RunLog(tmp_path, 50, "rl", console=console, every_s=1000, show=("rapr",)) as log:
        for step in range(1, 51):
            log.step(step, {"rapr": 0.25, "hidden": 1})
        log.note("RaPR is [low]")
    first, last, note = text_of(console).splitlines()
    assert first.startswith("rl 1/50 ")
    assert first.endswith("rapr 0.25")
    assert last.startswith("rl 50/50 ")
    assert note == "rl: RaPR is [low]"


def test_an_interrupted_run_says_where_it_stopped(tmp_path: Path):
    console = plain()
    with RunLog(tmp_path, 50, "rl", console=console, every_s=1000) as log:
        for step in (1, 2, 3):
            log.step(step, {})
    assert [line.split()[1] for line in text_of(console).splitlines()] == ["1/50", "3/50"]


def test_on_a_terminal_there_is_a_bar_with_the_shown_metrics(tmp_path: Path):
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    with RunLog(tmp_path, 2, "warm start", console=console) as log:
        log.step(1, {"loss": 1.25})
        log.step(2, {"loss": 0.5})
    assert "warm start" in text_of(console)
    assert "2/2" in text_of(console)
    assert "loss 0.5" in text_of(console)


def test_a_folder_without_metrics_is_the_users_error(tmp_path: Path):
    with pytest.raises(RecordError, match=r"metrics\.jsonl does not exist"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('nonsense\n{"step": 1}\n')
    with pytest.raises(RecordError, match="line 1 is not JSON"):
        read_metrics(tmp_path)


def test_the_first_interrupt_finishes_the_step_and_leaving_raises():
    before = signal.getsignal(signal.SIGINT)
    steps = []

    def run() -> None:
        with Interruptible(plain()) as interrupt:
            for step in range(5):
                if step == 2:
                    signal.raise_signal(signal.SIGINT)
                steps.append(step)
                if interrupt.requested:
                    break
            steps.append("saved")

    with pytest.raises(KeyboardInterrupt):
        run()
    assert steps == [0, 1, 2, "saved"]
    assert signal.getsignal(signal.SIGINT) == before


def test_sigterm_finishes_the_step_like_ctrl_c_and_is_told_from_it():
    steps = []

    def run() -> None:
        with Interruptible(plain()) as interrupt:
            signal.raise_signal(signal.SIGTERM)
            steps.append(interrupt.requested)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated):
        run()
    assert steps == [True]
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_second_interrupt_aborts_at_once():
    reached = []

    def run() -> None:
        with Interruptible(plain()):
            signal.raise_signal(signal.SIGINT)
            reached.append("after the first")
            signal.raise_signal(signal.SIGINT)
            reached.append("after the second")

    with pytest.raises(KeyboardInterrupt):
        run()
    assert reached == ["after the first"]


def test_an_error_inside_is_not_hidden_by_a_requested_stop():
    def run() -> None:
        with Interruptible(plain()):
            signal.raise_signal(signal.SIGINT)
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        run()


def test_without_an_interrupt_nothing_is_raised():
    with Interruptible(plain()) as interrupt:
        pass
    assert not interrupt.requested


def test_the_last_step_is_read_from_the_end_of_a_file_that_is_being_written(tmp_path: Path):
    assert last_metrics(tmp_path) == {}
    with RunLog(tmp_path, 8, "rl", console=plain()) as log:
        for step in range(1, 9):
            log.step(step, {"reward": step, **{f"a_long_name_{i}": 0.5 for i in range(1000)}})
    with (tmp_path / "metrics.jsonl").open("a") as f:
        f.write('{"step": 9, "rew')
    assert last_metrics(tmp_path)["step"] == 8
    assert metric_names(read_metrics(tmp_path))[:2] == ["reward", "a_long_name_0"]


def test_a_metric_keeps_the_steps_it_was_measured_at(tmp_path: Path):
    with RunLog(tmp_path, 4, "rl", console=plain()) as log:
        for step in (1, 2, 3, 4):
            log.step(step, {"reward": 0.5} | ({"eval_accuracy": step / 4} if step % 2 == 0 else {}))
    assert curve_of(read_metrics(tmp_path), "eval_accuracy") == Curve((2, 4), (0.5, 1.0))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_ends_a_run_with_one_line_and_its_metrics_whole(tmp_path: Path):

    def run() -> None:
        with full_disk(200), RunLog(tmp_path, 99, "rl", console=plain()) as log:
            for step in range(1, 99):
                log.step(step, {"reward": 0.5})

    with pytest.raises(RecordError, match=r"metrics\.jsonl cannot be written: the disk is full"):
        run()
    done = len(read_metrics(tmp_path))
    assert 0 < done < 98
    assert (tmp_path / "metrics.jsonl").read_bytes().endswith(b"}\n")
