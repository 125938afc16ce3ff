"""Protocols: what they hold of parts that are no plain values, and how they are compared."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

from pixelreasoner.chat.plain import PlainRenderer
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.evals.benchmark import Benchmark
from pixelreasoner.evals.protocol import changed_model, leaves, model_protocol, recipe_protocol
from pixelreasoner.evals.run import EvalConfig
from pixelreasoner.rewards.scorers import numeric
from pixelreasoner.tasks.pixelworld import PixelWorld, WorldConfig

CONFIG = EvalConfig(out=Path("a"))


def test_a_benchmark_is_named_with_its_scorer_and_its_rows():
    tasks = PixelWorld(WorldConfig())
    benchmark = Benchmark("mine", tasks, partial(numeric, tolerance=0.1), {"count": 3})
    described = recipe_protocol(CONFIG, benchmark, [])["benchmark"]
    assert described["name"] == "mine"
    assert described["expected_rows"] == {"count": 3}
    assert described["scorer"] == {
        "function": "pixelreasoner.rewards.scorers:numeric", "options": {"tolerance": 0.1}
    }  # fmt: skip
    exact = recipe_protocol(CONFIG, replace(benchmark, scorer=numeric), [])["benchmark"]["scorer"]
    assert exact == "pixelreasoner.rewards.scorers:numeric"


def test_where_a_run_lies_is_no_part_of_its_protocol():
    elsewhere = EvalConfig(out=Path("b"), without_operations=Path("c"))
    assert recipe_protocol(CONFIG, None, []) == recipe_protocol(elsewhere, None, [])
    assert recipe_protocol(CONFIG, None, []) != recipe_protocol(CONFIG.changed(seed=1), None, [])


def test_a_protocol_is_json_and_has_no_operations_where_none_are_offered():
    protocol = model_protocol(PlainRenderer(), Interaction(operations=()), {})
    assert json.loads(json.dumps(protocol)) == protocol
    assert protocol["operations"] == []


def test_leaves_by_hand():
    nested = {"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}]}
    assert dict(leaves(nested)) == {"a.b": 1, "a.c": {}, "d": [1, {"e": 2}]}


def test_a_run_that_goes_on_keeps_the_protocol_it_began_with():
    before = {"packages": {"torch": "1", "numpy": "1"}, "recipe": {"n": 3}}
    assert changed_model(before, {"packages": {"torch": "1", "numpy": "1"}}) == (before, [])
    protocol, changed = changed_model(before, {"packages": {"torch": "2", "numpy": "1"}})
    assert changed == ["packages.torch"]
    assert protocol == {**before, "changed": {"packages.torch": "2"}}
    # What changed once stays named when it changes back, and other changes come beside it.
    again, _ = changed_model(protocol, {"packages": {"torch": "1", "numpy": "2"}})
    assert again["changed"] == {"packages.torch": "2", "packages.numpy": "2"}
