"""`pixelreasoner doctor`: what this machine can train; what a recipe needs, and what to change."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pixelreasoner.cli.options import option
from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from pixelreasoner.cli.changes import Change
    from pixelreasoner.cli.estimate import Conversation, Estimate
    from pixelreasoner.cli.machine import Device

STAGES = ("rl", "sft", "eval")
"""The commands whose recipes are estimated."""
MOST_GPUS = 65_536
WIDTH = 78
"""Columns of what is printed."""


def doctor(
    recipe: Annotated[tyro.conf.Positional[Path | None], option("[RECIPE]")] = None,
    overrides: Annotated[tyro.conf.Positional[tuple[str, ...]], option("[KEY=VALUE ...]")] = (),
    *,
    pixels: Annotated[int, option("N")] = 4_000_000,
    completion: Annotated[int, option("TOKENS")] = 600,
    gpus: Annotated[int | None, option("N")] = None,
    json: Annotated[bool, option()] = False,
) -> None:
    """Say what this machine can train, or what a recipe needs.

    Without a recipe: versions, devices, kernels, extras. With one (sft, rl or eval): memory by part against
    what the device has, steps per hour, and what to change. No weights are read, and nothing is trained.
    On several GPUs, memory is that of each: torchrun splits weights, gradients and optimiser states.

    Args:
        recipe: A TOML file, the name of a shipped recipe, or the folder of a run.
        overrides: Values to change, as key=value or section.key=value.
        pixels: Of a question's picture.
        completion: Tokens that a conversation adds to its question, crops included.
        gpus: One process of sft or rl on each; those that are here when left out.
        json: Print it as JSON.
    """
    if recipe is None or "=" in str(recipe):
        if recipe is not None:
            raise ConfigError(f"'{recipe}' is no recipe; write: pixelreasoner doctor RECIPE {recipe}")
        found = _machine()
        sys.stdout.write(_json(found) if json else _machine_text(found))
        return
    if pixels < 1 or completion < 2:
        raise ConfigError("--pixels is at least 1, --completion at least 2")
    if gpus is not None and not 1 <= gpus <= MOST_GPUS:
        raise ConfigError(f"--gpus is 1 to {MOST_GPUS:,}")
    from pixelreasoner.cli.estimate import Conversation

    found = _diagnosis(recipe, overrides, Conversation(pixels, completion), gpus)
    sys.stdout.write(_json(found) if json else _diagnosis_text(found))


# The machine


def _machine() -> dict[str, Any]:
    import os
    import platform

    import torch

    from pixelreasoner.cli.machine import EXTRAS, free_disk, host_memory, missing_extras
    from pixelreasoner.core.provenance import package_version, processor

    devices: list[dict[str, Any]] = []
    for index in range(torch.cuda.device_count()):
        free, memory = torch.cuda.mem_get_info(index)
        devices.append(
            {
                "device": f"cuda:{index}",
                "name": torch.cuda.get_device_name(index),
                "memory": memory,
                "free": free,
            }
        )
    kinds = ("cpu", *(["cuda"] if devices else []))
    missing = missing_extras()
    return {
        "python": platform.python_version(),
        "versions": {p: package_version(p) for p in ("torch", "transformers", "numpy", "pillow")},
        "cuda": torch.version.cuda,
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory": host_memory(),
        "free_disk": free_disk(Path()),
        "devices": devices,
        "kernels": {kind: _kernels(kind) for kind in kinds},
        "extras": [name for name in EXTRAS if name not in missing],
        "missing_extras": {
            name: {"for": EXTRAS[name][1], "install": f"pip install 'pixelreasoner[{name}]'"}
            for name in missing
        },
    }


def _kernels(kind: str) -> dict[str, dict[str, str]]:
    """The attention kernel of packed rows, by format and width of a head."""
    import torch

    from pixelreasoner.models.attention.flash_kernels import kernel_on

    formats = {"bf16": torch.bfloat16, "fp32": torch.float32}
    return {
        name: {str(width): type(kernel_on(kind, dtype, width)).__name__ for width in (64, 128, 256)}
        for name, dtype in formats.items()
    }


def _machine_text(found: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {v}" for name, v in found["versions"].items())
    lines = [
        f"Python {found['python']}, {versions}",
        f"{found['processor']}: {found['cores']} cores, {found['threads']} threads, {_size(found['memory'])}",
        f"disk: {_size(found['free_disk'])} free here",
    ]
    for d in found["devices"]:
        lines.append(f"{d['device']}: {d['name']}, {_size(d['memory'])}, {_size(d['free'])} free")
    if not found["devices"]:
        built = f"built for CUDA {found['cuda']}" if found["cuda"] else "a CPU build"
        lines.append(f"no CUDA device; this torch is {built}")
    lines += ["", "Attention over packed rows, by width of a head:"]
    for kind, formats in found["kernels"].items():
        for name, kernels in formats.items():
            each = ", ".join(f"{width}: {kernel}" for width, kernel in kernels.items())
            lines.append(f"  {kind:<5} {name}  {each}")
    lines.append("  (Chunked is exact and slow: matrix products, a chunk at a time)")
    lines += ["", f"Extras here: {', '.join(found['extras']) or 'none'}"]
    for name, extra in found["missing_extras"].items():
        lines.append(f"  {name:<12} is not: {extra['for']}")
        lines.append(f"  {'':<12} {extra['install']}")
    lines += ["", "What a recipe needs: pixelreasoner doctor RECIPE"]
    return _fitted(lines)


# A recipe


def _diagnosis(
    recipe: Path, overrides: Sequence[str], conversation: Conversation, asked: int | None
) -> dict[str, Any]:
    from pixelreasoner.cli import changes
    from pixelreasoner.cli import estimate as estimates
    from pixelreasoner.cli.machine import device_for, free_disk, host_memory

    stage, config = _stage_of(recipe, overrides)
    model = dict(config)["model"]
    device = device_for(model.device, lambda kind: estimates.products_in_bf16(model, kind))
    gpus = _gpus(asked, stage, config, device)
    try:
        found = estimates.estimate(config, device, conversation, gpus)
        recurrent = estimates.recurrent_layers(model)
    except CheckpointError as e:
        # A recipe of a later stage names what an earlier one will have trained.
        raise CheckpointError(
            f"{e}; or name one of the same sizes: model.checkpoint=Qwen/Qwen2.5-VL-7B-Instruct, or "
            f"model.checkpoint=nano for the embedded one"
        ) from e
    tried: list[tuple[Change, Estimate]] = []
    if found.peak > device.memory:
        tried = changes.first_that_fits(
            changes.changes(config, device, found, gpus),
            lambda more: estimates.estimate(
                _stage_of(recipe, (*overrides, *more), stage)[1], device, conversation, gpus
            ),
            device.memory,
        )
    return {
        "command": stage,
        "recipe": str(recipe),
        "checkpoint": model.checkpoint,
        "device": asdict(device),
        "gpus": gpus,
        "conversation": asdict(conversation),
        "estimate": {**asdict(found), "peak": found.peak, "steps_per_hour": found.steps_per_hour},
        "fits": found.peak <= device.memory,
        "host_memory": host_memory(),
        "free_disk": free_disk(Path(dict(config)["out"])),
        "changes": [
            {"override": c.override, "cost": c.cost, "peak": e.peak, "steps_per_hour": e.steps_per_hour}
            for c, e in tried
        ],
        "notes": _notes(model, device, recurrent),
    }


def _gpus(asked: int | None, stage: str, config: Config, device: Device) -> int:
    """On how many GPUs, with a process each, a recipe runs: as asked for, or as many as are here.

    Raises:
        ConfigError: more are asked for than the recipe can use.
    """
    from pixelreasoner.learn.optimizers import check_processes

    settings: dict[str, Any] = dict(config)
    name: str = settings["model"].device
    optim: Any = settings.get("optim")
    if asked is None:
        if stage == "eval" or device.kind != "cuda" or device.assumed or ":" in name:
            return 1
        import torch

        found = torch.cuda.device_count()
        try:
            check_processes(optim, found)
        except ConfigError:
            return 1  # an optimiser of one process
        return found
    if asked > 1:
        if stage == "eval":
            raise ConfigError("eval runs in one process: leave --gpus out")
        if device.kind != "cuda" or ":" in name:
            raise ConfigError(f'model.device = "{name}" is no place for {asked} GPUs; add model.device=cuda')
        check_processes(optim, asked)
    return asked


def _notes(model: Any, device: Device, recurrent: bool) -> list[str]:
    """What makes a recipe slow."""
    out: list[str] = []
    if device.kind == "cuda" and model.dtype == "fp32" and model.precision == "fp32":
        out.append('CUDA has no flash kernel for fp32: model.dtype="bf16", or model.precision="bf16"')
    if model.attention == "dense":
        out.append('a mask over the whole row is slow and large: model.attention="auto"')
    if recurrent and device.kind == "cuda":
        held = "the memory above is that of transformers' own code, which holds more"
        if find_spec("fla") is None:
            out.append(
                f"the kernels of the recurrent layers are missing: pip install flash-linear-attention "
                f"(it is right without them, and many times slower; {held})"
            )
        else:
            out.append(f"the recurrent layers have the kernels of flash-linear-attention; {held}")
    return out


def _stage_of(recipe: Path, overrides: Sequence[str], stage: str | None = None) -> tuple[str, Config]:
    """The command that a recipe is for, and its configuration.

    Raises:
        ConfigError: the recipe is not there, is of another command, or something in it is wrong.
    """
    from pixelreasoner.cli.recipe_commands import RECIPE_COMMANDS, config_class, resolve
    from pixelreasoner.cli.recipes import command_of
    from pixelreasoner.core.run_status import read_status

    if stage is None:
        named = command_of(recipe.with_suffix("").as_posix())
        status = read_status(recipe) if recipe.is_dir() else None
        stage = status.kind if status is not None else named
    if stage in RECIPE_COMMANDS and stage not in STAGES:
        raise ConfigError(f"{recipe} is a recipe of `{stage}`; doctor estimates those of {', '.join(STAGES)}")
    candidates = (stage,) if stage in STAGES else STAGES
    failed: ConfigError | None = None
    for name in candidates:
        try:
            return name, resolve(name, config_class(RECIPE_COMMANDS[name]), recipe, overrides, None)
        except ConfigError as e:
            failed = failed or e
    assert failed is not None
    raise failed


def _diagnosis_text(found: Mapping[str, Any]) -> str:
    device, told, talk = found["device"], found["estimate"], found["conversation"]
    here = " (assumed: there is no CUDA device here)" if device["assumed"] else ""
    lines = [
        f"{found['command']} {found['recipe']}: {found['checkpoint']}",
        f"on {device['name']}, {_size(device['memory'])}{here}",
        *_gpus_text(found),
        f"a question with a picture of {talk['pixels'] / 1e6:.1f} megapixels, "
        f"{talk['completion']:,} tokens after it (--pixels, --completion)",
        "",
        "Memory of the device" if found["gpus"] == 1 else "Memory of each device",
        *_rows(told["device"]),
    ]
    for title, name in (
        ("  while rollouts are sampled, beside that", "rollouts"),
        ("  during an update, beside that", "update"),
    ):
        if told[name]:
            lines += [title, *_rows(told[name], indent=4)]
    lines.append(f"  {'at the highest':<54}{_size(told['peak']):>12}")
    free = device["memory"] - told["peak"]
    lines.append(
        f"  it fits, {_size(free)} are left" if free >= 0 else f"  it does NOT fit: {_size(-free)} too much"
    )
    if 0 <= free < device["memory"] // 10:
        lines.append("  that is tight: context and allocator of the device come on top")
    lines += [
        f"  the longest row: {told['row']}",
        "",
        f"Memory of the machine ({_size(found['host_memory'])})"
        + ("" if found["gpus"] == 1 else f", all {found['gpus']} processes on it"),
    ]
    lines += _rows(told["host"])
    if told["disk"]:
        lines += ["", f"Disk ({_size(found['free_disk'])} free)", *_rows(told["disk"])]
    lines += ["", *_time_text(told), *_advice_text(found)]
    return _fitted(lines)


def _gpus_text(found: Mapping[str, Any]) -> list[str]:
    n = found["gpus"]
    if n == 1:
        return []
    command = f"torchrun --nproc-per-node {n} -m pixelreasoner {found['command']} {found['recipe']}"
    return [f"{n} GPUs, a process on each: {command}", "(--gpus 1 for one)"]


def _time_text(told: Mapping[str, Any]) -> list[str]:
    parts = ", ".join(f"{name} {seconds:,.1f} s" for name, seconds in told["seconds"].items())
    lines = [
        f"Time of a step, arithmetic from measured rates: {parts}",
        f"  {told['steps_per_hour']:,.1f} steps per hour",
    ]
    if told["steps"]:
        lines[-1] += f"; {told['steps']:,} steps: {told['steps'] / told['steps_per_hour']:,.1f} hours"
    return lines


def _advice_text(found: Mapping[str, Any]) -> list[str]:
    lines = ["", *found["notes"]] if found["notes"] else []
    if not found["changes"]:
        return lines
    lines += ["", "What to change, each on top of those before it"]
    for change in found["changes"]:
        lines.append(f"  {change['override']:<54}{_size(change['peak']):>12}")
        lines.append(f"    {change['cost']}; {change['steps_per_hour']:,.1f} steps per hour")
    if found["changes"][-1]["peak"] > found["device"]["memory"]:
        lines.append("It does not fit with all of them: take a smaller model, or several devices.")
    else:
        lines += ["It fits with:", "  " + " ".join(_quoted(c["override"]) for c in found["changes"])]
    return lines


def _quoted(override: str) -> str:
    import shlex

    return shlex.quote(override)


def _rows(parts: Mapping[str, int], indent: int = 2) -> list[str]:
    return [f"{'':{indent}}{name:<{56 - indent}}{_size(size):>12}" for name, size in parts.items() if size]


def _size(n_bytes: float) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if abs(n_bytes) >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes / 1024:,.0f} KiB"


def _fitted(lines: Sequence[str]) -> str:
    """The lines, none wider than `WIDTH`."""
    import textwrap

    out: list[str] = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        out += (
            textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
            if len(line) > WIDTH
            else [line]
        )
    return "\n".join(out) + "\n"


def _json(found: Mapping[str, Any]) -> str:
    return json.dumps(found, indent=2) + "\n"
