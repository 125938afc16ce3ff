"""An export is whole or not there; what it is of, and what it is not, is said."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pixelreasoner.cli.main import main
from pixelreasoner.core.errors import ConfigError, MediaError, RecordError
from pixelreasoner.core.run_status import locked
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.synth.exports.export import export, formats
from pixelreasoner.synth.exports.new_folder import new_folder

FORMS = tuple(formats())


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_run_gives_the_same_files(synth_run: Path, tmp_path: Path, form: str):
    export(synth_run, tmp_path / "a" / "set", form=form)
    export(synth_run, tmp_path / "b" / "set", form=form)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert "set/README.md" in files(tmp_path / "a")
    assert str(synth_run.parent) not in (tmp_path / "a" / "set" / "README.md").read_text()


@pytest.mark.parametrize("form", FORMS)
def test_after_an_error_nothing_is_there(synth_run: Path, tmp_path: Path, form: str):
    broken = tmp_path / "run"
    shutil.copytree(synth_run, broken)
    pictures = sorted((broken / "media").iterdir())
    pictures[len(pictures) // 2].unlink()
    with pytest.raises((MediaError, RecordError)):
        export(broken, tmp_path / "out", form=form)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_folder_with_something_in_it_is_left_alone(synth_run: Path, tmp_path: Path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(RecordError, match="holds something already"):
        export(synth_run, tmp_path, form="sharegpt")
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    (tmp_path / "empty").mkdir()
    assert export(synth_run, tmp_path / "empty", form="sharegpt") == 16


def test_what_a_killed_export_left_is_removed_by_the_next(tmp_path: Path):
    """Killed at any moment it leaves no folder of that name: here in the middle, with a file half written."""
    code = (
        "import time, sys\nfrom pathlib import Path\n"
        "from pixelreasoner.synth.exports.new_folder import new_folder\n"
        "with new_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_bytes(b'x' * 100)\n    print('there', flush=True)\n    time.sleep(60)\n"
    )
    out = tmp_path / "out"
    child = subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"there\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not out.exists()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.")
    with new_folder(out) as folder:
        (folder / "whole").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in out.iterdir()] == ["whole"]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_an_export_that_is_killed_again_and_again(synth_run: Path, tmp_path: Path, form: str):
    """SIGKILL at growing times until one comes through: what has the name is the whole set."""
    export(synth_run, tmp_path / "whole" / "set", form=form)
    out = tmp_path / "killed" / "set"
    command = [
        sys.executable,
        "-m",
        "pixelreasoner",
        "export",
        str(synth_run),
        "--format",
        form,
        "--out",
        str(out),
    ]
    kills = 0
    for tenths in range(5, 600, 7):
        child = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        until = time.monotonic() + tenths / 10
        while child.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        if child.poll() is not None:
            break
        child.send_signal(signal.SIGKILL)
        child.wait()
        kills += 1
        assert not out.exists() or files(out) == files(tmp_path / "whole" / "set")
        if out.exists():
            break
    assert kills
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_the_command_says_what_a_run_has_no_form_for(synth_run: Path, tmp_path: Path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert main(["export", str(synth_run), "--format", "lmms-eval", *out]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "is a run of synth, which has no form lmms-eval" in message
    assert "--format parquet or pixelreasoner-sft or sharegpt" in message
    assert main(["export", str(synth_run), "--format", "sharegpt", "--model", "m", *out]) == 2
    assert "--task and --model are for evaluations" in capsys.readouterr().err
    assert main(["export", str(synth_run), "--format", "sharegpt", "--shard-mb", "5", *out]) == 2
    assert "--format parquet" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_shows_where_the_set_is(synth_run: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    assert main(["export", str(synth_run), "--format", "parquet", "--out", str(out), "--shard-mb", "1"]) == 0
    shown = capsys.readouterr().err
    assert "export 16/16" in shown
    assert str(out / "README.md") in shown
    assert len(list((out / "data").iterdir())) > 1


def test_a_run_that_is_going_on_is_not_exported(synth_run: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(synth_run, run)
    code = "from pixelreasoner.synth.exports.export import export; import sys; from pathlib import Path\n"
    code += "export(Path(sys.argv[1]), Path(sys.argv[2]), form='sharegpt')"
    with locked(run):
        done = subprocess.run(
            [sys.executable, "-c", code, str(run), str(tmp_path / "out")], capture_output=True, text=True
        )
    assert "is still being written" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run_is_named(tmp_path: Path, made: list[Trajectory]):
    with pytest.raises(RecordError, match="holds no trajectories"):
        export(tmp_path, tmp_path / "out", form="parquet")
    (tmp_path / "trajectories.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError):
        export(tmp_path, tmp_path / "out", form="parquet")


def test_the_card_has_the_summary_of_the_run(synth_run: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(synth_run, run)
    (run / "summary.json").write_text(
        json.dumps({"by_source": {"star": 16}, "rejections": {"ocr.no text": 4}, "prompts_version": "7"})
    )
    export(run, tmp_path / "out", form="sharegpt")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "prompts version 7" in text
    assert "4 tries; 80.0% of all tries" in text
    assert "- **star**: the videos are those of Charades" in text
    assert "pixelworld" not in text.partition("## Licences")[2]


def test_the_card_names_the_models_that_were_asked(synth_run: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(synth_run, run)
    section = '\n[{0}.server]\nurl = "http://localhost:1/v1"\nmodel = "a/{0}"\n'
    with (run / "config.toml").open("a") as file:
        file.write(section.format("chat_teacher") + section.format("judge"))
    export(run, tmp_path / "out", form="sharegpt")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "Asked were: teacher `a/chat_teacher`, judge `a/judge`." in text


def test_a_run_that_was_stopped_says_so(synth_run: Path, tmp_path: Path):
    """Its last line may be cut: it is no trajectory."""
    run = tmp_path / "run"
    shutil.copytree(synth_run, run)
    lines = (run / "trajectories.jsonl").read_bytes().splitlines(keepends=True)
    (run / "trajectories.jsonl").write_bytes(b"".join(lines[:5]) + lines[5][:100])
    assert export(run, tmp_path / "out", form="sharegpt") == 5
    assert "5 trajectories of 16 wanted" in (tmp_path / "out" / "README.md").read_text()


def test_no_path_of_the_machine_is_on_the_card(synth_run: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(synth_run, run)
    by_source = {"/home/ann/a/seeds.jsonl": 3, "/home/ann/b/seeds.jsonl": 4, "star": 9}
    (run / "summary.json").write_text(json.dumps({"by_source": by_source}))
    export(run, tmp_path / "out", form="sharegpt")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "/home" not in text
    assert "| seeds.jsonl | 7 |" in text
    assert "- **seeds.jsonl**" in text
