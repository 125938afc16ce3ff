"""The notebooks: valid, executed, small, and they run on the embedded model outside of the checkout."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"
NAMES = ("asking", "own_operation_and_reward", "reading_a_run")
MAX_BYTES = 500_000


def read(name: str) -> dict[str, Any]:
    return json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))


def code_cells(name: str) -> list[dict[str, Any]]:
    return [cell for cell in read(name)["cells"] if cell["cell_type"] == "code"]


def test_these_are_all():
    assert sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_notebook_of_the_present_format(name: str):
    data = read(name)
    assert (data["nbformat"], data["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in data["cells"]]
    assert len(set(ids)) == len(ids)
    assert {cell["cell_type"] for cell in data["cells"]} == {"markdown", "code"}
    assert data["cells"][0]["source"][0].startswith("# ")


@pytest.mark.parametrize("name", NAMES)
def test_its_cells_compile(name: str):
    for cell in code_cells(name):
        text = "".join(cell["source"])
        if match := re.match(r"%%writefile (\S+)\n", text):
            text = text[match.end() :]
            if match[1].endswith(".toml"):
                assert tomllib.loads(text)
                continue
        ast.parse(text)


@pytest.mark.parametrize("name", NAMES)
def test_it_was_executed_in_order_without_an_error(name: str):
    cells = code_cells(name)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert len(outputs) >= len(cells) // 2
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result", "display_data"}
    # A warning on stderr is nothing to show.
    assert [output["name"] for output in outputs if output["output_type"] == "stream"].count("stderr") == 0


@pytest.mark.parametrize("name", NAMES)
def test_its_outputs_are_small_and_name_no_folder_of_ours(name: str):
    text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    assert len(text) < MAX_BYTES
    without_pictures = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    assert re.findall(r"/(?:tmp|root|home|work)/\S*", without_pictures) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_in_an_empty_folder(name: str, tmp_path: Path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    shown = [len(cell.outputs) > 0 for cell in notebook.cells if cell.cell_type == "code"]
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [len(cell.outputs) > 0 for cell in notebook.cells if cell.cell_type == "code"] == shown
