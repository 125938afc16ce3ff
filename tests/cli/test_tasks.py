"""Rules of `tasks`: every row is looked at, what is wrong is named, the rest can be converted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pixelreasoner.cli.main import main
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import save_image
from pixelreasoner.tasks.datasets.sa_1b import sa_1b
from pixelreasoner.tasks.files import open_task_file
from seed_files import make_sa_1b
from tasks.datasets.conftest import put, write_json
from tasks.datasets.test_pixelreasoner_rl import ROWS, row


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_image(Picture(np.zeros((8, 8, 3), np.uint8)), tmp_path / "a.png")
    rows = [
        {"id": "one", "question": "How many?", "answers": 3, "images": "a.png", "kind": "count"},
        {"id": "two", "question": "Which letter?", "answers": "K", "needs_operation": True},
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def add(file: Path, *rows: object) -> None:
    with file.open("a") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


def test_a_good_file_is_counted_and_shown(file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["tasks", str(file), "--show", "1"]) == 0
    out = capsys.readouterr().out
    assert "How many?" in out
    assert "Answer 3" in out
    assert "Which letter?" not in out
    lines = [line.split() for line in out.splitlines()]
    # kind, tasks, needing an operation, cues, images, videos, without an answer
    assert ["count", "1", "0", "0", "1", "0", "0", "3", "(1)"] in lines
    assert ["open", "1", "1", "0", "0", "0", "0", "K", "(1)"] in lines


def test_every_wrong_row_is_named_and_the_others_are_converted(file: Path, tmp_path: Path, capsys):
    add(
        file,
        {"id": "three", "question": "Q?", "images": "gone.png"},
        {"question": "Q?", "answr": "K"},
        {"id": "two", "question": "Again?"},
        {"id": "six", "question": "How many?", "answers": ["3", "a few"], "scorer": "integer"},
    )
    out = tmp_path / "good.jsonl"
    assert main(["tasks", str(file), "--convert", str(out)]) == 2
    said = capsys.readouterr()
    assert "mine.jsonl, line 3: images[0]: " in said.out
    assert "mine.jsonl, line 4: answr: unknown field; did you mean 'answers'?" in said.out
    assert "task two: another task has the same id" in said.out
    assert "task six: its own answer 'a few' scores 0, not 1" in said.out
    assert "4 of 6 tasks cannot be used as they are" in said.err
    assert [t.id for t in open_task_file(out).take(0, 9)] == ["one", "two"]


def test_an_unknown_scorer_of_a_row_is_named_with_its_line(file: Path, capsys):
    add(file, {"question": "Q?", "answers": "K", "scorer": "vibes"})
    assert main(["tasks", str(file)]) == 2
    assert "mine.jsonl, line 3: scorer: there is no scorer 'vibes'" in capsys.readouterr().out


def test_tasks_without_reference_answers_are_counted_in_a_line(file: Path, capsys):
    assert main(["tasks", str(file)]) == 0
    assert "no reference answers" not in capsys.readouterr().out
    add(file, {"question": "What?"}, {"question": "Why?"})
    assert main(["tasks", str(file)]) == 0
    assert "2 of 4 tasks have no reference answers: `eval` and `rl` give 0" in capsys.readouterr().out


def test_what_a_file_holds_is_shown_and_not_obeyed(file: Path, capsys):
    add(
        file, {"id": "a\x1b[2J", "question": "\x1b]0;x\x07?", "answers": ["[/b]\r", "K"], "kind": "[red]\x9b"}
    )
    assert main(["tasks", str(file), "--show", "9"]) == 0
    said = capsys.readouterr().out
    assert "␛]0;x␇?" in said
    assert "a␛[2J" in said
    assert "[red]\\x9b" in said
    assert not set(said) & set("\x1b\x07\r\x9b")


def test_the_scorer_of_the_run_can_be_tried(file: Path, capsys):
    assert main(["tasks", str(file), "--scorer", "integer"]) == 2
    assert "'K' scores 0" in capsys.readouterr().out


def test_a_page_of_tasks(file: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    assert main(["tasks", str(file), "--html", str(page)]) == 0
    assert "How many?" in page.read_text()
    (picture,) = (tmp_path / "page_files").glob("*.png")
    assert picture.name in page.read_text()


def test_an_endless_source_is_looked_at_up_to_the_limit(capsys):
    assert main(["tasks", "pixelworld", "--limit", "5", "--show", "0"]) == 0
    assert capsys.readouterr().out.count("(1)") == 5


@pytest.mark.parametrize(
    ("source", "message"), [("gone.jsonl", "does not exist"), ("chess", "no task source 'chess'")]
)
def test_a_source_that_is_not_there(source: str, message: str, capsys):
    assert main(["tasks", source]) == 2
    assert message in capsys.readouterr().err


class TestDataSets:
    """A data set is looked through by its name, its folder, one of its files, or a recipe."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        put(tmp_path / "rl", "images/a.png", "images/b.png")
        gone = row("x", "Q?", ["images/gone.png"], "1")
        write_json(tmp_path / "rl" / "rows.json", [*ROWS[:2], gone, row("y", "Q?", ["images/a.png"])])
        return tmp_path / "rl"

    @pytest.mark.parametrize("way", ["name", "folder", "file"])
    def test_counts_sizes_forms_and_what_is_left_out(self, folder: Path, way: str, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        arguments = {
            "name": ["pixelreasoner-rl", "--path", str(folder)],
            "folder": [str(folder)],
            "file": [str(folder / "rows.json")],
        }[way]
        assert main(["tasks", *arguments]) == 0
        out = capsys.readouterr().out
        lines = [line.split() for line in out.splitlines()]
        assert ["image", "2", "0", "0", "2", "0", "0", "B", "(1),", "12", "(1)"] in lines
        assert ["image", "6x4", "6x4", "0.00"] in lines
        assert "4 rows, 2 left out; answers: letter 1, number 1\n1 row left out: a file" in out
        assert "  rows.json, row 3: images/gone.png" in out
        assert "1 row left out: no answer\n  rows.json, row 4" in out
        assert max(map(len, out.splitlines())) <= 80

    def test_each_part_of_a_recipe(self, folder: Path, file: Path, capsys):
        recipe = folder / "mine-rl.toml"
        recipe.write_text(
            "[[tasks.mixture]]\nweight = 3\n"
            f'tasks = {{ source = "pixelreasoner-rl", split = "train", options = {{ path = "{folder}" }} }}\n'
            f'[[tasks.mixture]]\nweight = 1\ntasks = {{ source = "{file}" }}\n'
        )
        assert main(["tasks", str(recipe), "--show", "1", "--convert", str(folder / "all.jsonl")]) == 0
        out = capsys.readouterr().out
        assert "75% pixelreasoner-rl" in out
        assert "25% " in out
        assert "2 left out" in out
        assert open_task_file(folder / "all.jsonl").size == 4

    def test_a_shipped_recipe_with_the_data_elsewhere(self, folder: Path, capsys):
        assert main(["tasks", "qwen2_5_vl_7b/rl", "--path", str(folder), "--show", "0"]) == 0
        assert "4 rows, 2 left out" in capsys.readouterr().out
        assert main(["tasks", "qwen2_5_vl_7b/sft"]) == 2
        assert "has no section [tasks]" in capsys.readouterr().err

    def test_a_recipe_that_relies_on_the_defaults_of_its_command(self, capsys):
        assert main(["tasks", "nano/eval", "--limit", "5", "--show", "1"]) == 0
        assert "attribute" in capsys.readouterr().out

    def test_a_recipe_with_a_benchmark(self, tmp_path: Path, capsys):
        recipe = tmp_path / "mine.toml"
        recipe.write_text('benchmark = "pixelworld-test"\nbenchmark_options = { seed = 1 }\n')
        assert main(["tasks", str(recipe), "--limit", "5", "--show", "1"]) == 0
        assert "attribute" in capsys.readouterr().out

    def test_a_folder_of_something_else(self, tmp_path: Path, capsys):
        (tmp_path / "a.txt").write_text("")
        assert main(["tasks", str(tmp_path)]) == 2
        assert (
            "holds no data set that is known here (pixelreasoner-rl, infographicvqa, "
            in capsys.readouterr().err
        )

    def test_seeds_are_shown_and_converted(self, tmp_path: Path, capsys):
        make_sa_1b(tmp_path / "sa", 3, shards=1)
        page, file = tmp_path / "p.html", tmp_path / "seeds.jsonl"
        assert main(["tasks", str(tmp_path / "sa"), "--show", "1", "--convert", str(file)]) == 0
        out = capsys.readouterr().out
        assert "The question is still to be written." in out
        assert "Seed, 4 candidate regions   sa_1" in out
        assert "3 of 3 tasks have no question; tasks without a question are seeds" in out.replace("\n", " ")
        assert "3 pictures, 0 left out\n" in out
        assert "no reference answers" not in out
        assert main(["tasks", str(file), "--show", "1", "--html", str(page)]) == 0
        assert page.read_text().count('class="mark cue') == 4
        assert list(open_task_file(file, seeds=True).take(0, 9)) == list(
            sa_1b(split="train", path=str(tmp_path / "sa")).take(0, 9)
        )

    def test_a_folder_of_pictures(self, tmp_path: Path, capsys):
        put(tmp_path, "a.png", "in/b.png")
        assert main(["tasks", str(tmp_path), "--show", "0"]) == 0
        assert "2 of 2 tasks have no question" in capsys.readouterr().out
