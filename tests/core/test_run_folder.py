"""One folder holds one run."""

import sys
from pathlib import Path
from typing import Annotated

import pytest

from disk import full_disk
from pixelreasoner.core.config import MAY_CHANGE, Config
from pixelreasoner.core.errors import CheckpointError, ConfigError
from pixelreasoner.core.files import left_name
from pixelreasoner.core.recipe import load_recipe
from pixelreasoner.core.run_folder import CONFIG_FILE, keep_config, open_run, starting


class Inner(Config):
    b: tuple[int, ...] = (1, 2)
    c: float | None = None
    every: Annotated[int, MAY_CHANGE] = 5


class Example(Config):
    out: Annotated[Path, MAY_CHANGE] = Path("x")
    a: int = 1
    inner: Inner = Inner()
    log: Annotated[Inner, MAY_CHANGE] = Inner()
    workers: Annotated[int, MAY_CHANGE] = 1


def test_a_recipe_that_turns_out_wrong_does_not_keep_the_folder(tmp_path):
    folder = open_run(tmp_path / "run", Example(a=1), resume=False)
    with pytest.raises(CheckpointError), starting(folder):
        raise CheckpointError("no checkpoint there")
    folder = open_run(tmp_path / "run", Example(a=2), resume=False)
    folder.metrics.write_text("{}")
    with pytest.raises(CheckpointError), starting(folder):
        raise CheckpointError("a result is there: the folder stays taken")
    with pytest.raises(ConfigError, match="already holds a run"):
        open_run(tmp_path / "run", Example(a=2), resume=False)


def test_a_new_folder_gets_the_resolved_configuration(tmp_path: Path):
    folder = open_run(tmp_path / "deep" / "run", Example(a=3), resume=False)
    assert load_recipe(Example, folder.path / CONFIG_FILE) == Example(a=3)
    assert sorted(p.name for p in folder.path.iterdir()) == [CONFIG_FILE]


def test_resume_of_nothing_starts_afresh(tmp_path: Path):
    assert open_run(tmp_path / "run", Example(), resume=True).state == tmp_path / "run" / "state.pt"


def test_a_second_run_is_refused(tmp_path: Path):
    open_run(tmp_path, Example(), resume=False)
    with pytest.raises(ConfigError, match="already holds a run; go on with --resume"):
        open_run(tmp_path, Example(), resume=False)
    open_run(tmp_path, Example(), resume=True)


def test_another_configuration_is_refused_and_named(tmp_path: Path):
    open_run(tmp_path, Example(), resume=False)
    with pytest.raises(ConfigError) as e:
        open_run(tmp_path, Example(a=2, inner=Inner(b=(3,), c=0.5, every=9)), resume=True)
    assert "differs from the recipe given in a (it was 1, and is now 2)" in str(e.value)
    assert "inner.b (it was [1, 2], and is now [3])" in str(e.value)
    assert "inner.c (it was not set, and is now 0.5)" in str(e.value)
    assert "every" not in str(e.value), "what may change is not in the way"
    assert load_recipe(Example, tmp_path / CONFIG_FILE) == Example()


def test_what_is_marked_may_differ_and_is_kept(tmp_path: Path):
    """A field, a field of a section, a whole section, the place of a folder that was moved."""
    open_run(tmp_path, Example(), resume=False)
    other = Example(out=tmp_path, workers=8, inner=Inner(every=9), log=Inner(b=(7,), c=1.0))
    folder = open_run(tmp_path, other, resume=True)
    assert load_recipe(Example, tmp_path / CONFIG_FILE) == Example(), (
        "the run may yet turn out unable to go on"
    )
    keep_config(folder, other)
    assert load_recipe(Example, tmp_path / CONFIG_FILE) == other


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path):
    (tmp_path / "plain").write_text("")
    with pytest.raises(ConfigError, match=r"plain.* cannot be written"):
        open_run(tmp_path / "plain" / "run", Example(), resume=False)


def test_results_without_a_configuration_are_not_taken_for_ones_own(tmp_path: Path):
    """An evaluation would have appended to them, and counted them."""
    (tmp_path / "trajectories.jsonl").write_text("{}\n")
    for resume in (False, True):
        with pytest.raises(ConfigError, match=r"holds results, and no config\.toml.*choose another --out"):
            open_run(tmp_path, Example(), resume=resume)
    assert (tmp_path / "trajectories.jsonl").read_text() == "{}\n"


@pytest.mark.parametrize("resume", [False, True])
def test_a_start_that_a_kill_or_a_power_cut_ended_can_be_given_again(tmp_path: Path, resume: bool):
    (tmp_path / CONFIG_FILE).touch()  # a power cut may leave a name without content
    left = [left_name(tmp_path / name) for name in (CONFIG_FILE, "media/0.png", "checkpoints/step-000001")]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    folder = open_run(tmp_path, Example(a=2), resume=resume)
    assert load_recipe(Example, folder.path / CONFIG_FILE) == Example(a=2)
    assert not any(path.exists() for path in left)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_start_on_a_full_disk_leaves_nothing_in_the_way(tmp_path: Path):
    with full_disk(0), pytest.raises(ConfigError, match=r"config\.toml cannot be written: the disk is full"):
        open_run(tmp_path, Example(), resume=False)
    assert list(tmp_path.iterdir()) == []
    open_run(tmp_path, Example(), resume=False)
