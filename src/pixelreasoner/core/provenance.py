"""What made a result: the machine, the commit and the versions of what computed it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pixelreasoner import __version__

PACKAGES = ("torch", "transformers", "numpy", "pillow")
"""Packages whose version may change a figure."""


def provenance() -> dict[str, str]:
    """Return the machine, the commit (where this runs from a git checkout) and versions, to be shown."""
    found = {
        "version": __version__,
        "commit": commit(),
        "machine": f"{processor()}, {os.cpu_count()} cores{_memory()}",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {v}" for name in PACKAGES if (v := package_version(name)) is not None),
    }
    return {name: value for name, value in found.items() if value}


def processor() -> str:
    """Return the name of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def package_version(package: str) -> str | None:
    """Return the version of an installed package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit(root: Path = Path(__file__).parents[3]) -> str:
    """Return the commit of a checkout, and whether files differ from it; empty without a checkout."""
    if not (root / ".git").exists():
        return ""
    name = _git(root, "rev-parse", "--short=12", "HEAD")
    changed = name and _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{name} with changes" if changed else name


def _git(root: Path, *arguments: str) -> str:
    """Return what git prints; empty where it fails or is not installed."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _memory() -> str:
    """Return the machine's memory, with a comma before it; empty where the system does not tell."""
    try:
        n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return ""
    return f", {n_bytes / 2**30:.0f} GiB"
