"""What a recipe may say about its tasks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field

from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import ConfigError, RecordError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import save_image
from pixelreasoner.core.recipe import load_recipe, save_resolved
from pixelreasoner.core.records import write_tasks
from pixelreasoner.core.task import Task
from pixelreasoner.tasks.config import TasksConfig, build_tasks
from pixelreasoner.tasks.pixelworld import PixelWorld
from seed_files import make_sa_1b


class Recipe(Config):
    tasks: TasksConfig = Field(default_factory=TasksConfig)


@pytest.fixture
def twelve(jsonl) -> Path:
    """Twelve tasks: kind a or b in turn, every third needs an operation."""
    rows = [
        {"id": f"t{i}", "question": "Q?", "answers": "K", "kind": "ab"[i % 2], "needs_operation": i % 3 == 0}
        for i in range(12)
    ]
    return jsonl(*rows)


def built(path: Path, *, endless: bool = False, **fields) -> list[str]:
    source = build_tasks(TasksConfig(source=str(path), **fields), endless=endless)
    return [t.id for t in source.take(0, 100 if source.size is not None else 24)]


def test_by_default_tasks_are_pixelworlds():
    assert list(build_tasks(TasksConfig()).take(4, 1)) == list(PixelWorld().tasks("train", 1, start=4))


def test_filters(twelve: Path):
    assert built(twelve, kinds=("a",), needs_operation=True) == ["t0", "t6"]
    assert built(twelve, kinds=("a", "b"), needs_operation=True) == ["t0", "t3", "t6", "t9"]
    with pytest.raises(ConfigError, match="no task of kind 'c' here; the kinds are a, b"):
        built(twelve, kinds=("c",))


def test_nothing_left_is_said(jsonl):
    path = jsonl({"question": "Q?", "kind": "a", "needs_operation": True})
    with pytest.raises(ConfigError, match=r"nothing of .* is left; check split, kinds and needs_operation"):
        built(path, needs_operation=False)


def test_a_limit_counts_after_the_filters(twelve: Path):
    assert built(twelve, limit=2) == ["t0", "t1"]
    assert built(twelve, kinds=("b",), limit=2) == ["t1", "t3"]
    assert built(twelve, limit=99) == [f"t{i}" for i in range(12)]


def test_shuffled(twelve: Path):
    once = built(twelve, shuffle=3)
    assert sorted(once) == sorted(built(twelve))
    assert once == built(twelve, shuffle=3) != built(twelve)
    assert built(twelve, shuffle=3, limit=4) == once[:4]


def test_for_training_a_file_repeats_in_another_order_each_epoch(twelve: Path):
    tasks = built(twelve, shuffle=3, endless=True)
    assert tasks[:12] == built(twelve, shuffle=3)
    assert sorted(tasks[:12]) == sorted(tasks[12:])
    assert tasks[:12] != tasks[12:]
    assert built(twelve, endless=True) == built(twelve) * 2
    assert set(built(twelve, limit=5, shuffle=1, endless=True)) == set(built(twelve, limit=5, shuffle=1))


def test_an_endless_source_is_limited_and_never_shuffled():
    assert build_tasks(TasksConfig(limit=7)).size == 7
    with pytest.raises(ConfigError, match="'pixelworld' has no end; leave it out, or set a limit"):
        build_tasks(TasksConfig(shuffle=0))


def test_a_mixture_from_a_recipe(twelve: Path, tmp_path: Path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f"""
        [tasks]
        kinds = ["a"]
        [[tasks.mixture]]
        weight = 0.75
        tasks = {{ source = "{twelve}", kinds = ["a"] }}
        [[tasks.mixture]]
        weight = 0.25
        tasks = {{ source = "{twelve}", needs_operation = true }}
        """
    )
    config = load_recipe(Recipe, recipe)
    assert load_recipe(Recipe, save_resolved(config, tmp_path / "out")) == config
    source = build_tasks(config.tasks)
    assert source.size is None
    tasks = list(source.take(0, 8))
    assert {t.kind for t in tasks} == {"a"}
    # The second part's tasks of kind a that need an operation are t0 and t6; each comes once in two.
    assert Counter(t.id for t in tasks)["t0"] == 1 + 1
    assert build_tasks(config.tasks.model_copy(update={"limit": 5})).size == 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "chess"}, "no task source 'chess'; the registered ones are .*pixelworld"),
        ({"options": {"speed": 1}}, "options of the task source 'pixelworld': 'speed'"),
        ({"source": f"{__name__}:unwanted", "options": {"x": 1}}, "cannot be called with the options"),
        ({"source": "gone.jsonl", "options": {"seed": 1}}, "'seed' is no option of a task file"),
        ({"source": "gone.jsonl", "options": {"n_frames": 0}}, "n_frames: 0"),
        ({"source": "gone.jsonl", "options": {"columns": {"id": 3}}}, "columns: give a table"),
    ],
)
def test_mistakes(fields, message):
    with pytest.raises(ConfigError, match=message):
        build_tasks(TasksConfig(**fields))


def unwanted(*, split):
    raise AssertionError


def test_a_file_that_is_not_there():
    with pytest.raises(RecordError, match=r"gone\.jsonl does not exist"):
        build_tasks(TasksConfig(source="gone.jsonl"))


def test_a_file_beside_the_recipe_is_found(twelve: Path, tmp_path: Path):
    assert build_tasks(TasksConfig(source=twelve.name), base_dir=tmp_path).size == 12


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("source = 'a.jsonl'", "'source' beside a mixture says nothing"),
        ("shuffle = 0", "'shuffle' beside a mixture says nothing"),
    ],
)
def test_a_mixture_stands_alone(table, message, tmp_path: Path):
    path = tmp_path / "r.toml"
    path.write_text(f"[tasks]\n{table}\n[[tasks.mixture]]\nweight = 1\ntasks = {{}}\n")
    with pytest.raises(ConfigError, match=message):
        load_recipe(Recipe, path)


def test_a_mixture_of_mixtures_is_refused():
    inner = {"mixture": [{"weight": 1, "tasks": {}}]}
    with pytest.raises(ValueError, match="multiply the weights"):
        TasksConfig.model_validate({"mixture": [{"weight": 1, "tasks": inner}]})


class TestSeeds:
    """Tasks without questions are given to synthesis alone."""

    @pytest.fixture(params=["sa-1b", "media-folder", "a file", "a file of records"])
    def config(self, request, tmp_path: Path) -> TasksConfig:
        match request.param:
            case "sa-1b":
                make_sa_1b(tmp_path, 2, shards=1)
                return TasksConfig(source="sa-1b", options={"path": str(tmp_path)})
            case "media-folder":
                save_image(Picture(np.zeros((8, 8, 3), np.uint8)), tmp_path / "a.png")
                return TasksConfig(source="media-folder", options={"path": str(tmp_path)})
            case "a file":
                save_image(Picture(np.zeros((8, 8, 3), np.uint8)), tmp_path / "a.png")
                (tmp_path / "seeds.jsonl").write_text('{"images": "a.png"}\n')
            case _:
                seed = Task("a", "", (Picture(np.zeros((8, 8, 3), np.uint8)),), (), split="train")
                write_tasks(tmp_path / "seeds.jsonl", [seed])
        return TasksConfig(source=str(tmp_path / "seeds.jsonl"))

    def test_who_wants_them_gets_them(self, config: TasksConfig):
        for part in (config, TasksConfig(mixture=({"weight": 1, "tasks": config},))):
            (task,) = build_tasks(part, seeds=True).take(0, 1)
            assert task.is_seed
            assert task.media

    def test_all_others_are_told_what_they_are_for(self, config: TasksConfig):
        for part in (config, TasksConfig(mixture=({"weight": 1, "tasks": config},))):
            for endless in (False, True):
                with pytest.raises(
                    (ConfigError, RecordError), match="seeds: `pixelreasoner synth` writes questions"
                ):
                    build_tasks(part, endless=endless)
