"""Hostile media: files that are damaged, disguised or far too large, each loaded in a process of its own.

What must hold for each: the process ends by itself, with a picture or a video, or with one line that says
what is wrong; never with a traceback or a signal; within the budgets of memory and time.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.hostile_bombs import Maker, bombs
from benchmarks.hostile_seeds import pictures, posers, videos
from benchmarks.memory import high_water, start_high_water
from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.core.media_io import load_media
from pixelreasoner.core.media_limits import VIDEO_SECONDS

PEAK_BYTES = 2**30
"""What a process that loads one file may take at its peak, Python and its libraries included."""
REFUSED_SECONDS = 5.0
"""How long it may take to refuse a file, in seconds of the processor."""
HANGS_SECONDS = 120
"""Who takes longer is ended, and counts as hanging; seconds of the processor."""
LOADED, REFUSED, FAILED = 0, 2, 1
Case = tuple[str, str, Maker]


LENGTHS = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0\xff\xff")
"""What a length or a count in a file is made."""


@dataclass(frozen=True)
class Outcome:
    """How the loading of one file ended."""

    file: str
    group: str
    """The suffix, or what kind of file it is."""
    code: int
    """0 loaded, 2 refused, 1 another exception, below 0 a signal."""
    message: str
    peak_bytes: int
    """Beside what the process held before."""
    seconds: float
    """Of the processor, all threads together."""
    stderr: str
    """What was written there beside the message."""

    @property
    def noisy(self) -> bool:
        """Whether a library wrote to stderr by itself, beside the message and a word on what was left out."""
        return any(not line.endswith("left out") for line in self.stderr.splitlines())

    @property
    def faults(self) -> list[str]:
        """What must not be."""
        limit = REFUSED_SECONDS if self.code == REFUSED else VIDEO_SECONDS
        if self.code not in (LOADED, REFUSED):
            return ["crash"]
        checks = {
            "not one line": len(self.message.splitlines()) != 1,
            "memory": self.peak_bytes > PEAK_BYTES,
            "time": self.seconds > limit,
        }
        return [name for name, wrong in checks.items() if wrong]


def run(n_changed: int, seed: int, only: str = "") -> Iterator[Outcome]:
    """Load every hostile file: `n_changed` of each seed file, the posers, the bombs, special files.

    With `only`, those whose group and name contain it.
    """
    _import_everything()
    # As the command line does.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    with tempfile.TemporaryDirectory(prefix="pixelreasoner-hostile-") as name:
        folder, target = Path(name) / "files", Path(name) / "target.mp4"
        folder.mkdir()
        for group, file_name, make in _cases(n_changed, seed, target):
            if only in f"{group}/{file_name}":
                path = folder / file_name
                _in_child(partial(make, path))
                yield outcome(path, group)
                _remove(path)
        for path in (Path("https:/example.com/a.png"), folder / ("x" * 300), folder / "a\0b.png"):
            if only in f"names/{path.name}":
                yield outcome(path, "names")


def outcome(path: Path, group: str) -> Outcome:
    """What becomes of `load_media` in a process of its own, with its peak of memory and its time."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            os.dup2(errors.fileno(), 2)
            _load(path, said.fileno())
        _, status, used = os.wait4(child, 0)
        said.seek(0)
        errors.seek(0)
        report = json.loads(said.read() or b'{"message": "", "peak_bytes": 0}')
        stderr = errors.read().decode(errors="replace")
    return Outcome(
        path.name, group, os.waitstatus_to_exitcode(status), report["message"], report["peak_bytes"],
        used.ru_utime + used.ru_stime, stderr,
    )  # fmt: skip


def _load(path: Path, write: int) -> None:
    """In the child: load, report, end without cleaning up."""
    code, message = LOADED, ""
    resource.setrlimit(resource.RLIMIT_CPU, (HANGS_SECONDS, HANGS_SECONDS))
    before = start_high_water()
    try:
        message = repr(load_media(path))
    except PixelReasonerError as e:
        code, message = REFUSED, str(e)
    except BaseException as e:
        code, message = FAILED, f"{type(e).__name__}: {e}"
    os.write(write, json.dumps({"message": message, "peak_bytes": high_water() - before}).encode())
    os._exit(code)


