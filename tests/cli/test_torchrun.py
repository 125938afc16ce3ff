"""Commands under torchrun, as a user gives them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pixelreasoner.cli.main import main
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn

ROOT = Path(__file__).parents[2]


def test_a_command_for_one_process_says_so(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["eval", "nano/eval"]) == 2
    assert "`eval` runs in one process; give the command without torchrun" in capsys.readouterr().err


def test_only_the_main_process_talks(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    assert main(["sft", "nowhere.toml"]) == 2
    assert capsys.readouterr().err == ""


def torchrun(*arguments: object, cwd: Path) -> str:
    """What a command says on two processes."""
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "pixelreasoner", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def steps_of(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_tuning_and_rl_of_a_checkpoint_on_two_processes(qwen3_folder, tmp_path, picture):
    """SFT, stopped and gone on with by one process; RL of its result; each loads in one process."""
    from pixelreasoner.core.records import write_trajectories
    from pixelreasoner.models.vlm import VisionLanguageModel

    data = [
        Trajectory(Task(f"t{i}", "Which?", (picture(24, 16, i),), ()), (Turn(text),), StopReason.ANSWER)
        for i, text in enumerate(("It reads K.", "The red card", "Three."))
    ]
    write_trajectories(tmp_path / "data.jsonl", data)
    model = f'[model]\ncheckpoint = "{qwen3_folder}"\ndevice = "cpu"\nprecision = "fp32"\n'
    (tmp_path / "sft.toml").write_text(
        f'out = "{tmp_path}/sft"\ndata = "{tmp_path}/data.jsonl"\nbatch_size = 2\nsteps = 2\n{model}'
    )
    said = torchrun("sft", "sft.toml", cwd=tmp_path)
    assert said.count("Model") == 1, "the result is named once"
    assert main(["sft", str(tmp_path / "sft"), "steps=3", "--resume"]) == 0
    assert steps_of(tmp_path / "sft") == [1, 2, 3]
    (tmp_path / "rl.toml").write_text(
        f'out = "{tmp_path}/rl"\nsteps = 2\ntasks_per_step = 3\ngroup_size = 2\n'
        f'tasks = {{ options = {{ kinds = ["attribute"] }} }}\n'
        f"interaction = {{ sampling = {{ max_tokens = 6 }}, limits = {{ max_operations = 1 }} }}\n"
        + model.replace(str(qwen3_folder), f"{tmp_path}/sft/model")
    )
    torchrun("rl", "rl.toml", cwd=tmp_path)
    assert steps_of(tmp_path / "rl") == [1, 2]
    VisionLanguageModel.load(tmp_path / "rl" / "model")
