"""The machine a run would have: its devices, their memory, and how fast they compute."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

EXTRAS = {
    "video": ("av", "mp4 and other video files"),
    "heif": ("pillow_heif", "photos of phones (.heic)"),
    "data": ("pyarrow", "task files in Parquet"),
    "math": ("math_verify", "the scorer that compares formulas"),
    "endpoint": ("openai", "served models: evaluation, synthesis, a judge of open answers"),
    "ray": ("ray", "synthesis on a Ray cluster"),
    "ocr": ("rapidocr", "synthesis that reads whether a crop shows the answer"),
    "lora": ("peft", "LoRA adapters"),
    "optim8bit": ("torchao", "optim.kind = adamw_8bit"),
    "world": ("skimage", "PixelWorld's photographs and digits"),
    "report": ("matplotlib", "curves as pictures, the report of the demo"),
    "tensorboard": ("tensorboard", "the tracker tensorboard"),
    "trackio": ("trackio", "the tracker trackio"),
    "wandb": ("wandb", "the tracker wandb"),
}
"""Extra -> a module that it brings, what it is for."""


@dataclass(frozen=True)
class Device:
    """Where a model runs."""

    name: str
    kind: str
    """As torch calls it: cpu, cuda."""
    memory: int
    """Bytes."""
    flops: float
    """Of matrix products, per second, in the format of the weights."""
    bandwidth: float
    """Bytes read and written per second."""
    assumed: bool = False
    """Whether there is none here, and these are the figures of another machine."""


H100 = Device("NVIDIA H100 80GB", "cuda", round(79.2 * 2**30), 790e12, 3.0e12, assumed=True)
"""As measured (docs/performance.md): products of 8,192 x 8,192 in bf16, a copy within the card."""


def host_memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_disk(path: Path) -> int:
    """Bytes that are free where `path` is, or will be."""
    there = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    return shutil.disk_usage(there).free


def missing_extras() -> list[str]:
    """The names of extras that are not installed."""
    return [name for name, (module, _) in EXTRAS.items() if find_spec(module) is None]


def device_for(name: str, bf16: Callable[[str], bool]) -> Device:
    """The device that `model.device` names, measured for a moment; an H100 where it is not here.

    Args:
        name: as in a recipe; "auto" is CUDA where there is one, else the CPU.
        bf16: whether matrix products run in bf16 on a type of device; else fp32.
    """
    import torch

    here = torch.cuda.is_available()
    if name == "cpu" or (name == "auto" and not here):
        return _measured("cpu", _cpu_name(), host_memory(), bf16=bf16("cpu"))
    if not here:
        return H100
    found = torch.device("cuda" if name == "auto" else name)
    memory = torch.cuda.get_device_properties(found).total_memory
    return _measured(str(found), torch.cuda.get_device_name(found), memory, bf16=bf16("cuda"))


def _cpu_name() -> str:
    from pixelreasoner.core.provenance import processor

    return processor()


def _measured(place: str, name: str, memory: int, *, bf16: bool) -> Device:
    """The device with the rates of a product and a copy, the best of a few."""
    import torch

    kind = torch.device(place).type
    side = 8192 if kind == "cuda" else 1024
    dtype = torch.bfloat16 if bf16 else torch.float32
    x = torch.randn(side, side, device=place).to(dtype)
    big = torch.zeros(2**28 if kind == "cuda" else 2**24, dtype=torch.uint8, device=place)

    def best(work: Callable[[], object]) -> float:
        seconds: list[float] = []
        for _ in range(4):
            if kind == "cuda":
                torch.cuda.synchronize(place)
            start = time.perf_counter()
            work()
            if kind == "cuda":
                torch.cuda.synchronize(place)
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    return Device(name, kind, memory, 2 * side**3 / best(lambda: x @ x), 2 * len(big) / best(big.clone))
