"""One folder holds one run."""

from pathlib import Path

import pytest

from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import CheckpointError, ConfigError
from pixelreasoner.core.recipe import load_recipe
from pixelreasoner.core.run_folder import CONFIG_FILE, open_run, starting


class Inner(Config):
    b: tuple[int, ...] = (1, 2)
    c: float | None = None


class Example(Config):
    out: Path = Path("x")
    a: int = 1
    inner: Inner = Inner()
    workers: int = 1


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
    with pytest.raises(ConfigError, match=r"differs from the recipe given in a, inner;"):
        open_run(tmp_path, Example(a=2, inner=Inner(c=0.5)), resume=True)


def test_what_changes_no_result_may_differ(tmp_path: Path):
    open_run(tmp_path, Example(), resume=False)
    open_run(tmp_path, Example(workers=8), resume=True, free=("workers",))


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path):
    (tmp_path / "plain").write_text("")
    with pytest.raises(ConfigError, match=r"plain.* cannot be written"):
        open_run(tmp_path / "plain" / "run", Example(), resume=False)
