"""Rules of the command `overlap`: what it writes, and its exit code."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelreasoner.cli.main import main


@pytest.fixture
def sets(tmp_path: Path) -> tuple[str, str]:
    """Two task files that share one picture, as a PNG and scaled."""
    rng = np.random.default_rng(0)
    photos = [Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((256, 192)) for _ in range(3)]
    for name, number, size in (("a", 0, 256), ("b", 1, 256), ("c", 2, 256), ("d", 0, 128)):
        photos[number].resize((size, size * 3 // 4)).save(tmp_path / f"{name}.png")
    for name, images in (("train", "ab"), ("bench", "cd")):
        rows = [{"question": f"What is in {i}?", "images": [f"{i}.png"], "answers": ["x"]} for i in images]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "train.jsonl"), str(tmp_path / "bench.jsonl")


def test_the_copy_is_printed_written_and_shown(
    sets: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out, page = tmp_path / "out" / "overlap.json", tmp_path / "out" / "page.html"
    assert main(["overlap", *sets, "--json", str(out), "--html", str(page)]) == 0
    assert "1 of 2 tasks of B overlap with A" in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert report["found"] == {"exact": 0, "near": 1, "name": 0, "question": 0, "any": 1}
    text = page.read_text()
    assert text.count("<img ") == 2
    sizes = {file.stem.split("-")[1] for file in (tmp_path / "out" / "page_files").iterdir()}
    assert sizes == {"256x192", "128x96"}


def test_strict_ends_with_1_where_tasks_overlap_and_with_0_where_none_does(sets: tuple[str, str]):
    with pytest.raises(SystemExit) as ended:
        main(["overlap", *sets, "--strict"])
    assert ended.value.code == 1
    assert main(["overlap", *sets, "--strict", "--limit", "1"]) == 0


def test_a_source_that_is_not_there_is_a_mistake_of_the_users(capsys: pytest.CaptureFixture[str]):
    assert main(["overlap", "nothing.jsonl", "pixelworld", "--limit", "2"]) == 2
    assert "nothing.jsonl" in capsys.readouterr().err
