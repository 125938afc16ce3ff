"""Rules of the measured groups: their lengths, one prompt for all, crops in their places."""

import numpy as np
import pytest

from benchmarks.cases import CPU_CASES, TRUE_CASES, Case, grid, random_group, work_of
from benchmarks.methods.base import layouts_of
from benchmarks.shapes import CORPUS, VOCABULARY, random_model
from pixelreasoner.objectives.loss_mask import loss_mask
from pixelreasoner.objectives.packing import pack_rows


@pytest.fixture(scope="module")
def renderer():
    return random_model("tiny-qwen3").renderer


def test_the_processor_cases_keep_the_proportions_of_the_true_ones():
    true = {case.completion / case.prompt for case in TRUE_CASES}
    for case in CPU_CASES:
        assert min(abs(case.completion / case.prompt - ratio) for ratio in true) < 0.03
        assert case.group == 8
    assert {case.crops for case in CPU_CASES} == {1, 2}
    assert len(CORPUS) < VOCABULARY


@pytest.mark.parametrize("case", CPU_CASES, ids=lambda case: case.name)
def test_a_group_is_as_long_as_its_case(case: Case, renderer):
    group = random_group(case, renderer)
    layouts = layouts_of(group, renderer)
    work = work_of(group, layouts)
    # A picture has whole rows and columns: at most one row of tokens is missing.
    assert 0 <= case.prompt - work.prompt <= 1
    assert work.prompt + np.array(work.rollouts) == pytest.approx([len(row) for row in layouts])
    assert np.mean(work.rollouts) == pytest.approx(case.completion, abs=0.5)
    assert max(work.rollouts) > min(work.rollouts)
    assert abs(sum(group.advantages)) < 1e-9
    assert [len(images) for images in work.rollout_images] == [case.crops] * case.group


def test_the_prompt_is_one_segment_and_only_messages_are_trained_on(renderer):
    group = random_group(Case(60, 40, 9, group=2, image=0.6), renderer)
    first, second = group.trajectories
    assert first.prompt is second.prompt
    for trajectory in group.trajectories:
        prompt, message, crop, last = (len(s.ids) for s in trajectory.segments)
        wanted = [False] * prompt + [True] * message + [False] * crop + [True] * last
        assert loss_mask(trajectory).tolist() == wanted


def test_a_group_packs_into_one_row_with_the_prompt_once(renderer):
    case = Case(60, 40, 9, group=4, image=0.6)
    group = random_group(case, renderer)
    layouts = layouts_of(group, renderer)
    (row,) = pack_rows(
        [group],
        lambda trajectory: renderer.layout(trajectory.segments),
        max_tokens=10_000,
        token_weights=lambda counts: [1.0] * len(counts),
        behavior=True,
    )
    assert case.unique_tokens == 60 + 4 * 40
    # Nothing is predicted from the last token of a trajectory.
    assert len(row) == work_of(group, layouts).tokens == 60 + 4 * 39


def test_a_picture_never_takes_more_tokens_than_asked_for():
    assert (grid(36), grid(35), grid(1), grid(22)) == ((6, 6), (5, 7), (1, 1), (4, 5))
