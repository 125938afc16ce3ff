"""From a seed to a task: the teacher chooses a place in a picture or a video, and writes a question about it.

What it may choose from depends on the seed: the regions that a data set's masks suggest (SA-1B), any box in a
picture, or frames of a video. The question has four options, which are put in an order of ours: models like
some letters better than others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict

from pixelreasoner.core.geometry import Box, Size, Unit
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.endpoint.asker import Asker
from pixelreasoner.endpoint.requests import ChatMessage, ChatRequest, text_part
from pixelreasoner.ops.frames import MAX_FRAMES
from pixelreasoner.rewards.choices import LETTERS, listed_options, written_options
from pixelreasoner.synth.chat_teacher import SEED_BITS, TeacherServerConfig
from pixelreasoner.synth.rejection import RejectedError, unusable_replies
from pixelreasoner.synth.shown import frame_marker
from pixelreasoner.synth.text_faults import (
    MOST_SUBJECT_WORDS,
    form_faults,
    holds_any,
    holds_markup,
    named_letters,
    plain,
    tells_answer,
    unseen,
)

LEAST_SIDE_PX = 28
"""Of a region to ask about, in original pixels: what vision towers read at least."""
LARGEST_SHARE = 0.25
"""Of the picture's area that a region may take: what is larger needs no closer look."""
MOST_REGIONS = 6
"""That the teacher is shown of one seed: the most promising ones."""
CONTEXT = 0.5
"""What is shown around each of them, as a share of its longer side."""
N_OPTIONS = 4

_NUMBERING = re.compile(
    r"\b(?:region|candidate|crop|frame)s?\s*(?:no\.?|number|#)?\s*\d|\bnumbered\b", re.IGNORECASE
)
_ABOUT_OPTIONS = re.compile(
    r"\b(?:all|none|both|neither|any|some) of (?:the|these|them|those)\b|\b(?:option|choice)s?\s+\(?[A-D]\b|"
    r"^\(?[A-D]\)? (?:and|or|&) \(?[A-D]\)?$|^(?:all|none|both|neither)$",
    re.IGNORECASE,
)
_LETTERED = re.compile(r"^\(?[A-Da-d][).:]\s+")


class Proposal(BaseModel):
    """A question with four options, or that there is none."""

    model_config = ConfigDict(extra="forbid")

    valid: bool
    question: str = ""
    options: list[str] = []
    letter: str = ""
    subject: str = ""
    claim: str = ""


class RegionProposal(Proposal):
    """About one of the regions that were shown."""

    region: int = 0


class BoxProposal(Proposal):
    """About a box, in thousandths of the picture's sides."""

    box: list[float] = []


class FramesProposal(Proposal):
    """About some frames of a video."""

    frames: list[int] = []


@dataclass(frozen=True)
class Proposer:
    """Writes the questions of seeds through an endpoint."""

    asker: Asker
    config: TeacherServerConfig

    async def propose(self, seed: Task, rng: np.random.Generator) -> Task:
        """The task that the teacher makes of a seed: a question with four options, and where its answer lies.

        Args:
            seed: a task without a question.
            rng: draws the order of the options.

        Raises:
            RejectedError: there is nothing to ask about, or the proposal cannot be used.
            RequestFailedError, EndpointError, OutOfBudgetError, MediaError: as `Asker.structured`.
        """
        place = _place_of(seed)
        request = self._request(seed, place, int(rng.integers(2**SEED_BITS)))
        with unusable_replies("propose"):
            proposal = await self.asker.structured(request, place.kind, tries=self.config.tries)
        order = rng.permutation(N_OPTIONS).tolist()
        return task_of(seed, proposal, place, order)

    def _request(self, seed: Task, place: Place, seed_number: int) -> ChatRequest:
        prompts, pictures = self.config.prompts, self.config.pictures
        content = pictures.whole_parts(seed.media, frame_marker(prompts.frame))
        for number, region in enumerate(place.regions, start=1):
            picture = seed.media[place.target - 1]
            assert isinstance(picture, Picture)
            shown = region.pad(CONTEXT * max(region.width, region.height)).pixel_bounds(picture.size)
            edges = Box(*shown).to(Unit.RELATIVE, picture.size)
            named = {"left": edges.x1, "right": edges.x2, "top": edges.y1, "bottom": edges.y2}
            words = prompts.region.format(number=number, **{k: round(v) for k, v in named.items()})
            content += [text_part(words), pictures.crop_part(picture.crop(*shown))]
        where = getattr(prompts, place.prompt)
        content.append(text_part(prompts.proposal_fields.format(place=where)))
        messages: tuple[ChatMessage, ...] = (
            {"role": "system", "content": prompts.propose},
            {"role": "user", "content": content},
        )
        return ChatRequest("propose", messages, self.config.temperature, self.config.max_tokens, seed_number)


@dataclass(frozen=True)
class Place:
    """What the teacher may choose from."""

    kind: type[Proposal]
    prompt: str
    """The field of `TeacherPrompts` that says how it is written."""
    target: int
    """1-based index of the media item."""
    regions: tuple[Box, ...] = ()
    """Of a picture, in pixels, numbered from 1."""


def _place_of(seed: Task) -> Place:
    """What can be asked about a seed: the first of its media, or the one that its candidates lie in."""
    target = 1 if seed.cue is None else seed.cue.target
    item = seed.media[target - 1]
    if isinstance(item, Video):
        return Place(FramesProposal, "place_frames", target)
    if seed.cue is None or not seed.cue.boxes:
        return Place(BoxProposal, "place_box", target)
    fitting = [box for box in seed.cue.boxes if not box_fault(box, item.size)]
    if not fitting:
        raise RejectedError("propose", "no region of a fit size", f"of {len(seed.cue.boxes)}")
    return Place(RegionProposal, "place_region", target, tuple(fitting[:MOST_REGIONS]))


