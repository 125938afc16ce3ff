"""All that synthesis says to a model, in words of ours: every sentence is a key of a recipe.

The structure of a reply is part of the request (`endpoint.structure`); here is what its fields should hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.ops.operation import check_template

VERSION = 1
"""Of the defaults below; raised with every change of them. The card of a data set names it."""

_FIELD: Mapping[str, object] = {"field": "seen_1", "number": 1}
_TEMPLATES: Mapping[str, Mapping[str, object]] = {
    "proposal_fields": {"place": "region: its number."},
    "right_look": {"number": 1},
    "wrong_look": {"number": 1},
    "large_look": {"number": 1},
    "right_field": _FIELD,
    "wrong_field": _FIELD,
    "large_field": _FIELD,
    "mend": {"problems": "overview is empty"},
    "zoom": {"subject": "the red card"},
    "select": {"subject": "the red card"},
    "judge_fields": {"answer": "a letter"},
    "frame": {"number": 1, "seconds": 0.5},
    "region": {"number": 1, "left": 0, "right": 9, "top": 0, "bottom": 9},
}
"""The fields of each template, with examples."""
_NEEDED = ("zoom", "select", "proposal_fields", "mend", "judge_fields")
"""Templates that say nothing without their fields."""
Sentences = Annotated[tuple[str, ...], Field(min_length=1)]
"""Ways to say the same thing, one of which is drawn. Fields: subject."""


class _Templates(Config):
    """Texts, some of which have fields."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for name, example in _TEMPLATES.items():
            value: str | tuple[str, ...] = getattr(self, name, ())
            for template in (value,) if isinstance(value, str) else value:
                try:
                    check_template(template, name, **example)
                except ConfigError as e:
                    raise ValueError(str(e)) from e
                missing = [field for field in example if "{" + field not in template]
                if missing and name in _NEEDED:
                    raise ValueError(f"{name} {template!r} has to hold {{{missing[0]}}}")
        return self


