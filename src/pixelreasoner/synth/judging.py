"""Whether an answer follows from what the last operation showed, as a model judges that sees nothing else.

Up to three requests about a trajectory, each with the question:

1. the last crop (or frames) alone: the judge has to give the reference. Where it does not, it is asked
2. about the whole input with the crop: where it is not right now either, nobody can answer ("impossible");
   else the crop lacks something.
3. a place elsewhere, with nothing of the cue, or no picture where the cue leaves no other place: the judge
   must not give the reference. Where it does, the question can be answered without the crop, from its words
   or from what is everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from pixelreasoner.core.config import Config, Count
from pixelreasoner.core.inspection import inspected_regions
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.endpoint.access import PaidServerConfig
from pixelreasoner.endpoint.asker import Asker
from pixelreasoner.endpoint.requests import ChatMessage, ChatRequest, text_part
from pixelreasoner.rewards.scorers import Scorer
from pixelreasoner.synth.outline import Tools, elsewhere
from pixelreasoner.synth.prompts import JudgePrompts
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.rejection import RejectedError, unusable_replies
from pixelreasoner.synth.shown import SentPictures, frame_marker


class CropJudgeConfig(Config):
    """A model that judges whether answers follow from crops, behind an endpoint."""

    server: PaidServerConfig
    """Where it is, its limits and prices."""
    pictures: SentPictures = SentPictures()
    """The sizes at which it sees pictures."""
    swap: bool = True
    """Whether it is shown another place too, where it must not find the answer."""
    max_tokens: Count = 512
    """Of a reply; a model that thinks first needs more."""
    prompts: JudgePrompts = JudgePrompts()
    """What it is told."""


class CropAnswer(BaseModel):
    """What the judge says about what it is shown."""

    model_config = ConfigDict(extra="forbid")

    evidence: str
    answerable: bool
    answer: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the judge said of a trajectory that it let pass."""

    from_crop: str
    """Its answer from the last crop alone: a right one."""
    from_swap: str | None
    """Its answer without the cue, which is wrong or empty; None where it was not asked."""


@dataclass(frozen=True)
class CropJudge:
    """Judges trajectories through an endpoint."""

    asker: Asker
    config: CropJudgeConfig

    async def check(
        self, trajectory: Trajectory, tools: Tools, scorer: Scorer, rng: np.random.Generator
    ) -> Verdict | None:
        """The verdict on a trajectory; None on one without operations, of which there is nothing to judge.

        Args:
            trajectory: a synthesised one.
            tools: those that it was made with; the other place is cut by them.
            scorer: says whether the judge is right.
            rng: draws the other place.

        Raises:
            RejectedError: the answer does not follow from the crop, or follows without it.
            RequestFailedError, EndpointError, OutOfBudgetError, MediaError: as `Asker.structured`.
        """
        shown = last_shown(trajectory)
        if not shown:
            return None
        task = trajectory.task
        crop = await self._ask(task, self._parts(shown))
        if not _is_right(crop, task, scorer):
            whole = self.config.pictures.whole_parts(task.media, frame_marker(self.config.prompts.frame))
            full = await self._ask(task, [*whole, *self._parts(shown)])
            if _is_right(full, task, scorer):
                raise RejectedError("judge", "the answer does not follow from the crop", _said(crop))
            raise RejectedError("judge", "impossible", _said(full))
        if not self.config.swap:
            return Verdict(crop.answer, None)
        swap = await self._ask(task, self._parts(_swapped(trajectory, tools, rng)))
        if _is_right(swap, task, scorer):
            raise RejectedError("judge", "answerable without the crop", _said(swap))
        return Verdict(crop.answer, swap.answer if swap.answerable else "")

    async def _ask(self, task: Task, parts: Sequence[ChatMessage]) -> CropAnswer:
        prompts = self.config.prompts
        wanted = prompts.judge_letter if task.options else prompts.judge_words
        words = f"Question: {task.question}\n\n{prompts.judge_fields.format(answer=wanted)}"
        messages: tuple[ChatMessage, ...] = (
            {"role": "system", "content": prompts.judge},
            {"role": "user", "content": [*parts, text_part(words)]},
        )
        request = ChatRequest("judge", messages, max_tokens=self.config.max_tokens)
        with unusable_replies("judge"):
            return await self.asker.structured(request, CropAnswer)

    def _parts(self, pictures: Sequence[Picture]) -> list[ChatMessage]:
        return [self.config.pictures.crop_part(picture) for picture in pictures]


def last_shown(trajectory: Trajectory) -> tuple[Picture, ...]:
    """What the last operation that was read showed; nothing where there is none."""
    seen = [s for s in trajectory.read_observations if s is not None and s.valid and s.images]
    return seen[-1].images if seen else ()


def _swapped(trajectory: Trajectory, tools: Tools, rng: np.random.Generator) -> tuple[Picture, ...]:
    """A place without the cue; nothing where the cue leaves none."""
    final = next((r for r in reversed(inspected_regions(trajectory)) if r is not None), None)
    avoided = [final.box] if final is not None and final.box is not None else []
    try:
        return elsewhere(trajectory.task, tools, rng, *avoided).images
    except SynthesisError:
        return ()


def _is_right(said: CropAnswer, task: Task, scorer: Scorer) -> bool:
    return said.answerable and scorer(said.answer.strip(), task.answers, task) == 1.0


def _said(answer: CropAnswer) -> str:
    what = repr(answer.answer[:100]) if answer.answerable else "not answerable"
    return f"{what}: {' '.join(answer.evidence.split())[:300]}"
