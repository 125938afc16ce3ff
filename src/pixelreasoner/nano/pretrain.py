"""Pre-training of a small base model from random weights: a vision stage, then a language stage.

1. *vision*: the tower is trained on per-token labels (`nano.auxiliary_heads`).
2. *language*: the decoder is trained on synthetic conversations (`nano.conversations`), with attention
   supervision (`nano.attention_supervision`). The tower is frozen at first and trained in the last steps.

The base can locate, read and count. Visual operations are not in its data; the warm start adds them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from rich import print_json

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.hermes import format_call
from pixelreasoner.chat.layout import Layout
from pixelreasoner.core.config import MAY_CHANGE, Config, Count, CountOrZero, Seed, Share
from pixelreasoner.core.files import write_text
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.progress_line import tracked
from pixelreasoner.core.run_folder import RunFolder, keep_config, open_run
from pixelreasoner.core.run_status import locked, running
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.learn.optim import OptimConfig, optimizer_step
from pixelreasoner.learn.optimizers import new_optimizer
from pixelreasoner.learn.state import load_state, save_state
from pixelreasoner.models.checkpoints import mark_world
from pixelreasoner.models.config import Precision
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.precision import autocast
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.nano.attention_supervision import (
    LAYERS,
    AttentionSupervision,
    AttentionTarget,
    TargetReader,
)
from pixelreasoner.nano.auxiliary_heads import AuxiliaryHeads, auxiliary_loss
from pixelreasoner.nano.base_check import check_base
from pixelreasoner.nano.conversation_rows import conversation_row
from pixelreasoner.nano.conversations import SyntheticConversation
from pixelreasoner.nano.curriculum import Curriculum
from pixelreasoner.nano.padded import micro_batches, score_padded
from pixelreasoner.nano.question_answers import View
from pixelreasoner.nano.scratch import Architecture, new_checkpoint
from pixelreasoner.nano.token_labels import COLOUR_NAMES, TokenLabels, token_labels
from pixelreasoner.tasks.pixelworld import WorldConfig
from pixelreasoner.train.progress import Interruptible, RunLog

Row = tuple[Layout, npt.NDArray[np.bool_], tuple[AttentionTarget, ...]]
"""Layout, loss mask over the recorded tokens, and attention targets."""


LEARNED_FILE = "learned.json"
FEATURE_BYTES = 8 * 2**30
"""Features of all pictures are cached while the tower is frozen."""


class VisionStage(Config):
    steps: Count = 2500
    """Optimiser steps of the stage."""
    batch_size: Count = 64
    """Pictures per step, half of them layouts."""
    optim: OptimConfig = OptimConfig(lr=1.5e-3, warmup=0.05, weight_decay=0.02, betas=(0.9, 0.98))
    """The optimiser of tower and label heads."""
    feature_std: float = Field(default=0.7, gt=0, le=100)
    """Standard deviation of the tower's output after the stage, on the scale of the text embeddings."""


class LanguageStage(Config):
    steps: Count = 3000
    """Optimiser steps of the stage."""
    batch_size: Count = 64
    """Conversations per step."""
    micro_batch_tokens: Count = 4096
    """Padded tokens of one micro-batch; small enough for a processor's cache."""
    attention_supervision: float = Field(default=1.0, ge=0, le=1000)
    """Weight of the attention losses (`nano.attention_supervision`)."""
    optim: OptimConfig = OptimConfig(lr=1.5e-3, warmup=0.03, final=0.05, weight_decay=0.02, betas=(0.9, 0.98))
    """The optimiser of the decoder."""
    joint_steps: CountOrZero = 500
    """The last steps, in which the tower is trained too."""
    tower_lr: Share = 0.3
    """The tower's learning rate in those, as a share of the decoder's."""
    auxiliary: float = Field(default=0.3, ge=0, le=1000)
    """Weight of the auxiliary loss in those; it keeps labels that are rarely asked about."""

    @model_validator(mode="after")
    def _last_steps(self) -> LanguageStage:
        if self.joint_steps > self.steps:
            raise ValueError(f"joint_steps = {self.joint_steps} are the last of steps = {self.steps}")
        return self


