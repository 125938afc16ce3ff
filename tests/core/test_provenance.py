"""Rules of what a result says of its making: the commit of a checkout, the version without one."""

import subprocess
from pathlib import Path

from pixelreasoner import __version__
from pixelreasoner.core.provenance import commit, package_version, processor, provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_a_checkout_has_a_commit_and_says_when_files_differ_from_it(tmp_path: Path):
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "a run's folder").mkdir()
    assert commit(tmp_path) == head[:12]
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path) == f"{head[:12]} with changes"


def test_what_is_no_checkout_has_no_commit(tmp_path: Path, monkeypatch):
    assert commit(tmp_path) == ""
    (tmp_path / ".git").mkdir()
    assert commit(tmp_path) == "", "git knows no commit there"
    monkeypatch.setenv("PATH", "")
    assert commit(tmp_path) == "", "there is no git"


def test_provenance_names_machine_and_versions():
    found = provenance()
    assert found["version"] == __version__
    assert processor() in found["machine"]
    assert f"torch {package_version('torch')}" in found["packages"]
    assert package_version("no-such-package") is None
    assert all(found.values())
