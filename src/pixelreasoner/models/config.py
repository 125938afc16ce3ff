"""Which checkpoint, where, in which number formats, and which parts learn: one configuration for all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pixelreasoner.core.config import MAY_CHANGE, Bytes, Config, Count, Seed

Precision = Literal["fp32", "bf16"]
Dtype = Literal["auto", "fp32", "bf16"]


class TrainableParts(Config):
    """Which parts of the model take gradients."""

    vision: bool = True
    """The vision tower, its merger included."""
    language: bool = True
    """The layers of the decoder and its final norm."""
    embeddings: bool = True
    """The token embeddings and the output layer."""


class LoraConfig(Config):
    """Low-rank adapters in the place of trained matrices (arXiv 2106.09685); needs the extra `lora`."""

    rank: int = Field(default=16, ge=1, le=2**16)
    """Of the two matrices of an adapter."""
    alpha: float = Field(default=32.0, gt=0, le=2**17)
    """The adapters' product is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of an adapter's inputs that are left out while it is trained."""
    targets: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
        "in_proj_qkv", "in_proj_z", "out_proj",
    )  # fmt: skip
    """Names of linear layers in the decoder; the last three are those of recurrent layers (Qwen3.5)."""
    vision: bool = False
    """Adapters in the vision tower's linear layers too."""
    seed: Seed = 0
    """Of what new adapters start from."""
    start: Path | None = None
    """A folder with adapters in peft's format to go on from."""
    merge_on_save: bool = True
    """Whether a saved checkpoint is a plain one, with the adapters added to its weights. If not, it holds the
    adapters alone, in `adapter/`, and is loaded together with the checkpoint they belong to."""


class ModelConfig(Config):
    """How every command loads a model."""

    checkpoint: str = "nano"
    """A folder, the name of a shipped checkpoint, or a hub id (`Qwen/Qwen2.5-VL-7B-Instruct`)."""
    chat_format: str | None = None
    """What is spoken with the checkpoint in place of its own chat format: the name of a shipped one
    ("pixelreasoner-v1"), or a file. What it leaves out stays the checkpoint's."""
    device: str = "auto"
    """A torch device; "auto" takes CUDA where there is one, else the CPU."""
    dtype: Dtype = "auto"
    """Of the weights; "auto" is fp32 on a CPU and bf16 on an accelerator."""
    threads: int | None = Field(default=None, ge=1, le=4096)
    """Of the CPU, within an operation; None: as many as torch takes. With 1, a run on a CPU gives the same
    bits each time: with more, some sums are rounded in another order."""
    precision: Precision = "fp32"
    """Of the matrix products where the weights are fp32 (autocast): bf16 is faster, the weights stay fp32."""
    attention: Literal["auto", "flash", "dense"] = "auto"
    """The kernel for packed rows. auto: flash where there is one, else exact chunks of matrix products.
    flash: that kernel, or an error. dense: a mask over the whole row, for comparison."""
    max_dense_tokens: Count = 8192
    """The longest row for which `attention = "dense"` may build its mask."""
    gradient_checkpointing: bool = False
    """Recompute the activations of each layer in the backward pass: far less memory, more time."""
    train: TrainableParts = TrainableParts()
    """Which parts learn, where there are no adapters."""
    lora: LoraConfig | None = None
    """Adapters to train; all other weights are then fixed, whatever `train` says."""
    feature_bytes: Annotated[Bytes, MAY_CHANGE] = 2 * 2**30
    """Memory for vision features that are kept while the tower is fixed."""
    kv_cache_bytes: Annotated[Bytes, MAY_CHANGE] = 8 * 2**30
    """Memory for keys and values while rollouts are sampled; taken as they grow, and given back after. On a
    GPU, CUDA graphs take up to 1 GiB more meanwhile."""
    picture_bytes: Annotated[Bytes, MAY_CHANGE] = 2**30
    """Memory for decoded pictures, of the whole process; beyond it their files are decoded again."""

    @model_validator(mode="after")
    def _something_learns(self) -> ModelConfig:
        if self.lora is None and not any((self.train.vision, self.train.language, self.train.embeddings)):
            raise ValueError("no part of the model learns; set one of train.vision, language, embeddings")
        return self