class PretrainConfig(Config):
    out: Annotated[Path, MAY_CHANGE]
    """The folder of the run; the base checkpoint is written to `out/model`."""
    architecture: Architecture = Architecture()
    """The sizes of the model."""
    chat_format: ChatFormat = ChatFormat()
    """How a conversation is written, and with how many pixels a picture is shown."""
    world: WorldConfig = WorldConfig()
    """What the pictures show."""
    vocabulary: tuple[str, ...] = ()
    """Sentences whose words become tokens, in addition to those of the conversations."""
    n_scenes: Count = 12_000
    """Painted scenes, with conversations about them."""
    n_layouts: Count = 4_000
    """Painted layouts of many things to read, for the vision stage and conversations."""
    vision: VisionStage = VisionStage()
    """The first stage: the tower learns what each patch shows."""
    language: LanguageStage = LanguageStage()
    """The second stage: the decoder learns conversations."""
    precision: Precision = "bf16"
    """Of the matrix products (autocast)."""
    seed: Seed = 0
    """Of every random draw."""
    workers: Annotated[int, Field(ge=0, le=1024), MAY_CHANGE] = 0
    """Processes that paint the conversations; 0 takes one per core."""
    save_every: Annotated[Count, MAY_CHANGE] = 200
    """Steps between saved states."""


def run(config: PretrainConfig, *, resume: bool = False) -> Path:
    """Train, and return the folder of the base checkpoint, its weights in bfloat16.

    The results of `nano.base_check` are written beside it when all steps are done.

    Raises:
        ConfigError: the folder holds another run, or another process works on it.
    """
    with locked(config.out):
        folder = open_run(config.out, config, resume=resume)
        trainer = _trainer(config, load_state(folder.state))
        with (
            running(config.out, "pretrain", config.vision.steps + config.language.steps),
            Interruptible() as interrupt,
        ):
            _train(trainer, folder, interrupt)
    return folder.model


def _trainer(config: PretrainConfig, state: dict[str, Any] | None) -> Pretrainer:
    """A trainer that goes on from a state; without one, it starts from random weights in `out/start`."""
    start = config.out / "start"
    conversations, layout_views = paint_curriculum(config)
    if state is None:
        new_checkpoint(
            start,
            architecture=config.architecture,
            chat_format=config.chat_format,
            corpus=tokenizer_corpus(conversations, config.vocabulary),
            seed=config.seed,
        )
        mark_world(start, "pixelworld")
    trainer = Pretrainer(VisionLanguageModel.load(start), config, conversations, layout_views)
    if state is not None:
        trainer.load_state_dict(state)
    return trainer


def _train(trainer: Pretrainer, folder: RunFolder, interrupt: Interruptible) -> None:
    """The steps that are left, then the checkpoint and what it can do."""
    config, total = trainer.config, trainer.config.vision.steps + trainer.config.language.steps
    show = ("loss", "attention_loss", "colour_accuracy", "glyph_accuracy", "box_error")
    keep_config(folder, config)
    with RunLog(config.out, total, "pretrain", resume_at=trainer.step, show=show) as log:
        while trainer.step < total and not interrupt.requested:
            began = time.perf_counter()
            metrics = trainer.train_step()
            log.step(trainer.step, metrics | {"seconds": time.perf_counter() - began})
            if trainer.step % config.save_every == 0 or interrupt.requested:
                save_state(folder.state, trainer.state_dict())
    if trainer.step == total:
        save_state(folder.state, trainer.state_dict())
        save_checkpoint(trainer.model, folder.model, dtype=torch.bfloat16)
        learned = check_base(trainer.model, world=config.world)
        write_text(config.out / LEARNED_FILE, json.dumps(learned, indent=2) + "\n")
        print_json(data=learned)


