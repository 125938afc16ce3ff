"""The groups that are measured: how long the prompt and the attempts are, and random ones of that length.

The ratios of prompt to completion are those of one 4-megapixel photograph with 600, 1500 or 2500 tokens of
reasoning and crops after it (the lengths of the paper's model). On a processor, both are a twelfth as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pixelreasoner.chat.chat_format import ChatFormat, PixelBudget
from pixelreasoner.chat.layout import Layout
from pixelreasoner.chat.qwen import VISION_END, VISION_START, QwenVLRenderer
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment, StopReason, Trajectory, Turn
from pixelreasoner.models.roofline import Work
from pixelreasoner.objectives.loss_mask import loss_mask, prompt_of
from pixelreasoner.objectives.scored_group import ScoredGroup

AROUND_IMAGE = 6
"""Tokens of an observation beside its image's: the two brackets, and a few words."""
CHAT_FORMAT = ChatFormat(
    unit=Unit.RELATIVE,
    observation_role="tool",
    crop_reply="The crop:",
    guideline=" Look closer.",
    image=PixelBudget(min_pixels=1, max_pixels=2**30),
    crop=PixelBudget(min_pixels=1, max_pixels=2**30),
)
"""Pictures are shown as they are: a case says how many tokens they take."""


@dataclass(frozen=True)
class Case:
    """A group of attempts at one question about one picture. Lengths are in tokens."""

    prompt: int
    completion: int
    """The mean over the attempts: what is sampled and what is observed, together."""
    crop: int
    """Of all crops of an attempt together."""
    crops: int = 1
    """Per attempt."""
    group: int = 8
    spread: float = 0.2
    """Attempts are up to this share shorter or longer than the mean."""
    image: float = 0.9
    """The picture's share of the prompt."""
    tasks: int = 1
    """Questions with a picture and a group each, rolled out together; training is measured on one group."""

    @property
    def name(self) -> str:
        groups = f"{self.tasks}x" if self.tasks > 1 else ""
        return f"P{self.prompt} C{self.completion} G{groups}{self.group} crops{self.crops}"

    @property
    def unique_tokens(self) -> int:
        """P + sum C: every token of the group once."""
        return self.prompt + self.group * self.completion


CPU_CASES = (
    Case(466, 50, 22, crops=1),
    Case(466, 122, 49, crops=1),
    Case(466, 122, 49, crops=2),
    Case(466, 202, 89, crops=2),
)
QUICK_CASES = (Case(466, 122, 49, crops=1),)
TRUE_CASES = (
    Case(5500, 600, 256, crops=1, image=0.93),
    Case(5500, 1500, 600, crops=1, image=0.93),
    Case(5500, 2500, 1100, crops=2, image=0.93),
)


def random_group(case: Case, renderer: QwenVLRenderer, *, seed: int = 0) -> ScoredGroup:
    """Random words and random pixels, with advantages of mean zero; the sampler's log-probs are zero."""
    random = np.random.default_rng(seed)
    shape = grid(round(case.image * case.prompt))
    prompt = _with_image(case.prompt - shape[0] * shape[1], shape, renderer, random)
    advantages = random.standard_normal(case.group)
    advantages = (advantages - advantages.mean()) / max(float(advantages.std()), 1e-6)
    trajectories = []
    # Evenly spread, so that the mean is that of the case.
    for share in np.linspace(-1, 1, case.group):
        length = round(case.completion * (1 + case.spread * (share if case.group > 1 else 0.0)))
        trajectories.append(_trajectory(case, length, prompt, renderer, random))
    advantages = tuple(advantages.tolist())
    return ScoredGroup(tuple(trajectories), {}, advantages, advantages)


def work_of(group: ScoredGroup, layouts: Sequence[Layout]) -> Work:
    """What a group with one prompt holds."""
    first = prompt_of(group.trajectories[0])
    prompt = int((layouts[0].owner_T < len(first.ids)).sum())
    n_media = len(first.media)
    patches = [tuple(int(np.prod(block.grid_thw)) for block in row.blocks) for row in layouts]
    return Work(
        prompt=prompt,
        attempts=tuple(len(row) - prompt for row in layouts),
        loss_tokens=sum(int(loss_mask(trajectory).sum()) for trajectory in group.trajectories),
        prompt_images=patches[0][:n_media],
        attempt_images=tuple(images[n_media:] for images in patches),
    )


def grid(tokens: int) -> tuple[int, int]:
    """Rows and columns of a picture of about so many tokens, never more, as square as it gets."""
    rows = max(1, int(tokens**0.5))
    return rows, max(1, tokens // rows)


def smaller(case: Case, group: int) -> Case:
    """The same with another number of attempts."""
    return replace(case, group=group)


def _trajectory(
    case: Case, length: int, prompt: Segment, renderer: QwenVLRenderer, random: np.random.Generator
) -> Trajectory:
    """Messages and crops in turn, `length` tokens long, a message first and last."""
    shape = grid(case.crop // case.crops)
    observed = [_with_image(AROUND_IMAGE, shape, renderer, random) for _ in range(case.crops)]
    n_sampled = length - case.crops * (AROUND_IMAGE + shape[0] * shape[1])
    assert n_sampled > case.crops, f"{length} tokens leave no words between {case.crops} crops of {shape}"
    ends = np.linspace(0, n_sampled, case.crops + 2).round().astype(int)
    words = [_words(int(n), renderer, random) for n in np.diff(ends)]
    turns = tuple(
        Turn("", sampled=Segment(ids, logprobs=(0.0,) * len(ids)), observed=observation)
        for ids, observation in zip(words, [*observed, None], strict=True)
    )
    return Trajectory(Task("bench", "", (), ()), turns, StopReason.ANSWER, prompt=prompt)


def _with_image(
    n_words: int, shape: tuple[int, int], renderer: QwenVLRenderer, random: np.random.Generator
) -> Segment:
    """Words around one picture of `shape` tokens; `n_words` counts everything but those."""
    side = renderer.vision.factor
    pixels = random.integers(0, 256, (shape[0] * side, shape[1] * side, 3), dtype=np.uint8)
    words = _words(n_words - 2, renderer, random)
    bracket = renderer.codec.control_id
    half = len(words) // 2
    image = (bracket(VISION_START), renderer.image_id, bracket(VISION_END))
    return Segment((*words[:half], *image, *words[half:]), (Picture(pixels),))


def _words(n: int, renderer: QwenVLRenderer, random: np.random.Generator) -> tuple[int, ...]:
    """Random tokens, none of them a control token."""
    special = renderer.stop_ids | renderer.forbidden_ids | set(renderer.tokenizer.all_special_ids)
    ordinary = np.setdiff1d(np.arange(len(renderer.tokenizer)), list(special))
    return tuple(random.choice(ordinary, n).tolist())
