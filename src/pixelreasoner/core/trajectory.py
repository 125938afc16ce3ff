"""The one record everything reads: a rollout of a task, turn by turn, token by token.

A trajectory is written once, by a rollout (tokens sampled by a policy) or by synthesis (text written by
a teacher), and is read by rewards, objectives, evaluation and the viewer. Nothing downstream renders or
tokenises again: what the policy saw and said is in `prompt` and in each turn's `sampled` and `observed`
segments; what a person wants to read is in each turn's `text`, `call` and `observation`.

Example: one zoom, then the answer::

    prompt    <system> <user: image 1, question>                     never learned
    turn 1    sampled:  "The sign is tiny. <tool_call>...</tool_call>"  learned, a wrong call masked
              observed: <user: "Image 2:" image 2>                    never learned
    turn 2    sampled:  "It reads K. \\boxed{K}"                       learned
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pixelreasoner.core.display import counted, html_of, quoted
from pixelreasoner.core.errors import ErrorClass
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Media, Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task


class StopReason(StrEnum):
    """Why a rollout ended."""

    ANSWER = "answer"
    """The model gave an answer, or ended its message without asking for an operation."""
    TURN_LIMIT = "turn_limit"
    """It asked for another operation when none was left."""
    TOKEN_LIMIT = "token_limit"
    """A message, or the whole conversation, reached its length limit."""
    IMAGE_LIMIT = "image_limit"
    """More images came back than the conversation may hold."""


SCORE_METRIC = "correct"
"""The metric of a trajectory that says how right its answer is, 0 to 1."""
Span = tuple[int, int]
"""[start, end)."""


@dataclass(frozen=True)
class Segment:
    """A run of tokens from one source, with the media its placeholders stand for.

    Each image is ONE placeholder token here, and so is each temporal patch of a video (Qwen3-VL) or the
    whole video (Qwen2.5-VL); a renderer expands it to as many as the model needs.
    """

    ids: tuple[int, ...]
    media: tuple[Media, ...] = ()
    """In the order of the placeholders; how many a video owns is up to the renderer."""
    logprobs: tuple[float, ...] = ()
    """log p of each token under the policy that sampled it, or empty when nothing was sampled."""
    crops: tuple[int, ...] = ()
    """In a prompt that holds earlier turns: the places in `media` of what operations returned, which is shown
    within a budget of its own. All media of a segment after the prompt are of this kind."""
    masked: Span | None = None
    """The tokens of a message that are never learned, those of `Turn.masked`: a span of `ids`."""

    def __repr__(self) -> str:
        media = f", {counted(len(self.media), 'media item')}" if self.media else ""
        return f"Segment({counted(len(self.ids), 'token')}{media})"


@dataclass(frozen=True)
class Observation:
    """What an operation returned: images and a line of text, or an error the model can read."""

    text: str
    images: tuple[Picture, ...] = ()
    valid: bool = True
    """False when the call could not be carried out; `text` then says why."""
    box: Box | None = None
    """For a crop: the region, in pixels of the image it was asked from (`source`). `core.inspection` follows
    a crop of a crop back to the task's own media."""
    frames: tuple[int, ...] = ()
    """For a selection: the 1-based frame indices."""
    source: int = 1
    """For a crop: the 1-based index of the image it was asked from."""
    error_class: ErrorClass | None = None
    """Of a call that could not be carried out; None of a valid one, and where nobody recorded it."""
    replaced: str = ""
    """The control that showed this in the place of what the operation returned (`env.replacement`); empty for
    the operation's own result. `box` and `frames` are then those of what was shown, where it has any."""
    donor: str = ""
    """For a swap: the id of the task whose picture this is."""

    def __repr__(self) -> str:
        if not self.valid:
            return f"Observation(failed: {quoted(self.text)})"
        facts = [counted(len(self.images), "image")]
        if (b := self.box) is not None:
            facts.append(f"cut from image {self.source} at {b.x1:.0f}, {b.y1:.0f} to {b.x2:.0f}, {b.y2:.0f}")
        if self.frames:
            facts.append(f"frames {', '.join(map(str, self.frames))}")
        if self.replaced:
            facts.append(f"shown instead: {quoted(self.replaced)}")
        return f"Observation({', '.join(facts)})"


