"""The table of ablations: the recipes take every change, and what is finished is not done again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.recipe import find_recipe, load_recipe
from pixelreasoner.evals.run import EvalConfig
from pixelreasoner.nano import ablations, pipeline
from pixelreasoner.nano.ablations import ABLATIONS, Ablation, ablation_table, interval
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.train.rl import RLConfig


@pytest.mark.parametrize("name", ABLATIONS)
def test_the_recipes_take_every_change(name: str):
    of_synth, of_rl = (find_recipe(Path(f"nano/{recipe}")) for recipe in ("synth", "rl"))
    changed = (
        load_recipe(SynthConfig, of_synth, ABLATIONS[name].synth),
        load_recipe(RLConfig, of_rl, ABLATIONS[name].rl),
    )
    shipped = load_recipe(SynthConfig, of_synth), load_recipe(RLConfig, of_rl)
    # An ablation may name what is shipped, so that the table stays whole when a default changes.
    assert changed != shipped or name in {"full", "no_warm_start", "scale_std"}


def test_an_interval_by_hand():
    """Of 10, 20, 30: mean 20, sample deviation 10, t(0.975, 2) = 4.3027, so 4.3027 * 10 / sqrt(3) = 24.84."""
    assert interval([10, 20, 30]) == "20.0 ± 24.8"
    assert interval([50]) == "50.0"


def summary(accuracy: float) -> dict:
    shares = {"all": accuracy, "needs_operation": 0.5}
    return {"accuracy": shares, "rapr": shares, "op_error_rate": 0.25}


def test_the_table_has_a_row_per_ablation():
    table = ablation_table({"full": [summary(0.75)], "no_replay": [summary(0.5)]}, [3])
    assert table.splitlines() == [
        "| % (seeds 3) | accuracy | where needed | RaPR | RaPR where needed | failed operations |",
        "| --- | --- | --- | --- | --- | --- |",
        "| as shipped | 75.0 | 50.0 | 75.0 | 50.0 | 25.0 |",
        "| no replay | 50.0 | 50.0 | 50.0 | 50.0 | 25.0 |",
    ]


def test_an_unknown_name_lists_the_known(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"no ablation no_reward; there are: full, no_curiosity"):
        ablations.run(out=tmp_path, names=["no_reward"], seeds=[0])


def test_what_is_finished_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny = ("steps=1", "tasks_per_step=2", "group_size=2", "interaction.sampling.max_tokens=8")
    monkeypatch.setitem(ABLATIONS, "tiny", Ablation("tiny", rl=tiny, warm_start=False))
    shipped = pipeline.load_recipe
    few = ("n=10", "batch_size=10", "interaction.sampling.max_tokens=8")
    monkeypatch.setattr(
        pipeline,
        "load_recipe",
        lambda cls, path, changes: shipped(cls, path, (*changes, *few) if cls is EvalConfig else changes),
    )
    ablations.run(out=tmp_path, names=["tiny"], seeds=[0])
    made = tmp_path / "seed0" / "tiny"
    assert (made / "model" / "config.json").is_file()
    found = json.loads((made / "summary.json").read_text())
    assert found["n"] == 10
    first = (tmp_path / "table.md").read_text()
    monkeypatch.setattr(pipeline, "train_rl", lambda *args, **options: pytest.fail("trained again"))
    ablations.run(out=tmp_path, names=["tiny"], seeds=[0])
    assert (tmp_path / "table.md").read_text() == first


def test_what_names_the_shipped_settings_shares_their_run(tmp_path: Path):
    (tmp_path / "seed0" / "full").mkdir(parents=True)
    found = json.dumps(summary(0.25))
    (tmp_path / "seed0" / "full" / "summary.json").write_text(found)
    ablations.run(out=tmp_path, names=["full", "scale_std"], seeds=[0])
    rows = (tmp_path / "table.md").read_text().splitlines()[2:]
    assert [row.partition(" | ")[2] for row in rows] == ["25.0 | 50.0 | 25.0 | 50.0 | 25.0 |"] * 2
    assert not (tmp_path / "seed0" / "scale_std").exists()
