"""The wording of synthesis: every text with fields can be filled in, also one of a recipe."""

from __future__ import annotations

import pytest

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.synth.prompts import JudgePrompts, TeacherPrompts


def test_a_recipe_may_word_things_its_own_way():
    prompts = TeacherPrompts(zoom=("A closer look at {subject}.",), wrong_look="No. {number} misses.")
    assert prompts.zoom[0].format(subject="the sign") == "A closer look at the sign."
    assert prompts.select == TeacherPrompts().select


@pytest.mark.parametrize(
    ("kind", "name", "value", "message"),
    [
        (TeacherPrompts, "zoom", ("I zoom in.",), "has to hold {subject}"),
        (TeacherPrompts, "zoom", (), "at least 1"),
        (TeacherPrompts, "select", ("I look at {thing}.",), "its fields are: {subject}"),
        (TeacherPrompts, "right_field", "{field} of {look}", "its fields are: {field}, {number}"),
        (TeacherPrompts, "proposal_fields", "valid, question", "has to hold {place}"),
        (TeacherPrompts, "region", "Region {number", "no usable template"),
        (JudgePrompts, "judge_fields", "evidence, answer", "has to hold {answer}"),
    ],
)
def test_a_text_that_cannot_be_filled_in_is_refused(kind: type, name: str, value: object, message: str):
    with pytest.raises(ConfigError, match=message):
        kind(**{name: value})
