"""Synthesis at size, with a scripted teacher behind a real server: its throughput, and its memory.

The server runs in a process of its own and takes a fixed time for every reply. What it could answer at most,
with as many requests under way as the recipe allows, is the ideal: `concurrency / latency` replies a second.
Each measurement is in a fresh process, from a recipe as anyone's; the resident size is that of all of it,
Python, torch and the libraries included.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.chat_server import Body, ChatServer
from benchmarks.memory import high_water, start_high_water
from benchmarks.teacher_script import TeacherScript
from benchmarks.train import CPU, Record, machine
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.run import run

SIZE = (512, 384)
PICTURES = 500
"""Different ones; tasks share them."""
SMALL = {"image": {"single_pass": 0.5, "recrop_once": 0.25, "recrop_twice": 0.25, "further_zoom": 0.0}}


def measure_all(
    *, items: int, concurrency: int, latency_s: float, sizes: tuple[int, ...]
) -> Iterator[Record]:
    """The machine, then the throughput, then the memory for each size.

    Args:
        items: trajectories whose making is timed; 0 leaves the part out.
        concurrency: requests under way together.
        latency_s: seconds of each reply.
        sizes: numbers of trajectories that are made with a server that answers at once.
    """
    yield machine(CPU) | {"left_out": []}
    if items:
        yield _in_process({"items": items, "concurrency": concurrency, "latency_s": latency_s})
    for size in sizes:
        yield _in_process({"items": size, "concurrency": concurrency, "latency_s": 0.0})


def measure(request: Mapping[str, Any]) -> Record:
    """The record of one run, in this process."""
    items, concurrency, latency_s = request["items"], request["concurrency"], request["latency_s"]
    with tempfile.TemporaryDirectory(prefix="pixelreasoner-bench-") as name, served(latency_s) as url:
        folder = Path(name)
        write_tasks(folder, items)
        server = {"url": url, "model": "scripted", "concurrency": concurrency, "timeout_s": 120.0}
        config = SynthConfig.model_validate(
            {
                "out": folder / "run",
                "tasks": {"source": str(folder / "tasks.jsonl")},
                "n": items,
                "mix": {"text_only": 0.25, **SMALL},
                "chat_teacher": {"server": server},
            }
        )
        before, began, began_cpu = start_high_water(), time.perf_counter(), time.process_time()
        made = sum(run(config).values())
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
        assert made == items, f"{made} of {items} trajectories"
        spent = json.loads((config.out / "summary.json").read_text())["spending"]
        requests = sum(part["requests"] for part in spent.values())
        return {
            "kind": "synth",
            "what": f"{items:,} trajectories, {latency_s:g} s a reply, {concurrency} at once",
            "requests": requests,
            "seconds": seconds,
            "requests_per_second": requests / seconds,
            "share_of_ideal": requests * latency_s / concurrency / seconds if latency_s else None,
            "start_bytes": before,
            "peak_bytes": high_water(),
            "cpu_seconds": cpu_seconds,
        }


def write_tasks(folder: Path, n: int) -> None:
    """A task file of questions about small things, each with its place in a picture."""
    (folder / "pictures").mkdir(parents=True)
    for number in range(min(n, PICTURES)):
        noise = np.random.default_rng(number).integers(
            0, 256, (SIZE[1] // 16, SIZE[0] // 16, 3), dtype=np.uint8
        )
        buffer = io.BytesIO()
        Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC).save(buffer, format="JPEG", quality=80)
        (folder / "pictures" / f"{number:03}.jpg").write_bytes(buffer.getvalue())
    with (folder / "tasks.jsonl").open("w") as file:
        for number in range(n):
            x, y = 20 + 7 * number % 400, 20 + 11 * number % 280
            row = {
                "id": f"t{number}",
                "question": f"Which number is on sign {number}?",
                "answers": str(number),
                "images": f"pictures/{number % PICTURES:03}.jpg",
                "cue": {"box": [x, y, x + 40, y + 30]},
                "subject": f"sign {number}",
            }
            file.write(json.dumps(row) + "\n")


@contextmanager
def served(latency_s: float) -> Iterator[str]:
    """The address of the scripted teacher, in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.synth_scale", "serve", str(latency_s)],
        stdout=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


class _Forgets(list[Body]):
    """Requests of a server that answers a hundred thousand of them."""

    def append(self, item: Body) -> None:
        pass


def _serve(latency_s: float) -> None:
    stays = ChatServer(TeacherScript(latency_s=latency_s))
    stays.requests = _Forgets()
    sys.stdout.write(f"{stays.url}\n")
    sys.stdout.flush()
    stays.server.serve_forever()


def _in_process(request: Mapping[str, Any]) -> Record:
    environment = dict(os.environ)
    if not request["latency_s"]:
        # Freed blocks go back at once: what is resident is what is in use. It costs time.
        environment |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.synth_scale"],
        input=json.dumps(request), capture_output=True, text=True, env=environment,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"the process that measures failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        _serve(float(sys.argv[2]))
    else:
        sys.stdout.write(f"{json.dumps(measure(json.load(sys.stdin)))}\n")
