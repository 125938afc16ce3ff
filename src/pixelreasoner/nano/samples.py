"""Chooses the samples that ship with the package: `python -m pixelreasoner.nano.samples OUT`.

For each kind, the held-out tasks of PixelWorld (split "test", seed 0) that need no operation are gone through
in order, and the first is taken that the embedded model answers right from the written file, greedily and
with the operations offered, as `ask` offers them. How many were passed over is printed: the samples show what
the model can do, and not how often it does.
"""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path

from PIL import Image

from pixelreasoner.api import Reasoner, load
from pixelreasoner.core.errors import MissingExtraError
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.core.media_io import load_media
from pixelreasoner.core.task import Task
from pixelreasoner.rewards.scorers import exact
from pixelreasoner.tasks.pixelworld import PixelWorld

KIND_OF = {"card": "attribute", "board": "relation", "page": "page", "clip": "clip"}
SIDE_PX = 448
"""The longest side of a picture; the embedded model is shown 128 x 128 pixels or as many."""
QUALITY = 84
FRAMES_PER_S = 1
MAX_TRIED = 20


def write_samples(out: Path, reasoner: Reasoner) -> dict[str, int]:
    """Write the media and `samples.jsonl`; returns how many tasks of each kind were passed over."""
    out.mkdir(parents=True, exist_ok=True)
    passed: dict[str, int] = {}
    rows: list[str] = []
    for name, kind in KIND_OF.items():
        task, file, passed[name] = _first_answered(kind, out / name, reasoner)
        field = "images" if isinstance(task.media[0], Picture) else "video"
        row = {
            "id": name,
            "question": task.question,
            "answers": list(task.answers),
            "kind": kind,
            field: file.name,
            "needs_operation": False,
            "_from": task.id,
        }
        rows.append(json.dumps(row) + "\n")
    (out / "samples.jsonl").write_text("".join(rows), encoding="utf-8")
    return passed


def _first_answered(kind: str, stem: Path, reasoner: Reasoner) -> tuple[Task, Path, int]:
    """A task, its file, and how many were passed over."""
    world = PixelWorld()
    for index in range(MAX_TRIED):
        task = world.task("test", kind, index, needs_operation=False)
        file = _write(task.media[0], stem)
        answer = reasoner.ask(load_media(file), task.question).answer
        if exact(answer, task.answers, task) == 1.0:
            return task, file, index
    raise AssertionError(f"none of {MAX_TRIED} tasks of kind '{kind}' is answered right")


def _write(media: Media, stem: Path) -> Path:
    if isinstance(media, Video):
        return _write_video(media, stem.with_suffix(".mp4"))
    image = Image.fromarray(media.pixels)
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    file = stem.with_suffix(".jpg")
    image.save(file, quality=QUALITY)
    return file


def _write_video(video: Video, file: Path) -> Path:
    try:
        import av
    except ImportError as e:
        raise MissingExtraError("av", "video", "writing the clip") from e
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_S, options={"crf": "23", "preset": "slow"})
        stream.width, stream.height = video.size
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, FRAMES_PER_S)
        for picture in video.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.pixels, format="rgb24")))
        container.mux(stream.encode())
    return file


if __name__ == "__main__":
    for sample, n in write_samples(Path(sys.argv[1]), load("nano", device="cpu")).items():
        sys.stdout.write(f"{sample}: {n} passed over\n")