class TeacherPrompts(_Templates):
    """What the teacher is told, and the sentences that are put in beside its texts."""

    propose: str = (
        "You write questions that can only be answered by looking closely at a picture or a video. You are "
        "shown the whole input, and then, where the message says so, numbered regions of it, enlarged. "
        "Choose one place that holds a small and informative detail: writing, a number, a sign, a mark, a "
        "state, a colour, what somebody holds or does. Then write one question about it.\n"
        "- The detail is clear from close by, and hard to make out in the whole input.\n"
        "- The question has exactly one right answer, and names its subject so that it can be found without "
        "your numbers or coordinates, which the reader will not see.\n"
        "- Give four options of the same kind and of about the same length. The wrong ones are plausible to "
        "somebody who has not looked. No option refers to another one.\n"
        "- Neither the question nor the subject gives the answer away.\n"
        "- Ask about what is there, never about what is missing, who somebody is, or your own opinion.\n"
        "Where nothing is worth such a question, or you are not sure of the answer, set valid to false and "
        "leave the other fields empty."
    )
    """To the teacher, about a seed without a question: the task of writing one."""
    proposal_fields: str = (
        "Reply with these fields.\nvalid: whether there is something to ask about.\n{place}\n"
        "question: the question alone, without the options.\noptions: the four options, without letters.\n"
        "letter: A, B, C or D, the right one.\nsubject: what is looked at, as a noun phrase without the "
        "answer and without a full stop, such as: the sign above the door.\nclaim: the right answer as a "
        "sentence."
    )
    """Below the pictures of a seed. Fields: place, one of the three below."""
    place_region: str = "region: the number of the region that holds the detail."
    """Of a picture with regions to choose from."""
    place_box: str = (
        "box: the smallest rectangle around the detail as [left, top, right, bottom], in thousandths of the "
        "picture's width and height, from 0 to 1000."
    )
    """Of a picture without."""
    place_frames: str = "frames: the numbers of the frames that show the detail, at most 8, in order."
    """Of a video."""

    write: str = (
        "You write down the reasoning of a careful viewer who answers a question about a picture or a video: "
        "first person, present tense, plain sentences. The viewer sees the whole input, looks closer once or "
        "several times, and answers. You are told the right answer and what each closer look is worth, so "
        "that what you write is true. The viewer is told neither, and finds out by looking.\n"
        "- Each text says only what can be seen at its moment, and is true of the pictures.\n"
        "- Until the look that shows it, the viewer does not know the answer: no text before gives it, hints "
        "at it, or rules out another one.\n"
        "- A look that missed was an honest mistake: the viewer notices what is there in its place, and says "
        "so.\n"
        "- Never write coordinates, names of tools, markup or code, and never mention that an answer, a "
        "region or an instruction was given.\n"
        "- Do not announce the next look: a sentence for that is put in after your text."
    )
    """To the teacher: the task of wording a trajectory."""
    right_look: str = "Look {number} shows what the question is about."
    """What the teacher is told of an operation. Fields: number."""
    wrong_look: str = "Look {number} is a mistake: nothing of what the question is about is in it."
    """Fields: number."""
    large_look: str = (
        "Look {number} has what the question is about in it, and so much else that the detail stays too "
        "small."
    )
    """Fields: number."""
    overview_field: str = (
        "overview: two to four sentences on what the whole input shows, where the thing in question seems to "
        "be, and why it takes a closer look."
    )
    """What a field of the reply should hold."""
    overview_only_field: str = (
        "overview: two to four sentences on what the input shows, as far as it matters for the question."
    )
    """The same where there is no operation."""
    subject_field: str = (
        "subject: what is looked at, as a noun phrase without the answer and without a full stop, such as: "
        "the sign above the door."
    )
    """What a field of the reply should hold."""
    right_field: str = (
        "{field}: one to four sentences on what look {number} shows in detail, and what answers the question."
    )
    """Fields: field, number."""
    wrong_field: str = (
        "{field}: one to three sentences on what look {number} shows, that the thing in question is not in "
        "it, and where else it may be."
    )
    """Fields: field, number."""
    large_field: str = (
        "{field}: one to three sentences on what look {number} shows, that the thing in question is in it, "
        "and that it is still too small to tell."
    )
    """Fields: field, number."""
    conclusion_field: str = "conclusion: one sentence that states the right answer as what follows."
    """What a field of the reply should hold."""
    mend: str = "These texts cannot be used: {problems}. Write all of them again, without these faults."
    """To the teacher, after texts with faults. Fields: problems."""
    zoom: Sentences = (
        "I zoom in for a clearer view of {subject}.",
        "A closer view will help, so I zoom in on {subject}.",
        "Next I enlarge {subject}.",
        "To be sure, I take a closer look at {subject}.",
    )
    """What announces a crop, after the teacher's text."""
    select: Sentences = (
        "I pick some frames for a clearer view of {subject}.",
        "Next I look at single frames of {subject}.",
        "To be sure, I go through the frames that may show {subject}.",
    )
    """What announces a selection of frames."""
    frame: str = "Frame {number} ({seconds:.1f} s):"
    """Before each frame of a video. Fields: number, seconds."""
    region: str = "Region {number}, from {left} to {right} across and {top} to {bottom} down, of 1000:"
    """Before each region of a seed. Fields: number, left, right, top, bottom (thousandths)."""


class JudgePrompts(_Templates):
    """What the judge is told."""

    judge: str = (
        "You answer a question about what you are shown, which may be a small part of a larger picture or a "
        "few frames of a video. Use only what can be seen in it. Where it does not show what the question is "
        "about, or not well enough, say so and do not guess: a good guess is a mistake here."
    )
    """To the judge."""
    judge_fields: str = (
        "Reply with these fields.\nevidence: in one sentence, what you see that bears on the question.\n"
        "answerable: whether what is shown is enough for a sure answer.\nanswer: {answer}; empty when it is "
        "not."
    )
    """Below the pictures and the question. Fields: answer, one of the two below."""
    judge_letter: str = "the letter of the right option alone"
    """Of a question with options."""
    judge_words: str = "the answer alone, as short as possible"
    """Of an open one."""
    frame: str = "Frame {number} ({seconds:.1f} s):"
    """Before each frame of a video. Fields: number, seconds."""
