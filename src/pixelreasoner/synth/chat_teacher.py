"""A language model as the teacher: one call words a whole trajectory, once its operations are carried out.

The paper's template, and which text of the reply it is made of, for a wrong crop and then a right one::

    message 1   overview   + an announcement, which names the subject
    message 2   seen_1     + an announcement
    message 3   seen_2     + conclusion + \\boxed{reference}

The announcements and the answer are put in here, so that each message leads to its operation, and the last
one to the reference, whatever the model writes. The other texts are checked (`synth.text_faults`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, create_model

from pixelreasoner.core.config import Config, Count
from pixelreasoner.core.media import Video
from pixelreasoner.core.task import Task
from pixelreasoner.endpoint.access import PaidServerConfig
from pixelreasoner.endpoint.asker import Asker
from pixelreasoner.endpoint.requests import ChatMessage, ChatRequest, text_part
from pixelreasoner.synth.outline import Move, Outline
from pixelreasoner.synth.prompts import TeacherPrompts
from pixelreasoner.synth.rejection import RejectedError, unusable_replies
from pixelreasoner.synth.shown import SentPictures, frame_marker
from pixelreasoner.synth.teacher import TrajectoryTexts
from pixelreasoner.synth.text_faults import (
    MOST_SUBJECT_WORDS,
    form_faults,
    right_options,
    states_answer,
    tells_answer,
)

SEED_BITS = 31


class TeacherServerConfig(Config):
    """A language model that writes questions and trajectories, behind an endpoint."""

    server: PaidServerConfig
    """Where it is, its limits and prices."""
    pictures: SentPictures = SentPictures()
    """The sizes at which it sees pictures."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    """Of its texts: at 0, trajectories about like tasks read alike."""
    max_tokens: Count = 2048
    """Of a reply; a model that thinks first needs more."""
    tries: Annotated[int, Field(ge=1, le=20)] = 3
    """Texts that it writes about one trajectory at most, until there are some without faults; each of them
    may be asked for that often too, until it is readable."""
    prompts: TeacherPrompts = TeacherPrompts()
    """What it is told."""


class Texts(BaseModel):
    """What every reply holds. Those about operations have a field for each: `texts_for`."""

    model_config = ConfigDict(extra="forbid")

    overview: str
    conclusion: str

    def seen(self, number: int) -> str:
        """The text about operation `number`, from 1."""
        return getattr(self, _seen(number))


class SubjectTexts(Texts):
    """Where the task does not say what it is about."""

    subject: str


@lru_cache(maxsize=64)
def texts_for(n_operations: int, *, subject: bool) -> type[Texts]:
    """The structure of a reply about so many operations, with the subject where it is asked for."""
    fields: dict[str, Any] = {_seen(number): (str, ...) for number in range(1, n_operations + 1)}
    base = SubjectTexts if subject else Texts
    return create_model(f"{base.__name__}{n_operations}", __base__=base, **fields)


@dataclass(frozen=True)
class ChatTeacher:
    """Words outlines through an endpoint; a `synth.teacher.Teacher`."""

    asker: Asker
    config: TeacherServerConfig

    async def write(self, outline: Outline, rng: np.random.Generator) -> TrajectoryTexts:
        """The texts of one trajectory.

        Raises:
            RejectedError: the task has no reference answer, or no texts without faults were written.
            RequestFailedError, EndpointError, OutOfBudgetError, MediaError: as `Asker.structured`.
        """
        task = outline.task
        if not task.answers:
            raise RejectedError("write", "no reference answer")
        request = self._request(outline, int(rng.integers(2**SEED_BITS)))
        kind = texts_for(len(outline.steps), subject=not task.subject and bool(outline.steps))
        faults: list[str] = []
        for number in range(self.config.tries):
            asked = request
            with unusable_replies("write"):
                texts = await self.asker.structured(asked, kind, tries=self.config.tries)
            faults = faults_of(texts, outline)
            if not faults:
                return self._composed(texts, outline, rng)
            request = self._mended(request, number, texts, faults)
        raise RejectedError("write", "the texts have faults", "; ".join(faults))

    def _request(self, outline: Outline, seed: int) -> ChatRequest:
        prompts, config = self.config.prompts, self.config
        content = [
            *config.pictures.whole_parts(outline.task.media, frame_marker(prompts.frame)),
            text_part("\n".join(known_facts(outline.task))),
        ]
        for number, step in enumerate(outline.steps, start=1):
            words = {
                Move.RIGHT: prompts.right_look,
                Move.WRONG: prompts.wrong_look,
                Move.TOO_LARGE: prompts.large_look,
            }
            content.append(text_part(words[step.move].format(number=number)))
            content += [config.pictures.crop_part(image) for image in step.observation.images]
        content.append(text_part("\n".join(["Reply with these fields.", *self._fields(outline)])))
        messages: tuple[ChatMessage, ...] = (
            {"role": "system", "content": prompts.write},
            {"role": "user", "content": content},
        )
        return ChatRequest("write", messages, config.temperature, config.max_tokens, seed)

    def _fields(self, outline: Outline) -> Iterator[str]:
        """What each field of the reply should hold."""
        prompts = self.config.prompts
        if not outline.steps:
            yield prompts.overview_only_field
        else:
            yield prompts.overview_field
            if not outline.task.subject:
                yield prompts.subject_field
        words = {
            Move.RIGHT: prompts.right_field,
            Move.WRONG: prompts.wrong_field,
            Move.TOO_LARGE: prompts.large_field,
        }
        for number, step in enumerate(outline.steps, start=1):
            yield words[step.move].format(field=_seen(number), number=number)
        yield prompts.conclusion_field

    def _mended(self, request: ChatRequest, number: int, texts: Texts, faults: list[str]) -> ChatRequest:
        """The request after texts with faults, which it names."""
        said = self.config.prompts.mend.format(problems="; ".join(faults))
        further: tuple[ChatMessage, ...] = (
            {"role": "assistant", "content": texts.model_dump_json()},
            {"role": "user", "content": said},
        )
        # The last faults alone: what was wrong before is gone, or named again.
        return replace(request, messages=(*request.messages[:2], *further), seed=request.seed + number + 1)

    def _composed(self, texts: Texts, outline: Outline, rng: np.random.Generator) -> TrajectoryTexts:
        task, prompts = outline.task, self.config.prompts
        subject = _subject_of(texts, task)
        is_video = any(isinstance(item, Video) for item in task.media)
        ways = prompts.select if is_video else prompts.zoom
        openings = [texts.overview, *(texts.seen(n) for n in range(1, len(outline.steps) + 1))]
        *before, last = [_sentence(text) for text in openings]
        # Of a few sentences none is said twice in a trajectory.
        order = rng.permutation(len(ways)).tolist()
        announced = tuple(
            f"{text} {ways[order[i % len(order)]].format(subject=subject)}" for i, text in enumerate(before)
        )
        return TrajectoryTexts(
            announced, f"{last} {_sentence(texts.conclusion)} \\boxed{{{task.answers[0]}}}"
        )


def known_facts(task: Task) -> list[str]:
    """What the teacher is told of a task, a line each."""
    lines = [f"Question: {task.question}"]
    right = next((f"{letter}. {text}" for letter, text in right_options(task).items()), task.answers[0])
    lines.append(f"Right answer: {right}")
    if task.claim:
        lines.append(f"In a sentence: {task.claim}")
    if task.subject:
        lines.append(f"What is looked at: {task.subject}")
    return lines


def faults_of(texts: Texts, outline: Outline) -> list[str]:
    """What is wrong with the texts of a trajectory; empty when nothing is."""
    task, n = outline.task, len(outline.steps)
    named = {name: str(value) for name, value in texts.model_dump().items()}
    found = [fault for name, text in named.items() for fault in form_faults(name, text)]
    early = [name for name in ("overview", *map(_seen, range(1, n)), "subject") if name in named]
    if n:
        found += [
            f"{name} tells the answer before it is seen" for name in early if tells_answer(named[name], task)
        ]
    if len(named.get("subject", "").split()) > MOST_SUBJECT_WORDS:
        found.append(f"subject has more than {MOST_SUBJECT_WORDS} words")
    if not states_answer(texts.conclusion, task):
        found.append("conclusion does not state the right answer, in the words of the question")
    return found


def _seen(number: int) -> str:
    return f"seen_{number}"


def _subject_of(texts: Texts, task: Task) -> str:
    return task.subject or (texts.subject.strip(" .\n") if isinstance(texts, SubjectTexts) else "")


def _sentence(text: str) -> str:
    """A text on one line, ending as sentences do."""
    line = re.sub(r"\s+", " ", text).strip()
    return line if line[-1:] in ".!?\"')" else f"{line}."
