"""The view of a trajectory for a page: its turns, numbered pictures, and boxes of crops."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import SCORE_METRIC, Observation, Trajectory, Turn
from pixelreasoner.viewer.pictures import Figure, Mark, figure, mark
from pixelreasoner.viewer.roles import CROP, LABELS, LARGE, LEGEND, operation_roles, template_of

INPUT_SIDE, CROP_SIDE, SOURCE_SIDE, FRAME_SIDE, SELECTED_SIDE = 720, 380, 260, 150, 220
"""The longest side, in CSS pixels, of each kind of figure."""

_CALL_MARKUP = re.compile(r"<tool_call>.*?(</tool_call>|$)", re.DOTALL)


@dataclass(frozen=True)
class Numbered:
    """An image of the conversation, and the source of its pixels."""

    picture: Picture
    root: int
    """The number of the input image it was cut from; its own number when it was not cut."""
    box: Box | None = None
    """Its box, in pixels of the root."""
    role: str = CROP
    """Of the operation that returned it (`viewer.roles`)."""


@dataclass(frozen=True)
class TurnView:
    """One turn of the page."""

    number: int
    text: str
    call: str
    """The operation as a function call; empty when there was none, or none could be read."""
    status: str
    """"none", "valid" or "invalid"."""
    role: str
    """Of its operation."""
    reply: str
    masked: str
    """What of the message is not trained on; empty for nothing."""
    source_figure: Figure | None
    """For a crop: its source image, with the box."""
    images: tuple[Figure, ...]


@dataclass(frozen=True)
class TrajectoryView:
    """All values of the trajectory template."""

    question: str
    kind: str
    facts: tuple[str, ...]
    figures: tuple[Figure, ...]
    strips: tuple[tuple[Figure, ...], ...]
    """One strip of frames per video."""
    turns: tuple[TurnView, ...]
    answer: str | None
    references: tuple[str, ...]
    correct: bool | None
    """None when the answer has no score."""
    rejection: str
    """Why synthesis turned it down; empty for what was kept."""
    metrics: tuple[tuple[str, str], ...]
    legend: tuple[tuple[str, str], ...]
    """(kind of mark, meaning) for the marks present."""


def view(trajectory: Trajectory) -> TrajectoryView:
    """Return all values that a page shows of `trajectory`, without encoding a picture."""
    task = trajectory.task
    images = _numbered(trajectory)
    correct = trajectory.metrics.get(SCORE_METRIC)
    return TrajectoryView(
        question=asked(task),
        kind=task.kind,
        facts=_facts(trajectory),
        figures=_inputs(trajectory, images),
        strips=tuple(
            _strip(item, trajectory, task.cue if task.cue and task.cue.target == index else None)
            for index, item in enumerate(task.media, start=1)
            if isinstance(item, Video)
        ),
        turns=_turns(trajectory, images),
        answer=trajectory.answer,
        references=task.answers,
        correct=None if correct is None else correct > 0.5,
        rejection=trajectory.rejection,
        metrics=tuple((name.replace("_", " "), number(value)) for name, value in trajectory.metrics.items()),
        legend=_legend(trajectory),
    )


def call_text(call: ToolCall) -> str:
    """Return a call in Python notation: `crop_image(bbox_2d=[1, 2, 3, 4], target_image=1)`."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
    return f"{call.name}({arguments})"


