"""What `demo` says before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelreasoner.cli.main import main


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nowhere", "nowhere cannot be read: No such file or directory"),
        ("plain", "plain cannot be read: Not a directory"),
        ("empty", "no images in"),
    ],
)
def test_photographs_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str], place, words):
    """Case C16: one line, and nothing is written that would keep the folder."""
    (tmp_path / "plain").write_text("")
    (tmp_path / "empty").mkdir()
    assert main(["demo", "--out", str(tmp_path / "out"), "--photos", str(tmp_path / place)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
