"""What a recipe needs: memory by part, and time, from the sizes of its model and a typical conversation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from pixelreasoner.chat.checkpoint_files import load_vision_spec
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.cli.machine import Device
from pixelreasoner.core.config import Config
from pixelreasoner.evals.run import EvalConfig
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.learn.optimizers import state_bytes
from pixelreasoner.learn.shard_memory import ShardMemory, split_modules
from pixelreasoner.models.attention.shared_prefix import GroupSpan, PrefixPlan
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.models.config_file import model_config
from pixelreasoner.models.dry_run import (
    CONFIG_FILES,
    RowMemory,
    RowShape,
    feature_bytes,
    meta_model,
    reading_memory,
    row_memory,
)
from pixelreasoner.models.loader import dtype_of
from pixelreasoner.models.memory import (
    autocast_bytes,
    decoder_size,
    gradient_bytes,
    plain_bytes,
    trained,
    weight_bytes,
)
from pixelreasoner.models.recurrent_states import is_recurrent
from pixelreasoner.models.roofline import VisionSize, Work, rollout_flops, training_flops
from pixelreasoner.policy.kv_memory import Sampled, kv_bytes
from pixelreasoner.train.rl import RLConfig
from pixelreasoner.train.sft import SFTConfig

PROMPT_WORDS = 400
"""Tokens of a prompt beside its picture: system message, tools, question."""
CROP_SHARE = 0.43
"""Of a completion, the tokens of its crops, as in the cases of `python -m benchmarks`."""
LONGEST = 1.2
"""The longest completion of a group, in units of the mean, as there."""
PREFILL_TOKENS = 16_384
"""That are read together before rollouts (`policy.group.GroupPolicy`)."""
LIBRARIES = 450 * 2**20
"""Host memory of Python, torch and the package (docs/performance.md, host memory)."""
COMPUTED = {"cuda": 0.45, "cpu": 0.7}
"""Share of the rate of products at which the operations of a pass are computed. Measured: 34 % of what is
needed on an H100, with recomputation, which is 4/3 of that computed; 69 to 73 % on a CPU
(docs/performance.md)."""
STEP_PER_LAYER = {"cuda": 0.28e-3, "cpu": 0.0}
"""Seconds of a decoding step for each layer, beside those for reading the weights. On an H100, with CUDA
graphs and 8 to 32 sequences, a step took 12.7 to 15.1 ms with a 7B (this gives 13.4), 11.5 to 13.0 with a 3B
(12.6), and 16.0 with a Qwen3.5-9B (15.3)."""
WEIGHTS_READ = {"cuda": 1.0, "cpu": 2.0}
"""Times that a step reads the weights, at the rate of a copy. Of a CPU this was not measured."""


@dataclass(frozen=True)
class Conversation:
    """The lengths that a recipe does not know: they are those of the data."""

    pixels: int
    """Of a question's picture, as the file has it."""
    completion: int
    """Tokens that a conversation adds to its prompt, crops included; the mean."""


@dataclass(frozen=True)
class Estimate:
    """Bytes by part, and seconds."""

    device: dict[str, int]
    """What is on the device all the time, by part."""
    rollouts: dict[str, int]
    """Beside it while rollouts are sampled."""
    update: dict[str, int]
    """Beside it during an update."""
    host: dict[str, int]
    disk: dict[str, int]
    row: str
    """The row that was taken for the longest, in words."""
    seconds: dict[str, float]
    """Of a step, by part."""
    steps: int | None
    """Of the whole run, where the recipe says."""

    @property
    def peak(self) -> int:
        """Bytes on the device, at the highest."""
        return sum(self.device.values()) + max(sum(self.rollouts.values()), sum(self.update.values()))

    @property
    def steps_per_hour(self) -> float:
        return 3600 / sum(self.seconds.values())


