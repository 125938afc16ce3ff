"""TRL's GRPOTrainer on the same group: its own training step, given the batch that its generation would give.

The trainer is handed finished pixels, which the other methods cut out of the pictures in the measured time.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from benchmarks.methods.base import (
    Settings,
    gradients_of,
    layouts_of,
    loss_tokens,
    padded_tokens,
    part_of,
    parts,
)
from benchmarks.methods.stock import PaddedRows, pixels_of
from pixelreasoner.chat.qwen import IMAGE_PAD, QwenVLRenderer
from pixelreasoner.core.errors import MissingExtraError
from pixelreasoner.objectives.scored_group import ScoredGroup


class Trl:
    """`GRPOTrainer.training_step`: its loss, its chunked vocabulary scores, its padded forward pass."""

    def __init__(
        self,
        hf: PreTrainedModel,
        renderer: QwenVLRenderer,
        group: ScoredGroup,
        settings: Settings,
    ) -> None:
        """Raises MissingExtraError when TRL is not installed."""
        require_trl()
        self._hf, self._group, self._settings = hf, group, settings
        self._layouts = layouts_of(group, renderer)
        n = len(group.trajectories)
        self.tokens = padded_tokens(self._layouts, settings.rows)
        hf.model.visual.requires_grad_(not settings.frozen)
        if settings.recompute:
            # The trainer does so at the start of a whole run, which is not what is measured.
            hf.gradient_checkpointing_enable({"use_reentrant": False})
        folder = output_folder(self)
        arguments = trainer_parts(hf, renderer, folder, group=n, settings=settings)
        self._trainer = _given_batches()(**arguments)
        self._trainer.model_wrapped = hf
        self._trainer.current_gradient_accumulation_steps = 1
        self._seen: list[Tensor] = []
        self._keep_log_probs()
        self._inputs = [self._batch(part, renderer) for part in parts(n, settings.rows)]

    def run(self) -> Tensor:
        self._hf.zero_grad(set_to_none=True)
        self._seen.clear()
        for inputs in self._inputs:
            self._trainer.training_step(self._hf, inputs, None)
        masks = [(i["completion_mask"] * i["tool_mask"]).bool() for i in self._inputs]
        return torch.cat([logp[mask] for logp, mask in zip(self._seen, masks, strict=True)])

    def gradients(self) -> dict[str, Tensor]:
        return gradients_of(self._hf)

    def _keep_log_probs(self) -> None:
        score: Callable[..., Any] = self._trainer._get_per_token_logps_and_entropies

        def keep(*args: Any, **options: Any) -> Any:
            out = score(*args, **options)
            self._seen.append(out[0].detach())
            return out

        self._trainer._get_per_token_logps_and_entropies = keep

    def _batch(self, part: Sequence[int], renderer: QwenVLRenderer) -> dict[str, Any]:
        """What `_generate_and_score_completions` hands to the loss; prompts of one group have no padding."""
        group, layouts = part_of(self._group, part), [self._layouts[i] for i in part]
        device = self._hf.device
        rows = PaddedRows.of(group, layouts, device)
        at = slice(rows.prompt, None)
        return {
            "prompt_ids": rows.ids_BT[:, : rows.prompt],
            "prompt_mask": rows.mask_BT[:, : rows.prompt],
            "completion_ids": rows.ids_BT[:, at],
            "completion_mask": rows.mask_BT[:, at],
            "tool_mask": rows.loss_BT[:, at].long(),
            "advantages": torch.tensor(group.advantages, device=device),
            "num_items_in_batch": torch.tensor(sum(loss_tokens(self._group)), device=device),
            "pixel_values": pixels_of(layouts, renderer, device).to(self._hf.dtype),
            "image_grid_thw": rows.grid_M3,
            "num_images": [len(row.blocks) for row in layouts],
            "mm_token_type_ids": rows.kind_BT.int(),
        }


def output_folder(owner: object) -> Path:
    """What a trainer calls its output; gone when its owner is."""
    folder = Path(tempfile.mkdtemp(prefix="pixelreasoner-trl-"))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder


def require_trl() -> None:
    """Raises MissingExtraError when TRL is not installed."""
    try:
        import_module("trl")
    except ImportError as e:
        raise MissingExtraError("trl", "bench", "comparing with TRL") from e


def trainer_parts(
    hf: PreTrainedModel,
    renderer: QwenVLRenderer,
    folder: Path,
    *,
    group: int,
    tasks: int = 1,
    settings: Settings,
    completion: int = 1024,
    turns: int | None = None,
) -> dict[str, Any]:
    """Arguments of a `GRPOTrainer`, its defaults wherever they are not about size or place.

    Args:
        hf: the model; the trainer adds a fused head to it.
        renderer: the checkpoint's.
        folder: what the trainer calls its output.
        group: attempts per question.
        tasks: questions per batch.
        settings: of the benchmark.
        completion: most tokens after the prompt.
        turns: most rounds of tool calls.
    """
    from datasets import Dataset  # pyright: ignore[reportMissingImports]
    from datasets.table import InMemoryTable  # pyright: ignore[reportMissingImports]
    from trl import GRPOConfig  # pyright: ignore[reportMissingImports]

    config = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=group * tasks,
        num_generations=group,
        gradient_checkpointing=settings.recompute,
        gradient_checkpointing_kwargs={"use_reentrant": False} if settings.recompute else None,
        max_completion_length=completion,
        max_tool_calling_iterations=turns,
        bf16=False,
        use_cpu=hf.device.type == "cpu",
        max_steps=1,
        disable_tqdm=True,
    )
    prompts = [[{"role": "user", "content": "?"}]] * group
    return {
        "model": hf,
        "args": config,
        "reward_funcs": [dealt_rewards],
        "processing_class": image_processor(renderer),
        "train_dataset": Dataset(InMemoryTable.from_pydict({"prompt": prompts}), fingerprint="prompts"),
    }


def image_processor(renderer: QwenVLRenderer) -> ProcessorMixin:
    """The checkpoint's processor without its video half, which cannot be loaded without torchvision."""
    mean, std = renderer.vision.normalization
    budget = renderer.vision.image
    images = Qwen2VLImageProcessorPil(
        patch_size=renderer.vision.patch,
        merge_size=renderer.vision.merge,
        temporal_patch_size=renderer.vision.temporal_patch,
        image_mean=list(mean),
        image_std=list(std),
        size={"shortest_edge": budget.min_pixels, "longest_edge": budget.max_pixels},
        resample=Image.Resampling.BICUBIC,
    )
    return ImageTextProcessor(images, renderer.tokenizer, chat_template=renderer.tokenizer.chat_template)


class ImageTextProcessor(ProcessorMixin):
    """Images and words, as the Qwen-VL processors of transformers write them."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
        self.image_token = IMAGE_PAD
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_PAD)
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **_: Any) -> str:
        merged = self.image_processor.merge_size**2
        return self.image_token * int(image_inputs["image_grid_thw"][image_idx].prod() // merged)


def _given_batches() -> type:
    from trl import GRPOTrainer  # pyright: ignore[reportMissingImports]

    class GivenBatches(GRPOTrainer):
        """Trains on the batch it is given, where `GRPOTrainer` would first generate one."""

        def _prepare_inputs(self, generation_batch: dict[str, Any]) -> dict[str, Any]:
            return generation_batch

    return GivenBatches


def dealt_rewards(completions: Sequence[Any], **_: Any) -> list[float]:
    """Every other attempt is a success: what is measured is not whether the model is right."""
    return [float(i % 2) for i in range(len(completions))]
