"""Commands of the package on the device, each as a user gives it, and the same on the processor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.checks.outcome import Bound, Checks, Found, Setting

MOST = 150.0
"""Seconds of a command."""
RATIO, ROUNDED_RATIO = 1.01, 1.6
"""The most by which trainer and sampler disagree on a token's probability, in fp32 and in bf16: 1.16 in a
first run on a card."""
LOSS = 1e-3
"""How far losses of a warm start may be from those on the processor, by the second step."""


def checks(setting: Setting) -> Checks:
    """In this order: the later ones go on from the warm start."""
    return {
        "doctor: the machine": partial(machine, setting),
        "doctor: nano/rl": partial(recipe, setting),
        "synth and sft: losses are those on the processor": partial(warm_start, setting),
        "rl, rl in bf16, rl of adapters, eval": partial(after_warm_start, setting),
        "rl --resume, rl under torchrun": partial(resume, setting),
    }


def machine(setting: Setting) -> Found:
    """What `doctor` says of the machine."""
    found = json.loads(_pixelreasoner(setting, "doctor", "--json"))
    kept = ("versions", "cuda", "cores", "devices", "kernels", "extras")
    return {key: found[key] for key in kept} | {"missing": sorted(found["missing_extras"])}


def recipe(setting: Setting) -> Found:
    """The rates that `doctor` measures of the device."""
    told = _pixelreasoner(
        setting, "doctor", "nano/rl", f"model.device={setting.device}", "model.checkpoint=nano", "--json"
    )
    device = json.loads(told)["device"]
    return {
        "device": device["name"],
        "TFLOP/s": device["flops"] / 1e12,
        "GB/s": device["bandwidth"] / 1e9,
        "memory in GiB": device["memory"] / 2**30,
        "assumed": Bound(float(device["assumed"]), 0.0),
    }


def warm_start(setting: Setting) -> Found:
    """Two fp32 warm starts side by side."""
    n, steps = (16, 2) if setting.tiny else (48, 6)
    workers = 1 if setting.tiny else 4
    _pixelreasoner(setting, "synth", "nano/synth", f"n={n}", f"workers={workers}", "--out", "synth")

    def tune(device: str, out: str) -> list[dict[str, Any]]:
        _pixelreasoner(
            setting, "sft", "nano/sft", "data=synth/trajectories.jsonl", f"steps={steps}", "batch_size=8",
            f"model.device={device}", "model.dtype=fp32", "model.precision=fp32", "--out", out,
        )  # fmt: skip
        return _metrics(setting, out)

    found = _together(partial(tune, "cpu", "sft-cpu"), partial(tune, str(setting.device), "sft"))
    losses = [[m["loss"] for m in metrics] for metrics in found]
    apart = [abs(a - b) for a, b in zip(*losses, strict=True)]
    return {
        "first two losses apart": Bound(max(apart[:2]), LOSS),
        "last loss apart": apart[-1],
        "loss": losses[1],
        "on the processor": losses[0],
        "seconds of a step": found[1][-1]["seconds"],
    }


def after_warm_start(setting: Setting) -> Found:
    """Side by side; each has to end well, and its figures are reported."""
    start, device = "model.checkpoint=sft-cpu/model", f"model.device={setting.device}"
    # Warm enough for groups that do not agree, from which alone something is learned.
    sizes = ["steps=2", "save_every=1", "interaction.sampling.temperature=1.2", *_sizes(setting)]
    few = "n=4" if setting.tiny else "n=40"
    lora = ["model.lora={rank=4}", "model.dtype=bf16", "model.gradient_checkpointing=true"]
    fp32, bf16 = "model.dtype=fp32", "model.precision=bf16"
    rl = ["rl", "nano/rl", start, *sizes]
    jobs: dict[str, list[str]] = {
        "rl": [*rl, device, fp32, "--out", "rl"],
        "rl-bf16": [*rl, device, fp32, bf16, "--out", "rl-bf16"],
        "rl-lora": [*rl, device, *lora, "--out", "rl-lora"],
        "rl-cpu": [*rl, "model.device=cpu", "--out", "rl-cpu"],
        "eval": ["eval", "nano/eval", start, device, fp32, few, "--out", "eval"],
        "eval-cpu": ["eval", "nano/eval", start, "model.device=cpu", few, "--out", "eval-cpu"],
    }  # fmt: skip
    if setting.tiny:
        del jobs["rl-bf16"], jobs["rl-cpu"]
    _together(
        *(partial(_pixelreasoner, setting, *job) for job in jobs.values()), at_once=2 if setting.tiny else 6
    )
    found: dict[str, Any] = {}
    trained = [name for name in jobs if name.startswith("rl")]
    for name in trained:
        keys = ("loss", "reward", "rapr", "ratio_max", "grad_norm", "seconds_rollout", "seconds_update")
        found[name] = {k: [m.get(k) for m in _metrics(setting, name)] for k in keys}
    for name in ("eval", "eval-cpu"):
        found[name] = json.loads((setting.folder / name / "summary.json").read_text())["accuracy"]["all"]
    for name in trained:
        ratios = [x for x in found[name]["ratio_max"] if x is not None]
        assert ratios, f"{name}: no group of two steps had anything to learn from"
        found[f"{name}: first ratio"] = Bound(ratios[0], RATIO if name in ("rl", "rl-cpu") else ROUNDED_RATIO)
    return found


def _sizes(setting: Setting) -> list[str]:
    return ["tasks_per_step=4", "group_size=4"] if setting.tiny else ["tasks_per_step=12", "group_size=8"]


def resume(setting: Setting) -> Found:
    """Two more steps of a run on the device, and one by torchrun, whose learner is that of one process."""
    job = ["nano/rl", "model.checkpoint=sft-cpu/model", f"model.device={setting.device}", "model.dtype=fp32"]
    sizes = ["save_every=1", "interaction.sampling.temperature=1.2", *_sizes(setting)]
    more = ["rl", *job, "steps=4", *sizes, "--out", "rl", "--resume"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "-m", "pixelreasoner"]
    joined = ["rl", *job, "steps=1", *sizes, "--out", "rl-torchrun"]
    _together(partial(_pixelreasoner, setting, *more), partial(_python, setting, *torchrun, *joined))
    steps = [m["step"] for m in _metrics(setting, "rl")]
    assert steps == [1, 2, 3, 4], steps
    return {"steps": steps, "torchrun": [m["reward"] for m in _metrics(setting, "rl-torchrun")]}


def _together(*jobs: Callable[[], Any], at_once: int = 6) -> list[Any]:
    """What they return, in their order; a failure is raised when all are done."""
    with ThreadPoolExecutor(at_once) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def _metrics(setting: Setting, name: str) -> list[dict[str, Any]]:
    lines = (setting.folder / name / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def _pixelreasoner(setting: Setting, *arguments: str) -> str:
    return _python(setting, "-m", "pixelreasoner", *arguments)


def _python(setting: Setting, *arguments: str) -> str:
    """What a command prints.

    Raises:
        RuntimeError: it ended with an error, whose last lines are named.
    """
    path = os.pathsep.join(str(Path(p).absolute()) for p in filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, *arguments], cwd=setting.folder, capture_output=True, text=True, timeout=MOST,
        env=os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        last = "\n".join(done.stderr.splitlines()[-8:])
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{last}")
    return done.stdout