def estimate(config: Config, device: Device, conversation: Conversation, gpus: int = 1) -> Estimate:
    """The estimate of an sft, rl or eval recipe.

    Args:
        config: the recipe.
        device: each of those that it runs on.
        conversation: a typical one.
        gpus: processes of sft or rl, each with a device of its own; memory of the device is that of one,
            memory of the machine that of all.

    Raises:
        CheckpointError: there is no such checkpoint, or its architecture is not supported.
        MissingExtraError: LoRA without the package peft.
    """
    match config:
        case SFTConfig():
            return _sft(config, _Parts(config.model, device, conversation, training=True, gpus=gpus))
        case RLConfig():
            return _rl(config, _Parts(config.model, device, conversation, training=True, gpus=gpus))
        case _:
            assert isinstance(config, EvalConfig)
            return _eval(config, _Parts(config.model, device, conversation, training=False))


class _Parts:
    """The model of a recipe without memory, and the sizes of a typical conversation with it."""

    def __init__(
        self,
        config: ModelConfig,
        device: Device,
        conversation: Conversation,
        *,
        training: bool,
        gpus: int = 1,
    ) -> None:
        self.config, self.device, self.conversation, self.gpus = config, device, conversation, gpus
        dtype = dtype_of(config, torch.device(device.kind))
        self.model = meta_model(config, device=device.kind, dtype=dtype, training=training)
        self.spec: VisionSpec = load_vision_spec(checkpoint_folder(config.checkpoint, CONFIG_FILES))
        self.decoder = decoder_size(self.model)
        self.vision = VisionSize.of(self.model.vision.config)
        self.bf16_products = config.precision == "bf16" and dtype == torch.float32
        self.kv_dtype = torch.bfloat16 if self.bf16_products else dtype
        self.whole_tower = not any(p.requires_grad for p in self.model.vision.parameters())

    def shards(self, optim: OptimConfig) -> ShardMemory:
        """What one of the processes holds."""
        collected = torch.bfloat16 if self.bf16_products else None
        return ShardMemory.of(self.model, optim, self.gpus, whole_tower=self.whole_tower, collected=collected)

    def own(self, n: int) -> int:
        """Of so many tasks or groups, those of one process; at the most."""
        return -(-n // self.gpus)

    @cached_property
    def picture(self) -> tuple[int, int, int]:
        """The grid of patches of a question's picture, about square."""
        budget = self.spec.image
        pixels = min(max(self.conversation.pixels, budget.min_pixels), budget.max_pixels)
        return self._grid(pixels // self.spec.factor**2)

    @cached_property
    def crop(self) -> tuple[int, int, int]:
        most = self.spec.crop.max_pixels // self.spec.factor**2
        return self._grid(min(most, round(CROP_SHARE * self.conversation.completion)))

    def _grid(self, tokens: int) -> tuple[int, int, int]:
        rows = max(1, math.isqrt(max(1, tokens)))
        return 1, rows * self.spec.merge, max(1, tokens // rows) * self.spec.merge

    def tokens(self, grid: tuple[int, int, int]) -> int:
        return math.prod(grid) // self.spec.merge**2

    @property
    def prompt(self) -> int:
        return self.tokens(self.picture) + PROMPT_WORDS

    @property
    def sampled(self) -> int:
        """Tokens of a completion that the model says; they have a loss."""
        return max(1, self.conversation.completion - self.tokens(self.crop))

    def work(self, rollouts: int) -> Work:
        """A prompt with so many completions."""
        patches = math.prod(self.crop)
        return Work(
            prompt=self.prompt,
            attempts=(self.conversation.completion,) * rollouts,
            loss_tokens=rollouts * self.sampled,
            prompt_images=(math.prod(self.picture),),
            attempt_images=((patches,),) * rollouts,
        )

    def row(self, max_tokens: int, rollouts: int) -> RowShape:
        """The longest row: groups of `rollouts`, until no completion fits any more; one there is always."""
        spans: list[GroupSpan] = []
        left, n = max_tokens, 0
        while left >= self.prompt + self.conversation.completion or not spans:
            fitting = max(1, min(rollouts, (left - self.prompt) // self.conversation.completion))
            n += fitting
            each = (self.conversation.completion,) * fitting
            spans.append(GroupSpan(self.prompt, each) if fitting > 1 else GroupSpan(self.prompt + each[0]))
            left -= self.prompt + sum(each)
        grids = (self.picture,) * len(spans) + (self.crop,) * n
        return RowShape(PrefixPlan(tuple(spans)), grids, n * self.sampled)

    def reading(self) -> int:
        """Bytes of the pass that reads the prompts of rollouts."""
        n = max(1, PREFILL_TOKENS // self.prompt)
        row = RowShape(PrefixPlan((GroupSpan(self.prompt),) * n), (self.picture,) * n, n)
        return reading_memory(self.model, row, bf16_products=self.bf16_products)

    def rollouts(self, batch: int, group: int) -> dict[str, int]:
        longest = round(LONGEST * self.conversation.completion)
        sampled = Sampled(batch, group, self.prompt, longest)
        budget = self.config.kv_cache_bytes
        return {
            "keys and values": kv_bytes(self.decoder, self.kv_dtype, sampled, budget),
            "reading the prompts": self.reading(),
            "scores of the next token": 3 * batch * self.decoder.vocabulary * 4,
            # A copy to sample from learns nothing, and autocast keeps casts of what learns alone.
            "weights cast to bf16": autocast_bytes(self.model)
            if self.bf16_products and self.gpus == 1
            else 0,
        }

    def update(self, row: RowShape, optim: OptimConfig) -> dict[str, int]:
        if self.gpus > 1:
            return self._update_of_many(row, self.shards(optim))
        found = row_memory(self.model, row, bf16_products=self.bf16_products)
        return {"gradients": gradient_bytes(self.model), **_activations(found)}

    def _update_of_many(self, row: RowShape, shards: ShardMemory) -> dict[str, int]:
        model = self.model
        if self.bf16_products:
            # Layers are put together in bf16: nothing of them is cast, and no casts are kept.
            model = meta_model(self.config, device=self.device.kind, dtype=self.model.dtype, training=True)
            for module in split_modules(model, whole_tower=self.whole_tower):
                module.to(torch.bfloat16)
        found = row_memory(model, row, bf16_products=self.bf16_products)
        return {
            "gradients": shards.gradients,
            "two layers put together, gradients of one": shards.layers,
            "embeddings and output layer put together, gradients": shards.rest,
            **_activations(found),
        }

    def fixed(self, optim: OptimConfig | None, pictures: int, *, samples: bool = False) -> dict[str, int]:
        """What is on the device all the time; `pictures` of the size of the question's are seen.

        Each of many processes that sample has a copy of the weights for it; a fixed tower is there once.
        """
        each = feature_bytes(self.model, self.tokens(self.picture))
        weights, states, copy = weight_bytes(self.model), 0, 0
        if optim is not None and self.gpus > 1:
            shards = self.shards(optim)
            weights, states = shards.weights, shards.states
            copy = plain_bytes(self.model, tower=not self.whole_tower) if samples else 0
        elif optim is not None:
            states = sum(state_bytes(p, optim) for p in trained(self.model))
        return {
            "weights": weights,
            "optimiser states": states,
            "a copy of the weights to sample from": copy,
            "vision features": min(self.config.feature_bytes, pictures * each) if self.whole_tower else 0,
        }

    def host(self, **more: int) -> dict[str, int]:
        loading = 0 if self.device.kind == "cpu" else weight_bytes(self.model)
        own = {"libraries": LIBRARIES, "decoded pictures": self.config.picture_bytes}
        own |= {k.replace("_", " "): v for k, v in more.items()} | {"weights while loading": loading}
        return {name: self.gpus * size for name, size in own.items()}

    def disk(self, optim: Any, keep: int) -> dict[str, int]:
        weights = weight_bytes(self.model)
        states = sum(state_bytes(p, optim) for p in trained(self.model))
        return {"checkpoints": (keep + 1) * weights, "state for --resume": weights + states}

    # Time

    def training_seconds(self, groups: int, rollouts: int, row: RowShape) -> float:
        """Of the passes over so many groups; a group that is cut has its prompt read in each part."""
        per_row = max(1, max(len(span.branches) for span in row.plan.groups))
        whole, rest = divmod(rollouts, min(per_row, rollouts))
        sizes = [min(per_row, rollouts)] * whole + [rest] * bool(rest)
        frozen = not any(p.requires_grad for p in self.model.vision.parameters())
        flops = sum(
            training_flops(
                self.work(n), self.decoder, self.vision, shared=True, frozen=frozen,
                recompute=self.config.gradient_checkpointing, adapters=self.config.lora is not None,
            )
            for n in sizes
        )  # fmt: skip
        return groups * flops / (self.device.flops * COMPUTED[self.device.kind])

    def rollout_seconds(self, tasks: int, group: int, batch: int) -> float:
        """Of rollouts of so many tasks: all that is read, and a step for each token of the longest."""
        work = self.work(group)
        reading = tasks * rollout_flops(work, self.decoder, self.vision)
        waves = -(-tasks * group // batch)
        kind = self.device.kind
        each = STEP_PER_LAYER[kind] * self.model.decoder.config.num_hidden_layers
        each += WEIGHTS_READ[kind] * weight_bytes(self.model) / self.device.bandwidth
        steps = waves * LONGEST * self.sampled
        return reading / (self.device.flops * COMPUTED[kind]) + steps * each


def _sft(config: SFTConfig, parts: _Parts) -> Estimate:
    row = parts.row(config.micro_batch_tokens, 1)
    return Estimate(
        device=parts.fixed(config.optim, parts.own(config.batch_size)),
        rollouts={},
        update=parts.update(row, config.optim),
        host=parts.host(data=config.data_bytes),
        disk=parts.disk(config.optim, config.keep_checkpoints),
        row=_words(row),
        seconds={"update": parts.training_seconds(parts.own(config.batch_size), 1, row)},
        steps=config.steps,
    )


def _rl(config: RLConfig, parts: _Parts) -> Estimate:
    row = parts.row(config.micro_batch_tokens, config.group_size)
    n, g = parts.own(config.tasks_per_step), config.group_size
    return Estimate(
        device=parts.fixed(config.optim, n, samples=True),
        rollouts=parts.rollouts(min(config.rollout_batch, n * g), g),
        update=parts.update(row, config.optim),
        host=parts.host(replay_buffer=config.replay.max_bytes if config.replay.enabled else 0),
        disk=parts.disk(config.optim, config.keep_checkpoints) | {"rollouts": config.rollout_log.max_bytes},
        row=_words(row),
        seconds={
            "rollouts": parts.rollout_seconds(n, g, config.rollout_batch),
            "update": parts.training_seconds(n, g, row),
        },
        steps=config.steps,
    )


def _eval(config: EvalConfig, parts: _Parts) -> Estimate:
    n = config.batch_size
    return Estimate(
        device=parts.fixed(None, n),
        rollouts=parts.rollouts(n, 1),
        update={},
        host=parts.host(),
        disk={},
        row=f"{n} conversations of {parts.prompt + parts.conversation.completion:,} tokens together",
        seconds={"rollouts": parts.rollout_seconds(n, 1, n)},
        steps=None if config.n is None else -(-config.n * config.samples // n),
    )


def _activations(found: RowMemory) -> dict[str, int]:
    return {
        "activations kept for the backward pass": found.kept,
        "computed beside them, logits included": found.peak - found.kept,
    }


def _words(row: RowShape) -> str:
    spans = row.plan.groups
    prompts = "1 prompt" if len(spans) == 1 else f"{len(spans)} prompts"
    n = sum(max(1, len(span.branches)) for span in spans)
    completions = "1 completion" if n == 1 else f"{n} completions"
    return f"{row.plan.n_tokens:,} tokens: {prompts}, {completions}, {row.patches:,} patches of pictures"


def recurrent_layers(model: ModelConfig) -> bool:
    """Whether layers of the decoder carry a state from token to token.

    Raises:
        CheckpointError: there is no such checkpoint, or its configuration cannot be used.
    """
    config = model_config(checkpoint_folder(model.checkpoint, CONFIG_FILES))
    return is_recurrent(config.get_text_config())


def products_in_bf16(config: ModelConfig, device: str) -> bool:
    """Whether matrix products run in bf16 on that type of device ("cpu", "cuda")."""
    if config.dtype == "bf16" or (config.dtype == "auto" and device != "cpu"):
        return True
    return config.precision == "bf16"
