"""Registered names and `package.module:object`."""

from pathlib import Path

import pytest

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.registry import Registry, check_call

PARTS = Registry("number", {"pi": "math:pi", "lost": "math:lost"})


def test_a_registered_name():
    assert PARTS.find("pi") == pytest.approx(3.14159, abs=1e-5)


def test_a_module_and_an_object():
    assert PARTS.find("math:e") == pytest.approx(2.71828, abs=1e-5)


def test_a_file_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "numbers_of_mine.py").write_text("class Box:\n    seven = 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert PARTS.find("numbers_of_mine:Box.seven") == 7


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tau", r"no number 'tau'; the registered ones are lost, pi"),
        ("math", "package.module:object"),
        (":pi", "package.module:object"),
        ("no_such_module:x", "no module no_such_module here"),
        ("math.deep:x", "no module math.deep|cannot be imported"),
        ("math:tower", "has no 'tower'"),
        ("lost", "has no 'lost'"),
    ],
)
def test_what_is_not_there_is_said(name: str, message: str):
    with pytest.raises(ConfigError, match=message):
        PARTS.find(name)


def test_a_missing_import_within_a_module_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "needs_more.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="needs_more cannot be imported: No module named 'not_installed"):
        PARTS.find("needs_more:x")


def takes(number: int, *, scale: float = 1.0) -> float:
    return number * scale


def test_how_a_part_is_called_is_checked_without_calling_it():
    check_call("number 'mine'", takes, 1, scale=2.0)
    check_call("number 'mine'", dict, (), a=1)
    with pytest.raises(ConfigError, match=r"number 'mine' cannot be called with the options .*'size'"):
        check_call("number 'mine'", takes, 1, size=2.0)
    with pytest.raises(ConfigError, match="neither a function nor a class"):
        check_call("number 'mine'", 3)