def _cases(n_changed: int, seed: int, target: Path) -> Iterator[Case]:
    """Every file that is made: its group, its name, and what writes it."""
    stills, films = dict(pictures()), dict(videos())
    target.write_bytes(films["h264.mp4"])
    for name, content in (stills | films).items():
        group = Path(name).suffix
        random = np.random.default_rng([seed, *name.encode()])
        for i, changed in enumerate(_changed(content, n_changed, random)):
            yield group, f"{i}-{name}", _writer(changed)
        yield group, f"{name}{'.mp4' if name in stills else '.jpg'}", _writer(content)
    for name, content in posers(stills["base.jpg"], str(target)):
        yield "posers", name, _writer(content)
    for name, make in bombs():
        yield f"bombs {Path(name).suffix}", name, make
    for name, make in SPECIAL.items():
        yield "special", name, make


def _writer(content: bytes) -> Maker:
    return lambda path: path.write_bytes(content)


def _changed(content: bytes, n: int, random: np.random.Generator) -> Iterator[bytes]:
    """A file changed in `n` ways: cut, bits turned, stretches or lengths overwritten, parts repeated."""
    for i in range(n):
        data = bytearray(content)
        at = int(random.integers(len(data)))
        # The first bytes decide what is read at all.
        early = int(random.integers(min(len(data), 600)))
        match i % 6:
            case 0:
                data = data[: max(at, 1)]
            case 1:
                for place in random.integers(0, len(data), 1 + len(data) // 300):
                    data[place] ^= 1 << int(random.integers(8))
            case 2:
                length = int(random.integers(1, 1 + len(data) // 8))
                data[at : at + length] = random.bytes(length)
            case 3:
                data[early : early + 4] = random.choice(
                    [b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4), b"\0\0\xff\xff"]
                )
            case 4:
                data[at:at] = data[early : early + 2000]
            case _:
                data[early] = int(random.integers(256))
        yield bytes(data)


def _frames_with_a_pipe(folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / "1.png")


SPECIAL: dict[str, Maker] = {
    "pipe.mp4": os.mkfifo,
    "socket.png": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
    "device.jpg": lambda path: path.symlink_to("/dev/zero"),
    "null.jpg": lambda path: path.symlink_to("/dev/null"),
    "circle.png": lambda path: path.symlink_to(path),
    "nowhere.png": lambda path: path.symlink_to(path.parent / "gone"),
    "process.mp4": lambda path: path.symlink_to("/proc/self/maps"),
    "two\nlines.png": lambda path: path.write_bytes(b"\x89PNG"),
    "\x1b[31mred.png": lambda path: path.write_bytes(b"\x89PNG"),
    "empty-folder": os.mkdir,
    "frames": _frames_with_a_pipe,
}
"""What is no plain file, or has a name that is none."""


def _in_child(make: Callable[[], object]) -> None:
    """Write a file in a process of its own: what that takes would stay in this one's size.

    Raises:
        RuntimeError: it cannot be written.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            make()
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError(f"{make} cannot write its file")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _import_everything() -> None:
    """All that reads media, before the first fork: each child starts alike."""
    import av
    import pillow_heif
    from PIL import Image

    _ = av.library_versions, pillow_heif.libheif_version()
    Image.init()


def table(outcomes: list[Outcome]) -> str:
    """A Markdown table with a row per group."""
    lines = [
        "| files | n | loaded | refused | peak memory, MB | seconds: loaded | refused | noisy | faults |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    groups = sorted({o.group for o in outcomes})
    for group in [*groups, "all"]:
        chosen = [o for o in outcomes if group in (o.group, "all")]
        loaded = [o for o in chosen if o.code == LOADED]
        refused = [o for o in chosen if o.code == REFUSED]
        peak = max(o.peak_bytes for o in chosen) / 1e6
        times = (f"{max((o.seconds for o in some), default=0.0):.1f}" for some in (loaded, refused))
        counts = sum(o.noisy for o in chosen), sum(bool(o.faults) for o in chosen)
        cells = (group, len(chosen), len(loaded), len(refused), f"{peak:.0f}", *times, *counts)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def write(outcomes: list[Outcome], path: Path) -> None:
    """One JSON object per file."""
    began = time.strftime("%Y-%m-%d")
    rows = (json.dumps({"date": began, **asdict(o), "faults": o.faults}) for o in outcomes)
    path.write_text("\n".join(rows) + "\n")