def task_of(seed: Task, proposal: Proposal, place: Place, order: list[int]) -> Task:
    """The task of a proposal.

    Args:
        seed: what it was written about.
        proposal: of the teacher.
        place: what it chose from.
        order: of the options, as positions in the teacher's list.

    Raises:
        RejectedError: the proposal says that there is nothing to ask about, or cannot be used.
    """
    if not proposal.valid:
        raise RejectedError("propose", "nothing to ask about")
    cue = _cue_of(proposal, seed, place)
    options = [_LETTERED.sub("", re.sub(r"\s+", " ", option).strip()) for option in proposal.options]
    letter = proposal.letter.strip(" ().:").upper()
    if len(options) != N_OPTIONS:
        raise RejectedError("propose", "not four options", f"{len(options)}")
    if len(letter) != 1 or letter not in LETTERS[:N_OPTIONS]:
        raise RejectedError("propose", "no letter of an option", repr(proposal.letter[:40]))
    right = options[LETTERS.index(letter)]
    shuffled = tuple(options[at] for at in order)
    stem = re.sub(r"\s+", " ", proposal.question).strip()
    task = replace(
        seed,
        question=f"{stem}\n{written_options(shuffled)}",
        answers=(LETTERS[shuffled.index(right)],),
        options=shuffled,
        scorer="choice",
        cue=cue,
        subject=re.sub(r"\s+", " ", proposal.subject).strip(" ."),
        claim=re.sub(r"\s+", " ", proposal.claim).strip(),
    )
    for reason, detail in _faults(task, stem, proposal):
        raise RejectedError("propose", reason, detail)
    return task


def box_fault(box: Box, size: Size) -> str | None:
    """Why a region is not one to ask about; None for one that is."""
    if not all(map(math.isfinite, (box.x1, box.y1, box.x2, box.y2))) or box.clip(size) != box:
        return "the box is outside of the picture"
    if min(box.width, box.height) < LEAST_SIDE_PX:
        return "the region is too small"
    if box.area > LARGEST_SHARE * size.width * size.height:
        return "the region is most of the picture"
    return None


def _cue_of(proposal: Proposal, seed: Task, place: Place) -> Cue:
    """Where the answer lies, in pixels or frames."""
    item = seed.media[place.target - 1]
    if isinstance(proposal, RegionProposal):
        if not 1 <= proposal.region <= len(place.regions):
            raise RejectedError("propose", "no such region", f"{proposal.region} of {len(place.regions)}")
        return Cue(box=place.regions[proposal.region - 1], target=place.target)
    if isinstance(proposal, FramesProposal):
        assert isinstance(item, Video)
        frames, n = tuple(sorted(set(proposal.frames))), len(item.frames)
        if not frames or not 1 <= frames[0] <= frames[-1] <= n:
            raise RejectedError("propose", "no such frames", f"{list(frames)[:20]} of {n}")
        if len(frames) > min(MAX_FRAMES, n // 2):
            raise RejectedError("propose", "the frames are most of the video", f"{len(frames)} of {n}")
        return Cue(frames=frames, target=place.target)
    assert isinstance(proposal, BoxProposal)
    if len(proposal.box) != 4:
        raise RejectedError("propose", "no box", f"{len(proposal.box)} numbers")
    said = Box(*proposal.box, unit=Unit.RELATIVE)
    # Out to whole pixels, which an operation cuts; what reaches out of the picture is not cut off in silence.
    inside = all(map(math.isfinite, proposal.box)) and said.clip(item.size) == said
    box = Box(*said.pixel_bounds(item.size)) if inside else said.to(Unit.PIXEL, item.size)
    if fault := box_fault(box, item.size):
        raise RejectedError("propose", fault, f"{proposal.box}")
    return Cue(box=box, target=place.target)


def _faults(task: Task, stem: str, proposal: Proposal) -> Iterator[tuple[str, str]]:
    """Why a proposed task cannot be used: reasons, each with what is special about it."""
    texts = {"question": stem, "subject": task.subject, "claim": task.claim}
    for name, text in texts.items():
        for fault in form_faults(name, text):
            yield f"a fault of the {name}", fault
        if match := _NUMBERING.search(text):
            yield "a mention of the numbering", f"{name}: {match[0]!r}"
    yield from _faults_of_options(task, proposal)
    if tells_answer(task.subject, task):
        yield "the subject names the answer", task.subject
    if len(task.subject.split()) > MOST_SUBJECT_WORDS:
        yield "a fault of the subject", f"more than {MOST_SUBJECT_WORDS} words"
    if named_letters(task.claim, N_OPTIONS):
        # The options were put in another order since.
        yield "the claim names a letter", task.claim


def _faults_of_options(task: Task, proposal: Proposal) -> Iterator[tuple[str, str]]:
    """As `_faults`, of the options and what they have to do with the question."""
    stem = proposal.question
    if any(unseen(option) or holds_markup(option) for option in task.options):
        yield "markup or unseen characters in an option", " | ".join(task.options)
    if len({plain(option) for option in task.options} - {""}) < N_OPTIONS:
        yield "options that are alike, or empty", " | ".join(task.options)
    if any(_ABOUT_OPTIONS.search(option) for option in task.options):
        yield "an option about the others", " | ".join(task.options)
    if listed_options(stem):
        yield "options in the question", stem
    (answer,) = task.answers
    right = task.options[LETTERS.index(answer)]
    others = [option for option in task.options if option != right]
    if holds_any(stem, [right]) and not all(holds_any(stem, [option]) for option in others):
        yield "the question names the answer", f"{stem} ({right})"