def number(value: float) -> str:
    """Return a metric in four digits, a whole number in all of its own."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e9 else f"{value:.4g}"


def weight_versions(trajectory: Trajectory) -> str | None:
    """Return which updates of the policy sampled it: "12", or "12–13"; None where no policy did."""
    versions = [turn.weight_version for turn in trajectory.turns if turn.sampled is not None]
    if not versions or trajectory.source != "policy":
        return None
    low, high = min(versions), max(versions)
    return str(low) if low == high else f"{low}–{high}"


def replaced_by(trajectory: Trajectory) -> list[str]:
    """Return the controls that showed something else than results, in words; none in a plain run."""
    names = [t.observation.replaced for t in trajectory.turns if t.observation is not None]
    return [name.replace("_", " ") for name in dict.fromkeys(names) if name]


def written_text(turn: Turn) -> str:
    """Return the text of a turn, without the markup of a parsed call."""
    return (_CALL_MARKUP.sub("", turn.text) if turn.call is not None else turn.text).strip()


def _numbered(trajectory: Trajectory) -> list[Numbered]:
    """Return the images in order of appearance: image 1 is the first."""
    pictures = [item for item in trajectory.task.media if isinstance(item, Picture)]
    images = [Numbered(picture, root=i) for i, picture in enumerate(pictures, start=1)]
    for turn, role in zip(trajectory.turns, operation_roles(trajectory), strict=True):
        observation = turn.observation
        for picture in observation.images if observation is not None else ():
            if (
                observation is not None
                and observation.box is not None
                and 1 <= observation.source <= len(images)
            ):
                source = images[observation.source - 1]
                dx, dy = (source.box.x1, source.box.y1) if source.box is not None else (0.0, 0.0)
                b = observation.box
                in_root = Box(b.x1 + dx, b.y1 + dy, b.x2 + dx, b.y2 + dy)
                images.append(Numbered(picture, root=source.root, box=in_root, role=role))
            else:
                images.append(Numbered(picture, root=len(images) + 1))
    return images


def _inputs(trajectory: Trajectory, images: list[Numbered]) -> tuple[Figure, ...]:
    """Return the pictures of the question, with the cue and every crop drawn."""
    figures: list[Figure] = []
    cue = trajectory.task.cue
    for target, item in enumerate(trajectory.task.media, start=1):
        if not isinstance(item, Picture):
            continue
        index = len(figures) + 1
        marks = [
            mark(image.role, _label(i, image.role), image.box, item.size)
            for i, image in enumerate(images, start=1)
            if image.root == index and image.box is not None
        ]
        if cue is not None and cue.target == target and cue.box is not None:
            marks.append(mark("cue", "", cue.box, item.size))
        elif cue is not None and cue.target == target:
            marks += [mark("cue", str(i), box, item.size) for i, box in enumerate(cue.boxes, start=1)]
        figures.append(
            figure(
                item, longest=INPUT_SIDE, label=f"Image {index}", note=_dimensions(item), marks=tuple(marks)
            )
        )
    return tuple(figures)


def _strip(video: Video, trajectory: Trajectory, cue: Cue | None) -> tuple[Figure, ...]:
    """Return every frame of a video, with selected frames highlighted and the cue drawn."""
    # A frame that was selected twice shows the last time: wrong selections come first.
    chosen = {
        i: role
        for turn, role in zip(trajectory.turns, operation_roles(trajectory), strict=True)
        if turn.observation is not None
        for i in turn.observation.frames
    }
    frames: list[Figure] = []
    for i, (frame, time_s) in enumerate(zip(video.frames, video.times_s, strict=True), start=1):
        marks: tuple[Mark, ...] = ()
        if cue is not None and i in cue.frames:
            marks = (mark("cue", "", cue.box or Box(0, 0, *frame.size), frame.size),)
        frames.append(
            figure(
                frame,
                longest=FRAME_SIDE,
                label=str(i),
                note=f"{time_s:.1f} s",
                marks=marks,
                selected=i in chosen,
                role=chosen.get(i, ""),
                alt=_frame_alt(i, time_s, chosen.get(i)),
            )
        )
    return tuple(frames)


def _frame_alt(number: int, time_s: float, role: str | None) -> str:
    selected = "" if role is None else f", selected{LABELS.get(role, '')}"
    return f"Frame {number} at {time_s:.1f} s{selected}"


def _label(number: int, role: str) -> str:
    """What stands at a crop: its number, and what it is where that is not the ordinary."""
    return f"{number}{LABELS.get(role, '')}"


def masked_note(turn: Turn, role: str = CROP) -> str:
    """What is not trained on, in words; empty for nothing. `role` is that of its operation."""
    if turn.masked is None:
        return ""
    what = "too large crop" if role == LARGE else "wrong operation"
    return "message not trained on" if turn.masked[0] == 0 else f"deliberately {what}, not trained on"


def _turns(trajectory: Trajectory, images: list[Numbered]) -> tuple[TurnView, ...]:
    views: list[TurnView] = []
    shown = sum(isinstance(item, Picture) for item in trajectory.task.media)
    roles = operation_roles(trajectory)
    for number, (turn, role) in enumerate(zip(trajectory.turns, roles, strict=True), start=1):
        observation = turn.observation
        views.append(
            TurnView(
                number=number,
                text=written_text(turn),
                call=call_text(turn.call) if turn.call is not None else "",
                status="none" if observation is None else "valid" if observation.valid else "invalid",
                role=role if observation is not None else "",
                reply=observation.text.strip() if observation is not None else "",
                masked=masked_note(turn, role),
                source_figure=_source_figure(observation, images, shown + 1, role)
                if observation is not None
                else None,
                images=_returned(observation, shown + 1) if observation is not None else (),
            )
        )
        shown += len(observation.images) if observation is not None else 0
    return tuple(views)


def _source_figure(observation: Observation, images: list[Numbered], index: int, role: str) -> Figure | None:
    """Return the source image of a crop with its box: for a crop of a crop, the first crop."""
    if observation.box is None or not observation.images or not 1 <= observation.source < index:
        return None
    source = images[observation.source - 1]
    marks = (mark(role, _label(index, role), observation.box, source.picture.size),)
    return figure(source.picture, longest=SOURCE_SIDE, label=f"in image {observation.source}", marks=marks)


def _returned(observation: Observation, first: int) -> tuple[Figure, ...]:
    """Return the images of an observation, numbered from `first`."""
    frames = (
        observation.frames
        if len(observation.frames) == len(observation.images)
        else (0,) * len(observation.images)
    )
    longest = SELECTED_SIDE if len(observation.images) > 1 else CROP_SIDE
    return tuple(
        figure(
            picture,
            longest=longest,
            label=f"Image {first + i}",
            note=f"frame {frame}" if frame else _dimensions(picture),
        )
        for i, (picture, frame) in enumerate(zip(observation.images, frames, strict=True))
    )


def _facts(trajectory: Trajectory) -> tuple[str, ...]:
    """Return short facts about a trajectory."""
    task = trajectory.task
    need = {None: "", True: "needs an operation", False: "the full image is enough"}[task.needs_operation]
    bad, unread = trajectory.n_invalid_operations, trajectory.n_unread_operations
    facts = (
        need,
        count(trajectory.n_operations, "operation"),
        count(bad, "invalid call") if bad else "",
        f"{count(unread, 'result')} that did not fit" if unread else "",
        f"{trajectory.n_sampled_tokens} tokens" if trajectory.n_sampled_tokens else "",
        f"weights {weights}" if (weights := weight_versions(trajectory)) not in (None, "0") else "",
        f"stopped by {trajectory.stop.replace('_', ' ')}" if trajectory.stop != "answer" else "",
        f"template: {template.replace('_', ' ')}" if (template := template_of(trajectory)) else "",
        f"control: shown {', '.join(controls)} in place of results"
        if (controls := replaced_by(trajectory))
        else "",
    )
    return tuple(f for f in facts if f)


def _legend(trajectory: Trajectory) -> tuple[tuple[str, str], ...]:
    cropped = any(t.observation is not None and t.observation.box is not None for t in trajectory.turns)
    selected = any(t.observation is not None and t.observation.frames for t in trajectory.turns)
    valid = [t.observation is not None and t.observation.valid for t in trajectory.turns]
    roles = [role for role, ok in zip(operation_roles(trajectory), valid, strict=True) if ok]
    judged = ((role, LEGEND[role]) for role in LEGEND if role in roles)
    plain = "cut out by the model" if cropped else "selected by the model" if selected else ""
    legend = (
        (CROP, plain if CROP in roles else ""),
        *judged,
        ("cue", _cue_legend(trajectory.task)),
    )
    return tuple((kind, text) for kind, text in legend if text)


def asked(task: Task) -> str:
    """The question of a task, or what stands in its place."""
    return f"{task.id}: the question is still to be written" if task.is_seed else task.question


def _cue_legend(task: Task) -> str:
    if task.cue is None:
        return ""
    return "candidates for a region to ask about" if task.is_seed else "where the evidence is"


def count(n: int, noun: str) -> str:
    """Return "no operations", "1 operation", "2 operations"."""
    return f"{n or 'no'} {noun}{'' if n == 1 else 's'}"


def _dimensions(picture: Picture) -> str:
    return f"{picture.size.width}\u2009×\u2009{picture.size.height}"
