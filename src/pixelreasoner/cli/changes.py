"""What to change in a recipe that does not fit, the cheapest first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pixelreasoner.cli.estimate import Estimate
from pixelreasoner.cli.machine import Device
from pixelreasoner.core.config import Config
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.train.rl import RLConfig
from pixelreasoner.train.sft import SFTConfig

LEAST_ROW = 4096
"""Tokens of the shortest row that is proposed: a prompt with a photograph takes about as many."""


@dataclass(frozen=True)
class Change:
    """A `key=value` to try, and what it costs."""

    override: str
    cost: str


def changes(config: Config, device: Device, found: Estimate, gpus: int = 1) -> list[Change]:
    """What would take less memory, the cheapest first; each is meant on top of those before it."""
    model: ModelConfig = dict(config)["model"]
    out: list[Change] = []
    if isinstance(config, (SFTConfig, RLConfig)) and not model.gradient_checkpointing:
        out.append(Change("model.gradient_checkpointing=true", "a third more time for updates"))
    kept = sum(found.rollouts.values())
    if kept > max(sum(found.update.values()), device.memory // 4) and model.kv_cache_bytes > 2**31:
        out.append(Change(f"model.kv_cache_bytes={2**31}", "fewer rollouts run together"))
    if isinstance(config, (SFTConfig, RLConfig)):
        out += _training_changes(config, model, gpus)
    return out


def _training_changes(config: SFTConfig | RLConfig, model: ModelConfig, gpus: int) -> list[Change]:
    out: list[Change] = []
    half = config.micro_batch_tokens // 2
    while half >= LEAST_ROW:
        out.append(Change(f"micro_batch_tokens={half}", "a prompt is read in more rows"))
        half //= 2
    if config.optim.kind == "adamw" and model.lora is None and gpus == 1:
        out.append(Change('optim.kind="adamw_8bit"', "moments in 8 bits; one process, extra optim8bit"))
    if model.dtype == "fp32":
        out.append(Change('model.dtype="bf16"', "steps are rounded stochastically; mind the learning rate"))
    if model.lora is None:
        out.append(Change("model.lora={rank=32}", "only adapters learn; a higher learning rate, 1e-5 or so"))
    return out


def first_that_fits(
    options: list[Change], try_with: Callable[[list[str]], Estimate], memory: int
) -> list[tuple[Change, Estimate]]:
    """The changes, one on top of the other, up to the first with which it fits, each with its estimate."""
    out: list[tuple[Change, Estimate]] = []
    for n in range(1, len(options) + 1):
        found = try_with([change.override for change in options[:n]])
        out.append((options[n - 1], found))
        if found.peak <= memory:
            break
    return out
