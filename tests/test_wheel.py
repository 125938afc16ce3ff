"""The wheel and the source distribution hold what an installed package needs, and no more."""

from __future__ import annotations

import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pixelreasoner"

pytestmark = pytest.mark.slow


def files_below(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    from hatchling.builders.wheel import WheelBuilder

    [path] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")))
    return zipfile.ZipFile(path)


def test_the_wheel_holds_every_file_of_the_package_and_the_recipes(wheel: zipfile.ZipFile):
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = {f"pixelreasoner/{name}" for name in files_below(PACKAGE)}
    recipes = {f"pixelreasoner/recipes/{name}" for name in files_below(ROOT / "recipes")}
    assert names == package | recipes
    for needed in (
        "py.typed",
        "recipes/nano/eval.toml",
        "viewer/templates/trajectory.html",
        "viewer/templates/notebook.html",
        "viewer/templates/style.css",
        "checkpoints/nano/model.safetensors",
        "checkpoints/nano/chat_template.jinja",
        "samples/samples.jsonl",
        "samples/clip.mp4",
    ):
        assert f"pixelreasoner/{needed}" in names


def test_the_metadata_says_whose_it_is_and_under_what_licence(wheel: zipfile.ZipFile):
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["Author"] == "The pixelreasoner authors"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert {"video", "demo", "data", "math", "lora", "notebooks"} <= set(metadata.get_all("Provides-Extra"))
    assert any(n.endswith("licenses/LICENSE") for n in wheel.namelist())


def test_the_source_distribution_holds_what_builds_and_tests_it(tmp_path: Path):
    from hatchling.builders.sdist import SdistBuilder

    [path] = SdistBuilder(str(ROOT)).build(directory=str(tmp_path))
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("src", "recipes", "tests", "examples", "docs", "benchmarks"):
        expected = {f"{folder}/{name}" for name in files_below(ROOT / folder)}
        assert expected <= names, folder
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CITATION.cff",
        "CHANGELOG.md",
        "constraints.txt",
    } <= names
