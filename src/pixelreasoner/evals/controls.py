"""Controls of an evaluation: the same calls of the same model, and something else to look at.

Each is a control of one finished *plain* evaluation of the same recipe:

* `blank`: a picture of the same size, all of it mid grey (128). The model gets what calling gives without
  seeing: another turn, its own words about what it will look at, the tokens of a picture.
* `random_crop`: a region of the same size from the same image, apart from the cue and from the region that
  was asked for where that is possible (of `N_DRAWS` draws the one that shows least of both). Of a video:
  other frames, apart from the cue's and those asked for where there are enough.
* `swap`: what the plain run's rollout of ANOTHER task got (`evals.swaps`), unaltered and with the words that
  came with it, so that the picture is one that the model has answered from; it takes the tokens that it took
  there. Where those words would give the picture another number than it gets here, it is scaled to the size
  that was asked for, beside this task's own words.

The words beside a blank or a random picture are the operation's own, and so are its size and its tokens. A
rollout of the plain run that read no result is taken over as it is: what the model saw is the same, and so
would be the rollout.

Evaluating without operations is no control of this kind: it is `interaction.operations = []`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image

from pixelreasoner.core.config import MAY_CHANGE, Config
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.geometry import Box, Size
from pixelreasoner.core.media import Picture
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.registry import Registry, check_call
from pixelreasoner.core.run_folder import TRAJECTORIES_FILE
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, Trajectory
from pixelreasoner.env.replacement import Replacement, Show
from pixelreasoner.env.rollout import RolloutRequest, turn_seed
from pixelreasoner.evals.swaps import donor_of, donor_results, images_before
from pixelreasoner.ops.image_context import ImageContext

GREY = 128
"""Of a blank picture, in each colour: no colour of the picture is left to read."""
N_DRAWS = 64
"""Places tried for a random crop."""

CONTROLS = Registry(
    "control",
    {
        "blank": "pixelreasoner.evals.controls:blank",
        "random_crop": "pixelreasoner.evals.controls:random_crop",
        "swap": "pixelreasoner.evals.controls:swap",
    },
)


class ControlConfig(Config):
    """What is shown in the place of what operations return."""

    use: str
    """A registered control (blank, random_crop, swap), or package.module:function."""
    plain: Annotated[Path, MAY_CHANGE]
    """The folder of the finished evaluation that this is a control of: the same recipe without `control`."""


@dataclass(frozen=True, eq=False)
class PlainRun:
    """The rollouts of a plain evaluation, in order."""

    trajectories: tuple[Trajectory, ...]
    places: Mapping[str, int]
    """Where each task stands, by its id."""

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory]) -> PlainRun:
        return cls(tuple(trajectories), {t.task.id: place for place, t in enumerate(trajectories)})

    @classmethod
    def read(cls, folder: Path) -> PlainRun:
        """Read the rollouts of a folder; pixels stay in their files.

        Raises:
            ConfigError: two tasks have one id.
            RecordError: there is no such folder, or a record in it is damaged.
        """
        run = cls.of(list(read_trajectories(folder / TRAJECTORIES_FILE)))
        if len(run.places) < len(run.trajectories):
            raise ConfigError(
                f"{folder}: two tasks have the same id, so that their rollouts cannot be told apart; give "
                f"each task an id of its own"
            )
        return run


Control = Callable[[Task, int, PlainRun], Replacement | None]
"""(task, seed of its rollout, plain run) -> how its results are replaced; None leaves it as it was."""
Prepare = Callable[[Task, int], RolloutRequest | Trajectory]
"""(task, seed) -> what is to be rolled out, or the rollout where it is known already."""


def requests_of(config: ControlConfig) -> Prepare:
    """What becomes of each task under a control.

    Raises:
        ConfigError: there is no such control, or it takes other arguments; from what is returned: the plain
            evaluation has no rollout of a task.
        RecordError: the plain evaluation cannot be read.
    """
    control: Control = CONTROLS.find(config.use)
    plain = PlainRun.read(config.plain)
    check_call(f"control '{config.use}'", control, None, 0, plain)

    def prepared(task: Task, seed: int) -> RolloutRequest | Trajectory:
        if task.id not in plain.places:
            raise ConfigError(
                f"control '{config.use}': {config.plain} has no rollout of task {task.id}; evaluate the same "
                f"tasks there first, all of them"
            )
        known = plain.trajectories[plain.places[task.id]]
        if known.task != task:
            raise ConfigError(
                f"control '{config.use}': task {task.id} is another one than in {config.plain}; evaluate the "
                f"tasks as they are now in a new folder"
            )
        if not known.used_pixel_space:
            return known
        replacement = control(task, seed, plain)
        if replacement is None:
            return known
        # The recorded task: its pictures are files, and need not be encoded again for this record.
        return RolloutRequest(known.task, seed, replacement=replacement)

    return prepared


# --------------------------------------------------------------------------------------- the controls


def blank(task: Task, seed: int, plain: PlainRun) -> Replacement:
    """Grey pictures of the same sizes."""
    return Replacement("blank", _grey)


def random_crop(task: Task, seed: int, plain: PlainRun) -> Replacement:
    """Regions of the same size from elsewhere in the same image, or other frames of the same video."""
    return Replacement("random_crop", _elsewhere(task, seed))


def swap(task: Task, seed: int, plain: PlainRun) -> Replacement | None:
    """What another task's rollout got; None where no other task has a result of an operation."""
    donor = donor_of(plain.places[task.id], plain.trajectories)
    return None if donor is None else Replacement("swap", _of_another(donor))


