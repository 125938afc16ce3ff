"""SIGKILL at random moments and whenever a run touches its disk; the same command then goes on.

Each command runs on a tiny setting of its shipped recipe: once without a kill, and then once for each kill.
After a kill the same command is given again, and its folder is compared with that of the run that was never
killed: the same files with the same bytes, but for the times that some of them hold (`comparable`). So it is
done on full disks: the system refuses files beyond a size, each time another one.

Every command is run in a forked process, so that torch is imported once. Needs a POSIX system.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.killing import DiskPoints
from benchmarks.synth_scale import write_tasks

OUT = "run"
RECIPES = {
    "synth": 'out = "run"\nn = 6\n',
    "synth_server": 'out = "run"\nn = 12\ntasks = { source = "tasks.jsonl" }\n[mix]\ntext_only = 0.25\n'
    "image = { single_pass = 0.5, recrop_once = 0.25, recrop_twice = 0.25, further_zoom = 0.0 }\n"
    '[chat_teacher.server]\nurl = "{teacher}"\nmodel = "m"\nconcurrency = 3\nretry_wait_s = 0.01\n',
    "sft": 'out = "run"\ndata = "synth/trajectories.jsonl"\nbatch_size = 2\nsteps = 3\nsave_every = 1\n'
    'keep_checkpoints = 1\n[model]\ncheckpoint = "nano"\ndevice = "cpu"\ntrain = { vision = false }\n',
    "rl": 'out = "run"\nsteps = 2\ntasks_per_step = 2\ngroup_size = 2\nrollout_batch = 4\nsave_every = 1\n'
    'keep_checkpoints = 1\n[model]\ncheckpoint = "nano"\ndevice = "cpu"\n'
    "train = { vision = false, embeddings = false }\n"
    "[interaction]\nsampling = { temperature = 1.0, max_tokens = 8 }\nlimits = { max_operations = 1 }\n",
    "endpoint": 'out = "run"\nn = 16\n[tasks]\noptions = { kinds = ["attribute", "count"] }\n'
    '[endpoint]\nurl = "{url}"\nmodel = "m"\nfamily = "qwen3_vl"\nconcurrency = 3\n'
    "[interaction.wording]\nimage = { min_pixels = 1024, max_pixels = 65536 }\n",
    "eval": 'out = "run"\nn = 5\nbatch_size = 2\n[model]\ncheckpoint = "nano"\ndevice = "cpu"\n'
    "[interaction]\nsampling = { temperature = 0.0, max_tokens = 12 }\n",
}
"""The shipped recipes, as small as they may be; `demo` takes those in `nano/` below the folder it runs in."""
COMMANDS = ("synth", "synth_server", "sft", "rl", "eval", "endpoint", "demo")
"""`endpoint` is `eval` of a server that stays while the command is killed (`benchmarks.chat_server`), and
`synth_server` is `synth` with a teacher on one, which answers a fifth of the requests badly."""
OF_A_SERVER = {"endpoint": "eval", "synth_server": "synth"}
NOT_COMPARED = (".lock", "seconds.json", "replies.sqlite", "replies.sqlite-wal", "replies.sqlite-shm")
"""Files that differ from run to run: a database's bytes depend on the order of what was put into it."""
POINTS = "\0points "
Moment = tuple[int | None, float | None]
"""The point of the disk, or the seconds after the start, at which a run is killed."""
TIMES = ("time", "started", "ended", "wall_s")


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    """Its exit code; minus the number of the signal that killed it."""
    points: int
    """Points of the disk that it reached; 0 of one that was killed."""
    own: Sequence[int]
    """Those at its folder itself and at what lies directly in it."""
    seconds: float
    said: str
    """What it wrote to its outputs."""


