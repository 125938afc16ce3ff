"""The kills of `python -m benchmarks kills`: what is compared, and a few of them in earnest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")


def test_times_are_not_compared_and_all_else_is(tmp_path: Path):
    from benchmarks.kills import comparable

    for name, time, reward in (("a", 1.0, 0.5), ("b", 2.0, 0.5), ("c", 1.0, 0.25)):
        (tmp_path / name).mkdir()
        row = {"step": 1, "time": time, "seconds_rollout": time, "reward": reward}
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps(row) + "\n")
        (tmp_path / name / ".lock").write_text(name)
    a, b, c = (comparable(tmp_path / name) for name in "abc")
    assert a == b != c
    (tmp_path / "b" / ".litter.part").touch()
    assert comparable(tmp_path / "b") != a, "what is left behind is seen"


@pytest.mark.parametrize(("most", "found"), [(None, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4]), (3, [0, 2, 4]),
                                             (1, [0]), (0, [])])  # fmt: skip
def test_full_disks_are_spread_over_the_sizes(most: int | None, found: list[int]):
    from benchmarks.kills import _spread

    assert list(_spread(range(5), most)) == found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "every"), [("synth", 6), ("sft", 14), ("rl", 30), ("eval", 15), ("demo", 200)]
)
def test_a_killed_command_goes_on_to_the_same_bytes(tmp_path: Path, command: str, every: int):
    out = tmp_path / "kills.jsonl"
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks", "kills", "--commands", command, "--moments", "2",
            "--every", str(every), "--full-disks", "12", "--out", str(out),
        ],
        capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(out.read_text())
    assert record["same"] == record["trials"]
    assert record["killed_at_points"] == len(range(1, record["points"] + 1, every))
    assert record["refused_by_a_full_disk"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(("command", "every"), [("eval", 1000), ("endpoint", 100)])
def test_an_evaluation_that_is_killed_five_times_at_random_gives_the_same_bytes(
    tmp_path: Path, command: str, every: int
):
    """Of `every` 1000, only the first point of the disk is tried."""
    if command == "endpoint":
        pytest.importorskip("openai")
    out = tmp_path / "kills.jsonl"
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks", "kills", "--commands", command, "--moments", "2",
            "--in-a-row", "5", "--full-disks", "0", "--every", str(every), "--out", str(out),
        ],
        capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}:{os.environ.get('PYTHONPATH', '')}",
             "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(out.read_text())
    assert record["same"] == record["trials"]
    assert record["killed_at_moments"] == 2 * 5
