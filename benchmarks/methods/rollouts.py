"""Rollout methods: this package's loop with one of its policies, and TRL's generation with tools."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image
from transformers import PreTrainedModel

from benchmarks.methods.base import Settings
from benchmarks.methods.trl_trainer import output_folder, require_trl, trainer_parts
from benchmarks.reference.local_policy import LocalPolicy
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, rollout, turn_seed
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.ops.crop import CropImage
from pixelreasoner.ops.toolbox import Toolbox
from pixelreasoner.policy.base import Policy, Sampling


@dataclass(frozen=True)
class Workload:
    """The rollouts to generate: a group for each task, each rollout with so many crops."""

    tasks: tuple[Task, ...]
    group: int
    """Rollouts of each task."""
    crops: int
    message: int
    """Maximal tokens of a message."""

    @property
    def limits(self) -> Limits:
        """Return the limits: the call after the last crop ends the rollout."""
        return Limits(max_turns=self.crops + 1, max_operations=self.crops)

    @property
    def sampling(self) -> Sampling:
        return Sampling(max_tokens=self.message)


@dataclass(frozen=True)
class TokenCounts:
    """Number of tokens of a workload."""

    prompt: int
    """Of the first prompt, its picture expanded."""
    sampled: int
    """Of all rollouts."""
    observed: int
    """Of all rollouts, crops expanded."""


class RolloutMethod(Protocol):
    def run(self) -> TokenCounts:
        """Generate the workload once, with new seeds and nothing cached from the last run."""
        ...


PolicyMaker = Callable[[VisionLanguageModel], Policy]


def group_policy() -> PolicyMaker | None:
    """Return the group engine, where this version of the package has one."""
    try:
        module = importlib.import_module("pixelreasoner.policy.group")
    except ModuleNotFoundError:
        return None
    return module.GroupPolicy


def crop_toolbox(renderer: QwenVLRenderer) -> Toolbox:
    """Return a toolbox with only `crop_image`."""
    chat_format = renderer.chat_format
    return Toolbox((CropImage(renderer.vision.unit, chat_format.crop_reply),), chat_format.error_reply)


class Ours:
    """`env.rollout` with a policy of this package; its trajectories can be trained on directly."""

    def __init__(
        self, model: VisionLanguageModel, workload: Workload, policy: PolicyMaker = LocalPolicy
    ) -> None:
        self._model, self._workload, self._policy = model, workload, policy
        self._runs = 0

    def run(self) -> TokenCounts:
        return self.count(self.generate())

    def generate(self) -> list[Trajectory]:
        """Return the trajectories, group after group."""
        workload, renderer = self._workload, self._model.renderer
        self._runs += 1
        return rollout(
            [
                RolloutRequest(task, turn_seed(self._runs, i))
                for task in workload.tasks
                for i in range(workload.group)
            ],
            # New, as after an update: keys, values and features belong to the weights they were made with.
            policy=self._policy(self._model),
            renderer=renderer,
            toolbox=crop_toolbox(renderer),
            sampling=workload.sampling,
            limits=workload.limits,
        )

    def count(self, trajectories: Sequence[Trajectory]) -> TokenCounts:
        layout = self._model.renderer.layout
        prompts = [len(layout(t.segments[:1])) for t in trajectories]
        sampled = sum(t.n_sampled_tokens for t in trajectories)
        whole = sum(len(layout(t.segments)) for t in trajectories)
        return TokenCounts(prompts[0], sampled, whole - sampled - sum(prompts))


class TrlGeneration:
    """`GRPOTrainer`'s own generation: prompts through its processor, `generate`, tools, `generate` again.

    Its later work on the batch (padding, pixels for training, rewards) is not measured.
    """

    def __init__(self, hf: PreTrainedModel, renderer: QwenVLRenderer, workload: Workload) -> None:
        """Raises MissingExtraError when TRL is not installed."""
        require_trl()
        self._workload, self._hf = workload, hf
        # Our limit is per message, TRL's for the whole completion.
        most = (workload.crops + 1) * (workload.message + 256)
        arguments = trainer_parts(
            hf, renderer, output_folder(self), group=workload.group, tasks=len(workload.tasks),
            settings=Settings(), completion=4 * most, turns=workload.crops,
        )  # fmt: skip
        from trl import GRPOTrainer  # pyright: ignore[reportMissingImports]
        from trl.chat_template_utils import qwen3_template  # pyright: ignore[reportMissingImports]

        renderer.tokenizer.response_template = qwen3_template
        tools = [crop_tool(renderer, task) for task in workload.tasks]
        self.trainer = GRPOTrainer(**arguments, tools=tools[:1])
        self.trainer.model_wrapped = hf
        each = range(workload.group)
        self._tools = [{tool.__name__: tool} for tool in tools for _ in each]
        self._prompts = [trl_prompt(renderer, task) for task in workload.tasks for _ in each]

    def run(self) -> TokenCounts:
        trainer = self.trainer
        self._hf.train()
        trainer._sync_tool_dicts = self._tools
        trainer._async_tool_dicts = [{} for _ in self._tools]
        prompt_ids, completion_ids, tool_mask, *_ = trainer._generate(self._prompts)
        sampled = sum(map(sum, tool_mask))
        return TokenCounts(len(prompt_ids[0]), sampled, sum(map(len, completion_ids)) - sampled)


def trl_prompt(renderer: QwenVLRenderer, task: Task) -> list[dict[str, Any]]:
    """Return the same words and the same picture as `renderer.prompt` writes."""
    picture = task.media[0]
    assert isinstance(picture, Picture)
    content = [
        {"type": "image", "image": Image.fromarray(picture.pixels)},
        {"type": "text", "text": task.question + renderer.chat_format.guideline},
    ]
    return [{"role": "user", "content": content}]


def crop_tool(renderer: QwenVLRenderer, task: Task) -> Callable[..., list[dict[str, Any]]]:
    """Return `crop_image` as a function for TRL: the same operation, its result as message content."""
    toolbox, scene = crop_toolbox(renderer), renderer.vision.image_context(task.media)

    def crop_image(bbox_2d: list[int], target_image: int) -> list[dict[str, Any]]:
        """Cut a region out of an image.

        Args:
            bbox_2d: The region's corners.
            target_image: The number of the image.
        """
        call = ToolCall("crop_image", {"bbox_2d": bbox_2d, "target_image": target_image})
        observation = toolbox.execute(call, scene)
        images = [{"type": "image", "image": Image.fromarray(p.pixels)} for p in observation.images]
        return [{"type": "text", "text": observation.text}, *images]

    return crop_image