def run(
    *,
    commands: Sequence[str],
    moments: int,
    every: int,
    seed: int,
    own: bool = False,
    in_a_row: int = 1,
    full_disks: int | None = None,
    out: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """A record per command, shown as it comes.

    Args:
        commands: which of `COMMANDS`.
        moments: kills at random moments, for each command.
        every: a kill at every point of the disk (1), or at every second, third, ... of them.
        seed: of the moments.
        own: of the points, those alone at the run's folder and at what lies directly in it.
        in_a_row: kills of one run at random, before it goes on to its end.
        full_disks: sizes of files that a full disk refuses, for each command; None tries all there are.
        out: a file that takes the records, too.
    """
    _import_everything()
    chat = [sys.executable, "-m", "benchmarks.chat_server"]
    teacher = [sys.executable, "-m", "benchmarks.teacher_script", json.dumps({"faults": 0.2, "late_s": 0.1})]
    with (
        tempfile.TemporaryDirectory(prefix="pixelreasoner-kills-") as name,
        _server(chat) as url,
        _server(teacher) as teacher_url,
    ):
        for command in commands:
            rng = random.Random(f"{seed}/{command}")
            urls = {"{url}": url, "{teacher}": teacher_url}
            record = Trials(Path(name) / command, command, rng, urls).run(
                moments, every, in_a_row, own=own, full_disks=full_disks
            )
            line = json.dumps(record) + "\n"
            sys.stdout.write(line)
            sys.stdout.flush()
            if out is not None:
                with out.open("a") as file:
                    file.write(line)
            yield record


class Trials:
    """The runs of one command."""

    def __init__(self, folder: Path, command: str, rng: random.Random, urls: Mapping[str, str]) -> None:
        self.folder, self.command, self._rng, self._urls = folder, command, rng, urls
        self.failures: list[str] = []

    def run(
        self, moments: int, every: int, in_a_row: int, *, own: bool, full_disks: int | None
    ) -> dict[str, Any]:
        """All kills; what is to be reported of them."""
        began = time.monotonic()
        whole = self._new_folder("whole")
        reference = self._run(whole, None, again=False)
        assert reference.code == 0, f"{self.command} fails without a kill: {reference.said}"
        wanted = comparable(whole / OUT)
        points = reference.own if own else range(1, reference.points + 1)
        at_points = points[::every]
        killed: list[int] = []
        for k in at_points:
            killed.append(self._trial(f"point-{k}", [(k, None)], wanted))
            sys.stderr.write(f"\r{self.command}: {k} of {reference.points} points ")
        for i in range(moments):
            killed.append(self._trial(f"moment-{i}", self._moments(reference, in_a_row), wanted))
            sys.stderr.write(f"\r{self.command}: {i + 1} of {moments} moments ")
        rooms = _spread(_rooms(whole / OUT), full_disks)
        refused = [self._full(f"room-{room}", room, wanted) for room in rooms]
        return {
            "command": self.command, "points": len(points),
            "killed_at_points": sum(killed[: len(at_points)]),
            "killed_at_moments": sum(killed[len(at_points) :]), "moments": moments,
            "full_disks": len(rooms), "refused_by_a_full_disk": sum(refused), "files": len(wanted),
            "same": len(killed) + len(rooms) - len(self.failures), "trials": len(killed) + len(rooms),
            "failures": self.failures, "seconds": round(time.monotonic() - began),
        }  # fmt: skip

    def _moments(self, reference: Ended, n: int) -> list[Moment]:
        """Random moments at which one run is killed in a row.

        A single one is any moment of its time. Several are points of the disk, as many before each as leave
        some for the others: so each of them comes before the end.
        """
        if n == 1:
            return [(None, self._rng.uniform(0, reference.seconds))]
        return [(self._rng.randint(1, reference.points // n), None) for _ in range(n)]

    def _trial(self, name: str, moments: Sequence[Moment], wanted: dict[str, bytes]) -> int:
        """Kill, go on until the end, compare; how many kills came before the end."""
        folder, killed = self._new_folder(name), 0
        for kill_at, after in moments:
            ended = self._run(folder, kill_at, again=killed > 0, after_s=after)
            if ended.code != -signal.SIGKILL:
                break
            killed += 1
        else:
            ended = self._run(folder, None, again=True)
        self._compare(name, folder, ended, wanted)
        return killed

    def _full(self, name: str, room: int, wanted: dict[str, bytes]) -> bool:
        """Refuse files beyond `room` bytes, then go on without a limit; whether something was refused."""
        folder = self._new_folder(name)
        first = ended = self._run(folder, None, again=False, room=room)
        left = [str(path) for path in (folder / OUT).rglob(".*.part")]
        if first.code == 0:
            pass  # everything fits
        elif first.code != 2 or first.said.count("error:") != 1 or "Traceback" in first.said or left:
            self.failures.append(f"{name}: exit code {first.code}, left {left}: {first.said[-400:]}")
            return True
        else:
            ended = self._run(folder, None, again=True)
        self._compare(name, folder, ended, wanted)
        return first.code == 2

    def _compare(self, name: str, folder: Path, ended: Ended, wanted: dict[str, bytes]) -> None:
        """Note what is wrong with a folder; one without a fault is removed."""
        found = comparable(folder / OUT)
        if ended.code != 0:
            self.failures.append(f"{name}: exit code {ended.code}: {ended.said[-400:]}")
        elif found != wanted:
            differing = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
            self.failures.append(f"{name}: differs in {', '.join(differing[:5])}")
        else:
            shutil.rmtree(folder)

    def _new_folder(self, name: str) -> Path:
        folder = self.folder / name
        (folder / "nano").mkdir(parents=True)
        for recipe, text in RECIPES.items():
            for place, url in self._urls.items():
                text = text.replace(place, url)
            (folder / f"{recipe}.toml").write_text(text)
            (folder / "nano" / recipe).write_text(text)
        if self.command == "synth_server":
            write_tasks(folder, 36)
        if self.command == "sft":
            data = self.folder / "synth"
            if not data.exists():
                made = _forked(self.folder, ["synth", str(folder / "synth.toml"), "--out", str(data)])
                assert made.code == 0, made.said
            (folder / "synth").symlink_to(data)
        return folder

    def _run(
        self,
        folder: Path,
        kill_at: int | None,
        *,
        again: bool,
        after_s: float | None = None,
        room: int | None = None,
    ) -> Ended:
        if self.command == "demo":
            args = ["demo", "--out", OUT]
        else:
            name = OF_A_SERVER.get(self.command, self.command)
            args = [name, f"{self.command}.toml", *(["--resume"] if again else [])]
        return _forked(folder, args, kill_at=kill_at, after_s=after_s, room=room)


def comparable(folder: Path) -> dict[str, bytes]:
    """The files of a run by name, without what differs from run to run: times, and the lock's file."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name in NOT_COMPARED:
            continue
        content = path.read_bytes()
        if path.suffix in (".json", ".jsonl") and path.name.split(".")[0] in ("metrics", "run", "summary"):
            rows = content.splitlines() if path.suffix == ".jsonl" else [content]
            content = b"\n".join(json.dumps(_timeless(json.loads(row))).encode() for row in rows)
        elif path.suffix == ".html":
            content = re.sub(rb"(?s)<dt>wall time</dt>.*?</dd>|\d+ (min|s)\b( \d+ s)?", b"", content)
        found[str(path.relative_to(folder))] = content
    return found


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in (*TIMES, "host") and not k.startswith("seconds")}


def _rooms(folder: Path) -> list[int]:
    """Limits for the size of a file: none at all, then one that each file of a run just does not fit in."""
    sizes = {path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    return [0, *sorted(size - 1 for size in sizes if size > 1)]


def _spread(rooms: Sequence[int], most: int | None) -> Sequence[int]:
    """At most so many of them, from the first to the last."""
    if most is None or most >= len(rooms):
        return rooms
    return [rooms[i * (len(rooms) - 1) // max(most - 1, 1)] for i in range(most)]


def _forked(
    folder: Path,
    args: list[str],
    *,
    kill_at: int | None = None,
    after_s: float | None = None,
    room: int | None = None,
) -> Ended:
    """Run a command in a forked process, in a folder."""
    began = time.monotonic()
    output, given = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(output)
        _child(folder, args, kill_at, room, given)
    os.close(given)
    if after_s is not None:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)  # one that has ended is there until it is waited for
    with os.fdopen(output, "rb") as file:
        said, _, counted = file.read().decode(errors="replace").partition(POINTS)
    _, status = os.waitpid(child, 0)
    points, own = json.loads(counted or "[0, []]")
    return Ended(os.waitstatus_to_exitcode(status), points, own, time.monotonic() - began, said)


def _child(folder: Path, args: list[str], kill_at: int | None, room: int | None, given: int) -> None:
    """In the forked process: run the command and end. Nothing of the parent's is cleaned up here."""
    code = 1
    try:
        os.chdir(folder)
        os.dup2(given, 1)
        os.dup2(given, 2)
        counted = DiskPoints(folder / OUT, kill_at)
        counted.install()
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        from pixelreasoner.cli.main import main

        code = main(args)
        sys.stderr.write(f"{POINTS}{json.dumps([counted.count, counted.own])}")
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


@contextmanager
def _server(command: list[str]) -> Iterator[str]:
    """The address of a chat endpoint, in a process of its own: what is forked here may have no threads."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def _import_everything() -> None:
    """Import what the commands need, so that a forked process need not; no thread may be started by it."""
    import pixelreasoner.evals.run
    import pixelreasoner.models.loader
    import pixelreasoner.nano.demo
    import pixelreasoner.policy.group
    import pixelreasoner.synth.run
    import pixelreasoner.train.rl
    import pixelreasoner.train.sft  # noqa: F401
