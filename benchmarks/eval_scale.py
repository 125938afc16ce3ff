"""A full-size dry run of an evaluation: as many rows as benchmarks have, and a policy that follows a script.

The policy looks once (eight frames of a video, a part of an image) and answers; it costs next to nothing, so
that what is measured is everything else: the task file, media, operations, records and scores. Each part runs
in a process of its own, from a recipe as anyone's. The resident size is that of all of it, Python, torch and
the libraries included. Seconds of the processor count all threads; on a busy machine they say more than those
on the clock.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.memory import high_water, start_high_water
from benchmarks.train import CPU, Record, machine
from pixelreasoner.chat.hermes import format_call
from pixelreasoner.chat.plain import PlainRenderer
from pixelreasoner.core.media import Video
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.evals.run import EvalConfig, Evaluated, run
from pixelreasoner.policy.base import CompletionRequest
from pixelreasoner.policy.scripted import ScriptedPolicy

FRAMES, FRAME_SIZE = 16, (320, 240)
"""Of a video, as MVBench's rows are shown; its frames come as files."""
IMAGE_SIZE = (2448, 1632)
"""4 megapixels."""
OPTIONS = ["red", "green", "blue", "white"]


def measure_all(*, videos: int, images: int) -> Iterator[Record]:
    """The machine, then a record for each part.

    Args:
        videos: rows of 16 small frames.
        images: rows of a picture of 4 megapixels.
    """
    yield machine(CPU) | {"left_out": []}
    for part, rows in (("videos", videos), ("images", images)):
        if rows:
            yield _in_process({"part": part, "rows": rows})


def measure(request: Mapping[str, Any]) -> Record:
    """The record of one part, in this process."""
    part, rows = request["part"], request["rows"]
    with tempfile.TemporaryDirectory(prefix="pixelreasoner-bench-") as name:
        folder = Path(name)
        n_pictures = FRAMES if part == "videos" else 1
        size = FRAME_SIZE if part == "videos" else IMAGE_SIZE
        write_tasks(folder, rows, n_pictures, size)
        config = EvalConfig.model_validate(
            {
                "out": folder / "run",
                "policy": f"{__name__ if __name__ != '__main__' else 'benchmarks.eval_scale'}:looks_once",
                "tasks": {"source": str(folder / "tasks.jsonl"), "split": "test"},
            }
        )
        before, began, began_cpu = start_high_water(), time.perf_counter(), time.process_time()
        summary = run(config)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
        assert summary["n"] == rows
        assert summary["rapr"]["all"] == 1.0, "the policy has looked at nothing"
        return {
            "kind": "eval",
            "what": f"{rows:,} rows of {n_pictures} x {size[0]}x{size[1]} pixels",
            "pixel_bytes": rows * n_pictures * size[0] * size[1] * 3,
            "start_bytes": before,
            "peak_bytes": high_water(),
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "rows_per_second": rows / seconds,
            "rows_per_cpu_second": rows / cpu_seconds,
        }


def looks_once(config: EvalConfig) -> Evaluated:
    """The scripted policy, as a recipe names it."""
    renderer = PlainRenderer()
    return Evaluated(ScriptedPolicy(_script, renderer), renderer)


def _script(request: CompletionRequest, turn: int) -> str:
    if turn > 0:
        return "\\boxed{A}"
    (media,) = request.segments[0].media
    if isinstance(media, Video):
        call = ToolCall("select_frames", {"target_frames": list(range(1, FRAMES + 1, 2))})
    else:
        width, height = media.size
        box = [width // 4, height // 4, width // 2, height // 2]
        call = ToolCall("crop_image", {"bbox_2d": box, "target_image": 1})
    return f"I look closer.\n{format_call(call)}"


def write_tasks(folder: Path, rows: int, n_pictures: int, size: tuple[int, int]) -> None:
    """A task file of multiple-choice questions, and its pictures: no two files have the same bytes.

    The pictures are the same noise with a comment of their own, so that making them takes no time; decoded
    they take what every picture of their size takes.
    """
    content = _jpeg(size)
    with (folder / "tasks.jsonl").open("w") as file:
        for number in range(rows):
            place = folder / "pictures" / f"{number // 100:03}" / f"{number % 100:02}"
            place.mkdir(parents=True)
            names: list[str] = []
            for at in range(n_pictures):
                path = place / f"{at:02}.jpg"
                path.write_bytes(_with_comment(content, number * n_pictures + at))
                names.append(str(path.relative_to(folder)))
            media = {"video": names} if n_pictures > 1 else {"images": names}
            row = {"question": f"What colour is it ({number})?", "options": OPTIONS, "answers": "A", **media}
            file.write(json.dumps({"kind": f"kind-{number % 20}", **row}) + "\n")


def _jpeg(size: tuple[int, int]) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1] // 16, size[0] // 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(buffer, format="JPEG", quality=80)
    return buffer.getvalue()


def _with_comment(jpeg: bytes, number: int) -> bytes:
    comment = number.to_bytes(8, "big")
    return jpeg[:2] + b"\xff\xfe" + (2 + len(comment)).to_bytes(2, "big") + comment + jpeg[2:]


def _in_process(request: Mapping[str, Any]) -> Record:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.eval_scale"],
        input=json.dumps(request), capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"the process that measures failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(measure(json.load(sys.stdin)))}\n")
