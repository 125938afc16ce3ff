"""The student without operations: how hard a task is for it, and its own words where it is right.

Two uses of the same samples. A task that the student answers without looking closer teaches nothing about
looking closer: it is too easy. And the paper's text-only trajectories are drawn from the base model: the
first of its samples that is right (rejection sampling), in its own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from pixelreasoner.chat.calls import CALL_OPEN, last_boxed
from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.prompting import task_messages
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.config import Config, Count, Share
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.endpoint.access import PaidServerConfig
from pixelreasoner.endpoint.asker import Asker
from pixelreasoner.endpoint.failures import UnusableReplyError
from pixelreasoner.endpoint.requests import ChatMessage, ChatRequest, text_part
from pixelreasoner.rewards.scorers import Scorer
from pixelreasoner.synth.concurrently import concurrently
from pixelreasoner.synth.rejection import RejectedError, unusable_replies
from pixelreasoner.synth.shown import media_parts
from pixelreasoner.synth.teacher import TrajectoryTexts
from pixelreasoner.synth.text_faults import unseen

DIRECT_ACCURACY = "direct_accuracy"
"""The metric of a trajectory that says how often the student answers its task without operations."""
SEED_BITS = 31
_CONTROL = (CALL_OPEN, "<|")
"""What no message without an operation may hold."""
_HOPELESS = ("too_long", "rejected_request")
"""Reasons that hold for every other sample too."""


class StudentConfig(Config):
    """The model to be taught, before it is taught, behind an endpoint: how hard tasks are for it."""

    server: PaidServerConfig
    """Where it is, its limits and prices."""
    samples: Annotated[int, Field(ge=1, le=64)] = 4
    """Answers without operations to each task, at most."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0
    """Of the samples."""
    max_tokens: Count = 1024
    """Of a sample."""
    too_easy_from: Share = 0.75
    """A task is too easy when this share of the samples is right."""
    reject: bool = True
    """Whether a trajectory with operations about a task that is too easy is turned down; the metric
    `direct_accuracy` says how easy it is in any case."""


@dataclass(frozen=True)
class Difficulty:
    """How many samples of the student were right."""

    right: int
    samples: int

    @property
    def accuracy(self) -> float:
        """The share of right samples, 0 to 1."""
        return self.right / self.samples

    @property
    def metrics(self) -> dict[str, float]:
        """What a trajectory about the task records."""
        return {DIRECT_ACCURACY: self.accuracy}


@dataclass(frozen=True)
class Student:
    """A model that answers without operations, through an endpoint."""

    asker: Asker
    config: StudentConfig
    vision: VisionSpec
    """How it sees: pictures are sent at the sizes at which it is shown them."""
    chat_format: ChatFormat
    """How it is asked."""

    async def answer_directly(self, task: Task, rng: np.random.Generator) -> list[str]:
        """The student's messages about a task, one for each sample; empty where a sample is of no use.

        Raises:
            RejectedError: the server does not take the task.
            RequestFailedError, EndpointError, OutOfBudgetError, MediaError: as `Asker.text`.
        """
        seeds = rng.integers(2**SEED_BITS, size=self.config.samples).tolist()
        messages = self._messages(task)
        return list(await concurrently(*(self._sample(messages, seed) for seed in seeds)))

    async def difficulty(self, task: Task, scorer: Scorer, rng: np.random.Generator) -> Difficulty:
        """How hard a task is.

        Raises:
            RejectedError, RequestFailedError, EndpointError, OutOfBudgetError, MediaError: as
                `answer_directly`.
        """
        said = await self.answer_directly(task, rng)
        return Difficulty(sum(is_right(text, task, scorer) for text in said), len(said))

    async def checked(self, task: Task, scorer: Scorer, rng: np.random.Generator) -> Difficulty:
        """As `difficulty`, of a task that is to be answered with operations.

        Raises:
            RejectedError: it is too easy, and such tasks are turned down; or as `difficulty`.
            RequestFailedError, EndpointError, OutOfBudgetError, MediaError: as `answer_directly`.
        """
        found = await self.difficulty(task, scorer, rng)
        if self.config.reject and found.accuracy >= self.config.too_easy_from:
            raise RejectedError(
                "difficulty", "answered without operations", f"{found.right} of {found.samples}"
            )
        return found

    async def sample_text_only(self, task: Task, scorer: Scorer, rng: np.random.Generator) -> TrajectoryTexts:
        """The first right sample, as a trajectory without operations. One is asked for after the other.

        Raises:
            RejectedError: no sample is right, or the server does not take the task.
            RequestFailedError, EndpointError, OutOfBudgetError, MediaError: as `Asker.text`.
        """
        messages = self._messages(task)
        for seed in rng.integers(2**SEED_BITS, size=self.config.samples).tolist():
            text = await self._sample(messages, seed)
            if is_right(text, task, scorer):
                return TrajectoryTexts((), text.strip())
        raise RejectedError("difficulty", "no right sample", f"of {self.config.samples}")

    async def _sample(self, messages: tuple[ChatMessage, ...], seed: int) -> str:
        config = self.config
        request = ChatRequest("solve", messages, config.temperature, config.max_tokens, seed)
        with unusable_replies("difficulty"):
            try:
                return await self.asker.text(request)
            except UnusableReplyError as e:
                if e.reason in _HOPELESS:
                    raise
                return ""

    def _messages(self, task: Task) -> tuple[ChatMessage, ...]:
        """The prompt that the student knows, without operations."""
        vision, marker = self.vision, self.chat_format.frame_marker

        def image_size(picture: Picture) -> Size:
            return vision.size_of(picture, crop=False)

        def marked(number: int, seconds: float) -> str:
            return marker.format(first=number, last=number, seconds=seconds)

        out: list[ChatMessage] = []
        for message in task_messages(task, self.chat_format, tools=False):
            if message.role == "system":
                out.append({"role": "system", "content": message.text})
                continue
            content: list[ChatMessage] = []
            for part in message.parts:
                if isinstance(part, str):
                    content.append(text_part(part))
                else:
                    content += media_parts([part], image_size, vision.frame_size, marked)
            out.append({"role": message.role, "content": content})
        return tuple(out)


def is_right(text: str, task: Task, scorer: Scorer) -> bool:
    """Whether a message of the student's is a right answer, in a form that may be learned."""
    if any(mark in text for mark in _CONTROL) or unseen(text):
        return False
    return scorer(last_boxed(text), task.answers, task) == 1.0