@dataclass(frozen=True)
class Turn:
    """One model message and, when it asked for an operation, what came back."""

    text: str
    """The message as a person reads it, special tokens removed."""
    call: ToolCall | None = None
    observation: Observation | None = None
    sampled: Segment | None = None
    """The message's tokens, ending with the stop token; None until a renderer has written them."""
    observed: Segment | None = None
    """The tokens that carry the observation and open the next model message."""
    masked: Span | None = None
    """Where in `text` a deliberately wrong operation stands, in characters: kept in view, never imitated."""
    weight_version: int = 0
    """Which update of the policy sampled the message."""

    @property
    def asked_operation(self) -> bool:
        """Whether the message asked for an operation, readable or not."""
        return self.observation is not None

    def __repr__(self) -> str:
        seen = "" if self.observation is None else f" -> {self.observation!r}"
        return f"Turn({quoted(self.text)}{seen})"


@dataclass(frozen=True)
class Trajectory:
    """One whole rollout of a task, or one written by a teacher."""

    task: Task
    turns: tuple[Turn, ...]
    stop: StopReason
    answer: str | None = None
    """The content of the last box in the last message; None when there was none."""
    prompt: Segment | None = None
    source: str = "policy"
    """Who wrote it: "policy", or the synthesis template."""
    fingerprint: str = ""
    """Of the tokenizer and the chat format that wrote the tokens; empty while there are none."""
    coordinates: str = ""
    """What the numbers of a box in the texts mean (`chat.vision_spec.VisionSpec.coordinates`); empty when
    nobody said."""
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    """Scores given later (reward terms, correctness), kept with the record."""
    rejection: str = ""
    """Why synthesis turned it down, "stage: reason (detail)"; empty for what was kept, and for rollouts."""

    @property
    def read_observations(self) -> tuple[Observation | None, ...]:
        """For each turn, what its operation returned, where the model went on to read it; else None.

        Whoever reads an observation writes another message. What the last turn got back did not fit (an image
        or token limit ended the rollout there). The rule is the same for a trajectory without tokens.
        """
        last = len(self.turns) - 1
        return tuple(turn.observation if i < last else None for i, turn in enumerate(self.turns))

    @property
    def n_operations(self) -> int:
        """n_vo(y): operations whose result the model read (paper section 4.2).

        A failed call is not an operation, and neither is one whose result did not fit.
        """
        return sum(seen is not None and seen.valid for seen in self.read_observations)

    @property
    def n_unread_operations(self) -> int:
        """Operations carried out whose result did not fit, so that the model never saw it: one at most."""
        last = self.turns[-1].observation if self.turns else None
        return int(last is not None and last.valid)

    @property
    def n_invalid_operations(self) -> int:
        """Calls that could not be carried out."""
        return sum(t.observation is not None and not t.observation.valid for t in self.turns)

    @property
    def used_pixel_space(self) -> bool:
        """1_PR(y): the trajectory holds at least one valid operation."""
        return self.n_operations > 0

    @property
    def n_sampled_tokens(self) -> int:
        return sum(len(t.sampled.ids) for t in self.turns if t.sampled is not None)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The conversation's tokens in order: the prompt, then each turn's sampled and observed runs."""
        if self.prompt is None:
            return ()
        out = [self.prompt]
        for turn in self.turns:
            out += [s for s in (turn.sampled, turn.observed) if s is not None]
        return tuple(out)

    def __repr__(self) -> str:
        answer = "no answer" if self.answer is None else f"answer {quoted(self.answer)}"
        stop = "" if self.stop is StopReason.ANSWER else f", stopped by {self.stop.replace('_', ' ')}"
        metrics = "".join(f", {name}={value:.4g}" for name, value in self.metrics.items())
        counts = f"{counted(len(self.turns), 'turn')}, {counted(self.n_operations, 'operation')}"
        return f"Trajectory({quoted(self.task.question)}, {answer}, {counts}{stop}{metrics})"

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the pictures, the turns with their operations, the answer."""
        return html_of(self)


Group = tuple[Trajectory, ...]
"""The G rollouts of one task."""


def rapr(trajectories: tuple[Trajectory, ...] | list[Trajectory]) -> float:
    """RaPR: the share of rollouts with at least one valid operation (paper section 4.1)."""
    if not trajectories:
        return 0.0
    return sum(t.used_pixel_space for t in trajectories) / len(trajectories)
