"""Registered names and `package.module:object`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

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


@dataclass
class Part:
    side: Annotated[int, Field(ge=1, le=9)] = 1
    share: float = 0.5
    name: str | None = None
    other: "NoSuchType | None" = None  # noqa: F821  # pyright: ignore[reportUndefinedVariable]


def judged(text: str, *, tolerance: Annotated[float, Field(ge=0, le=1)] = 0.1, loud: bool = False) -> float:
    return tolerance


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tolerance": 1.5}, "'tolerance' cannot be 1.5: input should be less than or equal to 1"),
        ({"tolerance": float("nan")}, "'tolerance' cannot be nan: input should be a finite number"),
        ({"tolerance": "much"}, "'tolerance' cannot be 'much'"),
        ({"tolerance": True}, "'tolerance' cannot be True"),
        ({"loud": 1}, "'loud' cannot be 1"),
    ],
)
def test_an_option_is_what_the_parameter_says(options, words):
    check_call("scorer 'mine'", judged, "", tolerance=1, loud=True)
    with pytest.raises(ConfigError) as e:
        check_call("scorer 'mine'", judged, "", **options)
    assert f"scorer 'mine': the option {words}" in str(e.value)


def test_the_fields_of_a_class_are_its_options():
    """A type that is not known at run time leaves the others of its class unchecked, and is no error."""
    check_call("part", Part, side=0)
    Part.__annotations__.pop("other")
    for wrong in ({"side": 0}, {"side": 2.5}, {"share": "half"}, {"name": 3}):
        with pytest.raises(ConfigError, match=f"part: the option '{next(iter(wrong))}' cannot be"):
            check_call("part", Part, **wrong)
    check_call("part", Part, side=9, share=1, name="x")
