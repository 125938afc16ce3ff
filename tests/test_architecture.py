"""The shape of the code base: small files, small functions, a command line that answers at once."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
FILES = sorted(SRC.rglob("*.py"))
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 80


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_files_and_functions_are_small(path: Path):
    source = path.read_text()
    assert len(source.splitlines()) <= MAX_FILE_LINES
    functions = [
        n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = [f.name for f in functions if (f.end_lineno or f.lineno) - f.lineno + 1 > MAX_FUNCTION_LINES]
    assert long == []


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SRC)!r})\n{code}"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


HELP = """
from pixelreasoner.cli.main import main
try:
    main(["--help"])
except SystemExit as e:
    assert e.code == 0, e.code
"""


def test_help_imports_nothing_heavy():
    heavy = ("torch", "transformers", "numpy", "PIL", "matplotlib", "jinja2")
    out = run_python(HELP + f"print('heavy:', [m for m in {heavy!r} if m in sys.modules])")
    assert "heavy: []" in out
    for command in (
        "demo",
        "ask",
        "runs",
        "plot",
        "show",
        "render",
        "tasks",
        "synth",
        "pretrain",
        "sft",
        "rl",
        "eval",
    ):
        assert command in out


def test_importing_the_package_imports_nothing_heavy():
    assert run_python("import pixelreasoner; print('numpy' in sys.modules)").strip() == "False"


def test_help_takes_under_a_second():
    def seconds() -> float:
        before = os.times()
        run_python(HELP)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    # The processor's seconds, not the clock's, and the best of three: the machine may be busy otherwise.
    assert min(seconds() for _ in range(3)) < 1.0
