"""What the processes of a run say to each other; one of them says nothing."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from pixelreasoner.core.errors import CheckpointError, ConfigError, MissingExtraError
from pixelreasoner.learn.processes import Processes, processes_of_run
from processes_helpers import in_processes

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def test_one_process_is_main_and_has_everything(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with processes_of_run("auto") as one:
        assert type(one) is Processes
        assert (one.rank, one.size, one.is_main) == (0, 1, True)
        assert one.share("abc") == ["a", "b", "c"]
        assert one.gather_shares([1, 2]) == [1, 2]
        assert one.gather("x") == ["x"]
        assert one.sum(1.5, 2) == (1.5, 2)
        done = []
        one.on_main(lambda: done.append(1))
        assert done == [1]
        with pytest.raises(ConfigError, match="mine"), one.agreed():
            raise ConfigError("mine")


def test_shares_come_back_in_order(tmp_path):
    """Seven items over three processes, and one item."""

    def work(processes: Processes) -> tuple[object, ...]:
        own = processes.share(list(range(7)))
        back = processes.gather_shares([10 * i for i in own])
        few = processes.gather_shares([i + 1 for i in processes.share([5])])
        return own, back, few, processes.sum(processes.rank, 0.5), processes.broadcast(processes.rank)

    results = in_processes(3, tmp_path, work)
    assert [result[0] for result in results] == [[0, 3, 6], [1, 4], [2, 5]]
    for _, back, few, total, first in results:
        assert back == [0, 10, 20, 30, 40, 50, 60]
        assert few == [6]
        assert total == (3.0, 1.5)
        assert first == 0


def test_a_mistake_of_one_is_raised_by_all_with_its_class_and_text(tmp_path):
    entered: list[str] = []

    @contextmanager
    def context(error: Exception | None):
        if error is not None:
            raise error
        entered.append("in")
        yield
        entered.append("out")

    def work(processes: Processes) -> list[str]:
        said = []
        with pytest.raises(CheckpointError) as e, processes.agreed():
            _fail_on_one(processes)
        said.append(str(e.value))
        with pytest.raises(MissingExtraError) as e:  # whose constructor takes other arguments
            processes.on_main(lambda: _raise(MissingExtraError("peft", "lora", "LoRA")))
        said.append(str(e.value))
        with (
            pytest.raises(ConfigError, match="in use"),
            processes.on_main_within(lambda: context(ConfigError("in use"))),
        ):
            raise AssertionError("not entered")
        with processes.on_main_within(lambda: context(None)):
            said.append("within")
        with pytest.raises(ZeroDivisionError), processes.agreed():
            raise ZeroDivisionError  # a bug is nobody else's
        return said + entered

    first, second = in_processes(2, tmp_path, work)
    assert first[:3] == second[:3]
    assert first[0] == "no such folder"
    assert "pixelreasoner[lora]" in first[1]
    assert (first[3:], second[3:]) == (["in", "out"], [])


def _fail_on_one(processes: Processes) -> None:
    if processes.rank == 1:
        raise CheckpointError("no such folder")


def _raise(error: Exception) -> None:
    raise error


def test_one_gpu_for_all_processes_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(ConfigError, match=r'"cuda:1" is one GPU for all processes; set "cuda"'),
        processes_of_run("cuda:1"),
    ):
        pass


def test_processes_that_do_not_find_each_other_are_told_what_to_do(monkeypatch):
    """WORLD_SIZE is set, as by a job manager, and nothing else of torchrun."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with (
        pytest.raises(ConfigError, match=r"start them with torchrun, or unset WORLD_SIZE") as e,
        processes_of_run("cpu"),
    ):
        pass
    assert "\n" not in str(e.value)