def paint_curriculum(config: PretrainConfig) -> tuple[list[SyntheticConversation], list[View]]:
    """Return all conversations and layout views, painted in parallel with a progress bar."""
    curriculum = Curriculum(
        config.world,
        config.chat_format,
        config.architecture.vision(config.chat_format),
        config.n_scenes,
        config.n_layouts,
    )
    conversations: list[SyntheticConversation] = []
    layout_views: list[View] = []
    n_chunks = -(-max(config.n_scenes, config.n_layouts) // 50)
    with closing(curriculum.paint(config.workers or os.cpu_count() or 1)) as chunks:
        for more_conversations, more_views in tracked(chunks, "painting conversations", total=n_chunks):
            conversations += more_conversations
            layout_views += more_views
    return conversations, layout_views


def tokenizer_corpus(
    conversations: Sequence[SyntheticConversation], vocabulary: Sequence[str]
) -> Iterator[str]:
    """Yield texts for the tokenizer: conversations, chat markup, calls, and the recipe's sentences."""
    for conversation in conversations[:8000]:
        for e in conversation.pairs:
            yield from (e.question, e.answer)
    calls = (
        format_call(ToolCall("crop_image", {"bbox_2d": [0, 0, 1, 1], "target_image": 1})),
        format_call(ToolCall("select_frames", {"target_frames": [1, 2]})),
    )
    chat = ("user\n", "assistant\n", "system\n", "crop_image(bbox_2d, target_image)\n")
    chat += ("select_frames(target_frames)\n",)
    for text in (*calls, *chat, *vocabulary):
        yield from [text] * 500


class Pretrainer:
    """The state of a pre-training run, both stages."""

    def __init__(
        self,
        model: VisionLanguageModel,
        config: PretrainConfig,
        conversations: list[SyntheticConversation],
        layout_views: list[View],
    ) -> None:
        self.model, self.config, self.step = model, config, 0
        self.conversations, self.layout_views = conversations, layout_views
        self.views = [v for conversation in conversations for v in conversation.views]
        self.rng = np.random.default_rng(config.seed)
        torch.manual_seed(config.seed)
        self.heads = AuxiliaryHeads(model.decoder.embed_tokens, model.renderer.tokenizer)
        tower = list(model.vision.parameters())
        own = {id(p) for p in tower}
        decoder = [p for p in model.parameters() if id(p) not in own]
        self.vision_optimizer = new_optimizer([*tower, *self.heads.parameters()], config.vision.optim)
        self.language_optimizer = new_optimizer(decoder, config.language.optim)
        tower_optim = config.language.optim.model_copy(
            update={"lr": config.language.optim.lr * config.language.tower_lr, "warmup": 0.1}
        )
        self.tower_optim = tower_optim
        self.tower_optimizer = new_optimizer([*tower, *self.heads.parameters()], tower_optim)
        self.features = FeatureStore(model, max_bytes=FEATURE_BYTES)
        self._labels: dict[int, TokenLabels] = {}
        self._rows: dict[int, Row] = {}
        toolbox = Interaction().toolbox(model.renderer.vision.unit, config.chat_format)
        self._tools = toolbox.schemas if toolbox is not None else []
        self._target_reader = TargetReader(model, COLOUR_NAMES)
        self._attention_supervision = AttentionSupervision(model)
        model.train()

    def train_step(self) -> dict[str, float]:
        """Run one step of the current stage; returns its metrics."""
        metrics = self._vision_step() if self.step < self.config.vision.steps else self._language_step()
        self.step += 1
        if self.step == self.config.vision.steps:
            self._rescale_tower()
        return metrics

    def _vision_step(self) -> dict[str, float]:
        stage = self.config.vision
        metrics = self._auxiliary_backward(stage.batch_size)
        norm = optimizer_step(self.vision_optimizer, step=self.step, total=stage.steps, config=stage.optim)
        return metrics | {"grad_norm": norm}

    def _auxiliary_backward(self, n_pictures: int, weight: float = 1.0) -> dict[str, float]:
        """Add the gradient of the auxiliary loss on some pictures; returns metrics."""
        r = self.model.renderer
        half = n_pictures // 2 if self.layout_views else 0
        pool = [*self.views, *self.layout_views]
        index = self.rng.integers(0, len(self.views), n_pictures - half).tolist()
        index += self.rng.integers(len(self.views), len(pool), half).tolist() if half else []
        index = sorted(set(index))
        for i in index:
            if i not in self._labels:
                self._labels[i] = token_labels(pool[i], r.vision.factor)
        limit = r.vision.crop.max_pixels
        shown = [pool[i].media for i in index]
        blocks = [r.blocks(m, crop=m.size.width * m.size.height <= limit)[0] for m in shown]
        with autocast(self.config.precision, self.model.device):
            features = self.model.encode(blocks)
            tokens = torch.cat([features[b.key].tokens_MD for b in blocks])
            loss, metrics = auxiliary_loss(self.heads, tokens, [self._labels[i] for i in index])
        (weight * loss).backward()
        return metrics

    @torch.no_grad()
    def _rescale_tower(self) -> None:
        blocks = [self.model.renderer.blocks(v.media, crop=True)[0] for v in self.views[:64]]
        std = torch.cat([f.tokens_MD for f in self.model.encode(blocks).values()]).std()
        last = self.model.vision.merger.linear_fc2
        last.weight.mul_(self.config.vision.feature_std / std)
        last.bias.mul_(self.config.vision.feature_std / std)

    def _language_step(self) -> dict[str, float]:
        stage = self.config.language
        at = self.step - self.config.vision.steps
        joint = at >= stage.steps - stage.joint_steps
        self.model.vision.requires_grad_(joint)
        rows = [
            self._row(i) for i in self.rng.integers(0, len(self.conversations), stage.batch_size).tolist()
        ]
        total = max(sum(int(mask.sum()) for _, mask, _ in rows), 1)
        n_queries = [sum(len(targets[i].query_N) for _, _, targets in rows) for i in range(len(LAYERS))]
        loss_sum, attention_sum = 0.0, 0.0
        for part in micro_batches([layout for layout, _, _ in rows], stage.micro_batch_tokens):
            some = [rows[i] for i in part]
            with autocast(self.config.precision, self.model.device), self._attention_supervision.recording():
                found = self.features(b for layout, _, _ in some for b in layout.blocks)
                scores = score_padded(self.model, [(layout, mask) for layout, mask, _ in some], found)
                attention_losses = self._attention_supervision.losses([targets for _, _, targets in some])
            loss = -scores.logp_N.sum() / total
            means = [m / n for m, n in zip(attention_losses, n_queries, strict=True) if n]
            attention = torch.stack(means).sum() if means else loss.new_zeros(())
            (loss + stage.attention_supervision * attention).backward()
            loss_sum += loss.item()
            attention_sum += attention.item()
        norm = optimizer_step(self.language_optimizer, step=at, total=stage.steps, config=stage.optim)
        auxiliary: dict[str, float] = {}
        if joint:
            auxiliary = self._auxiliary_backward(stage.batch_size, stage.auxiliary)
            optimizer_step(self.tower_optimizer, step=at, total=stage.steps, config=self.tower_optim)
        return auxiliary | {"loss": loss_sum, "attention_loss": attention_sum, "grad_norm": norm}

    def _row(self, index: int) -> Row:
        """Return a conversation's row; every other one lists the operations, to train their names."""
        if index not in self._rows:
            tools = self._tools if index % 2 else ()
            layout, mask = conversation_row(self.conversations[index], self.model, tools)
            regions = [p for e in self.conversations[index].pairs for p in e.regions]
            self._rows[index] = (layout, mask, self._target_reader.read(layout, mask, regions))
        return self._rows[index]

    def state_dict(self) -> dict[str, Any]:
        optimizers = (self.vision_optimizer, self.language_optimizer, self.tower_optimizer)
        return {
            "step": self.step,
            "model": self.model.hf.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizers": [o.state_dict() for o in optimizers],
            "rng": self.rng.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.model.hf.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        optimizers = (self.vision_optimizer, self.language_optimizer, self.tower_optimizer)
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.rng.bit_generator.state = state["rng"]
