"""Steps in fixed memory are kept by shape, and given up when what they read lies elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from pixelreasoner.models import static_steps
from pixelreasoner.models.static_steps import StaticStep, StaticSteps

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Named:
    """Holds what has the same letter and is no larger."""

    name: str
    size: int

    def holds(self, other):
        return self.name == other.name and self.size >= other.size


class Again:
    """A captured function: runs it again."""

    def __init__(self, function):
        self.replay = function


class Capture:
    def __init__(self):
        self.n_captured = self.n_cleared = 0

    def __call__(self, function):
        function()
        self.n_captured += 1
        return Again(function)

    def clear(self):
        self.n_cleared += 1


@pytest.fixture
def decoder():
    return torch.nn.Linear(3, 2).requires_grad_(False)


@pytest.fixture
def made():
    return []


def steps_of(decoder, made, capture):
    """Runs a step of a shape, of `size` numbers; the output is a row of twice the numbers."""
    steps = StaticSteps(decoder, capture)

    def make(shape, size):
        made.append(shape)
        return StaticStep(size, CPU, lambda values: 2 * values[None].double())

    def run(name, values, state=(0,), size=1):
        shape = steps.choose(Named(name, size), state)
        return steps.run(shape, np.array(values), lambda: make(shape.name, len(values))).tolist()

    return steps, run


def test_the_input_is_read_anew_in_each_step(decoder, made):
    capture = Capture()
    steps, run = steps_of(decoder, made, capture)
    for n in range(4):
        assert run("a", [n, n + 1]) == [[2 * n, 2 * n + 2]]
    assert (made, capture.n_captured, steps.n_captured) == (["a"], 1, 1)


def test_what_comes_once_is_not_captured(decoder, made):
    capture = Capture()
    _, run = steps_of(decoder, made, capture)
    for shape in "abcd":
        run(shape, [1])
    assert capture.n_captured == 0


def test_without_a_capture_all_runs_as_it_is(decoder, made):
    steps, run = steps_of(decoder, made, None)
    assert [run("a", [n]) for n in range(3)] == [[[0]], [[2]], [[4]]]
    assert steps.n_captured == 0


def test_the_shape_that_was_not_used_for_longest_leaves(decoder, made, monkeypatch):
    monkeypatch.setattr(static_steps, "MOST_SHAPES", 2)
    _, run = steps_of(decoder, made, Capture())
    for shape in "abacab":  # c takes the place of b, and b that of c
        run(shape, [1])
    assert made == ["a", "b", "c", "b"]


def test_other_keys_and_values_give_all_up(decoder, made):
    capture = Capture()
    steps, run = steps_of(decoder, made, capture)
    for state in ((0,), (0,), (1,)):
        run("a", [1], state)
    assert (made, steps.n_captured) == (["a", "a"], 0)
    assert capture.n_cleared == 2  # the first of all has nothing to give up


@pytest.mark.parametrize("in_place", [True, False])
def test_weights_in_place_stay_and_others_give_all_up(decoder, made, in_place):
    steps, run = steps_of(decoder, made, Capture())
    run("a", [1])
    run("a", [1])
    if in_place:
        decoder.weight += 1
    else:
        decoder.weight = torch.nn.Parameter(decoder.weight + 1, requires_grad=False)
    run("a", [1])
    assert steps.n_captured == int(in_place)


def test_a_larger_one_that_is_captured_serves_for_a_while(decoder, made, monkeypatch):
    monkeypatch.setattr(static_steps, "PATIENCE", 3)
    capture = Capture()
    _, run = steps_of(decoder, made, capture)
    sizes = (9, 9, 5, 5, 2, 2, 2, 2, 7)
    chosen = []
    for size in sizes:
        before = len(made)
        assert run("a", [size], size=size) == [[2 * size]]
        chosen.append(len(made) > before)
    # 9 is new, captured, and serves 5 twice, 2 three times; then 2 gets its own; 9 serves 7.
    assert chosen == [True, False, False, False, False, False, False, True, False]
    assert capture.n_captured == 1
    run("a", [2], size=2)
    assert capture.n_captured == 2