def _grey(observation: Observation, turn: int, context: ImageContext) -> Observation:
    images = tuple(_filled(picture.size) for picture in observation.images)
    return changed(observation, images=images, box=None, frames=())


def _elsewhere(task: Task, seed: int) -> Show:
    def show(observation: Observation, turn: int, context: ImageContext) -> Observation:
        rng = np.random.default_rng(turn_seed(seed, turn))
        if observation.frames and context.video is not None:
            cue = task.cue.frames if task.cue is not None else ()
            chosen = _other_frames(observation.frames, cue, len(context.video.frames), rng)
            images = tuple(context.video.frames[i - 1] for i in chosen)
            return changed(observation, images=images, frames=chosen)
        if not 1 <= observation.source <= len(context.images):
            return _grey(observation, turn, context)  # there is no image to cut from
        source = context.images[observation.source - 1].picture
        cue_box = _cue_in(source, task)
        avoid = [box for box in (cue_box, observation.box) if box is not None]
        boxes = [_random_box(source.size, picture.size, avoid, rng) for picture in observation.images]
        images = tuple(
            _scaled(_cut(source, box), picture.size)
            for box, picture in zip(boxes, observation.images, strict=True)
        )
        return changed(observation, images=images, box=boxes[0] if len(boxes) == 1 else None)

    return show


def _of_another(donor: Trajectory) -> Show:
    def show(observation: Observation, turn: int, context: ImageContext) -> Observation:
        results = donor_results(donor, like=observation)
        result = results[min(turn, len(results) - 1)]
        if images_before(donor, result) == len(context.images):
            return changed(result, box=None, frames=(), donor=donor.task.id)
        images = tuple(
            _scaled(result.images[i % len(result.images)], picture.size)
            for i, picture in enumerate(observation.images)
        )
        return changed(observation, images=images, box=None, frames=(), donor=donor.task.id)

    return show


# --------------------------------------------------------------------------------------- pixels


def _filled(size: Size) -> Picture:
    return Picture(np.full((size.height, size.width, 3), GREY, np.uint8))


def _cut(picture: Picture, box: Box) -> Picture:
    return picture.crop(int(box.x1), int(box.y1), int(box.x2), int(box.y2))


def _scaled(picture: Picture, size: Size) -> Picture:
    if picture.size == size:
        return picture
    image = Image.fromarray(picture.pixels).resize(size, Image.Resampling.BICUBIC)
    return Picture(np.asarray(image))


def _cue_in(source: Picture, task: Task) -> Box | None:
    """The box of the cue in a picture, where that is the one it lies in."""
    cue: Cue | None = task.cue
    if cue is None or cue.box is None or not 1 <= cue.target <= len(task.media):
        return None
    return cue.box if task.media[cue.target - 1] == source else None


def _random_box(source: Size, wanted: Size, avoid: list[Box], rng: np.random.Generator) -> Box:
    """A box of the wanted size in an image: of several draws, the one that shows least of what to avoid."""
    width, height = min(wanted.width, source.width), min(wanted.height, source.height)

    def draws() -> Iterator[Box]:
        for _ in range(N_DRAWS):
            x = int(rng.integers(source.width - width + 1))
            y = int(rng.integers(source.height - height + 1))
            yield Box(x, y, x + width, y + height)

    best, least = None, np.inf
    for box in draws():
        shown = sum(box.coverage_of(other) for other in avoid)
        if shown < least:
            best, least = box, shown
        if not shown:
            break
    assert best is not None
    return best


def _other_frames(
    asked: tuple[int, ...], cue: tuple[int, ...], n_frames: int, rng: np.random.Generator
) -> tuple[int, ...]:
    """As many frames as were asked for, 1-based and in order.

    Those apart from the cue and from what was asked go first, then those that were asked and are not of the
    cue, then the cue's.
    """
    frames = rng.permutation(np.arange(1, n_frames + 1)).tolist()
    frames.sort(key=lambda frame: (frame in cue, frame in asked))
    return tuple(sorted(frames[: len(asked)]))
