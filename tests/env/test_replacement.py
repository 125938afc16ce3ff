"""Rules of replaced results: the model sees the other picture, the record says so, the operation counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pixelreasoner.core.media import Picture
from pixelreasoner.core.records import trajectory_from_json, trajectory_to_json
from pixelreasoner.core.trajectory import Observation, Trajectory
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.replacement import Replacement
from pixelreasoner.env.rollout import RolloutRequest, rollout
from pixelreasoner.ops.image_context import ImageContext
from pixelreasoner.policy.base import Sampling
from pixelreasoner.policy.scripted import ScriptedMessage, ScriptedPolicy
from pixelreasoner.viewer.steps import view
from rollout_helpers import ANSWER, BROKEN, NOISE, RENDERER, TOOLBOX, ZOOM, crop, task

OTHER = Picture(NOISE[7][:12, :12])


class Spy:
    """Shows `OTHER`; remembers what it was asked."""

    def __init__(self) -> None:
        self.turns: list[int] = []
        self.seen: list[int] = []

    def __call__(self, observation: Observation, turn: int, context: ImageContext) -> Observation:
        self.turns.append(turn)
        self.seen.append(len(context.images))
        return replace(observation, images=(OTHER,), box=None)


def rolled_out(replacement: Replacement | None, *messages: ScriptedMessage) -> Trajectory:
    (trajectory,) = rollout(
        [RolloutRequest(task(), 0, replacement=replacement)],
        policy=ScriptedPolicy(messages, RENDERER),
        renderer=RENDERER,
        toolbox=TOOLBOX,
        sampling=Sampling(max_tokens=1000),
        limits=Limits(),
    )
    return trajectory


def test_the_model_is_shown_the_other_picture_and_the_operation_counts():
    found = rolled_out(Replacement("mine", Spy()), ZOOM, ANSWER)
    first = found.turns[0]
    assert first.observation is not None
    assert first.observed is not None
    assert first.observed.media == (OTHER,)
    assert first.observation.replaced == "mine"
    assert (found.n_operations, found.used_pixel_space, found.answer) == (1, True, "K")


def test_the_call_stays_as_it_was_written():
    plain, control = rolled_out(None, ZOOM, ANSWER), rolled_out(Replacement("mine", Spy()), ZOOM, ANSWER)
    assert plain.turns[0].call == control.turns[0].call
    assert plain.turns[0].sampled == control.turns[0].sampled


def test_each_result_is_replaced_with_what_was_seen_before_it():
    spy = Spy()
    rolled_out(Replacement("mine", spy), ZOOM, crop(0, 0, 8, 8, target=2), ANSWER)
    assert (spy.turns, spy.seen) == ([0, 1], [1, 2])


def test_a_further_crop_is_cut_from_what_was_shown():
    found = rolled_out(
        Replacement("once", lambda o, turn, c: replace(o, images=(OTHER,)) if turn == 0 else o),
        ZOOM, crop(0, 0, 8, 8, target=2), ANSWER,
    )  # fmt: skip
    again = found.turns[1].observation
    assert again is not None
    np.testing.assert_array_equal(again.images[0].pixels, NOISE[7][:8, :8])


def test_a_call_that_was_refused_stays_refused():
    spy = Spy()
    found = rolled_out(Replacement("mine", spy), BROKEN, crop(0, 0, 9999, 8), ANSWER)
    assert spy.turns == []
    assert [t.observation.replaced for t in found.turns if t.observation] == ["", ""]
    assert found.n_invalid_operations == 2


def test_records_and_pages_say_that_it_was_replaced():
    found = rolled_out(Replacement("mine", Spy()), ZOOM, ANSWER)
    pictures: dict[str, Picture] = {}
    data = trajectory_to_json(found, lambda picture: pictures.update({picture.digest: picture}))
    assert data["turns"][0]["observation"]["replaced"] == "mine"
    assert trajectory_from_json(data, pictures.__getitem__) == found
    assert "control: shown mine in place of results" in view(found).facts
    plain = rolled_out(None, ZOOM, ANSWER)
    assert "replaced" not in trajectory_to_json(plain)["turns"][0]["observation"]
    assert not any("control" in fact for fact in view(plain).facts)
