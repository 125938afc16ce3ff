"""Sections that are given in part."""

import pytest
from pydantic import Field

from pixelreasoner.core.config import Config, Count, Options
from pixelreasoner.core.errors import ConfigError


class Inner(Config):
    a: int = 1
    b: float | None = None
    options: dict[str, int] = Field(default_factory=dict)


class Outer(Config):
    inner: Inner = Inner(a=5, options={"x": 1})
    deep: tuple[Inner, ...] = ()


class Top(Config):
    outer: Outer = Outer(inner=Inner(b=0.5))


def test_the_rest_of_a_section_is_its_default_not_that_of_its_class():
    """A table of free keys is one value: it is taken whole."""
    assert Outer.model_validate({"inner": {"options": {"y": 2}}}).inner.options == {"y": 2}
    assert Outer.model_validate({"inner": {"b": 2.0}}).inner == Inner(a=5, b=2.0, options={"x": 1})
    assert Outer.model_validate({}).inner.a == 5


def test_sections_within_sections():
    assert Top.model_validate({"outer": {"inner": {"a": 7}}}).outer.inner == Inner(a=7, b=0.5)


def test_a_whole_section_and_a_list_are_taken_as_they_are():
    assert Outer.model_validate({"inner": Inner()}).inner == Inner()
    assert Outer.model_validate({"deep": [{"b": 1}]}).deep == (Inner(b=1),)


class Numbers(Config):
    n: Count = 1
    share: float = Field(default=0.5, ge=0, le=1)
    maybe: Count | None = None
    flag: bool = False
    options: Options = Field(default_factory=dict)


class Outside(Config):
    numbers: Numbers = Numbers()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"n": 0}, "'n' cannot be 0: input should be greater than or equal to 1"),
        ({"n": 10**10}, "'n' cannot be 10000000000: input should be less than or equal to 1000000000"),
        ({"n": True}, "'n' cannot be True: a number is needed"),
        ({"maybe": False}, "'maybe' cannot be False: a number is needed"),
        ({"share": float("nan")}, "'share' cannot be nan: input should be a finite number"),
        ({"share": float("-inf")}, "'share' cannot be -inf"),
        (
            {"options": {"a": {"b": [1, float("inf")]}}},
            "the option 'a' is {'b': [1, inf]}; give finite numbers",
        ),
        ({"more": 1}, "unknown key 'more'"),
    ],
)
def test_a_wrong_value_is_the_users_mistake_wherever_it_is_given(given, words):
    """Cases C12 and C14: pydantic's own error is for recipes, which say where a value came from."""
    with pytest.raises(ConfigError) as e:
        Numbers(**given)
    assert str(e.value).startswith("Numbers: ")
    assert words in str(e.value)
    with pytest.raises(ConfigError, match=r"Outside: .*'?numbers\."):
        Outside(numbers=given)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError):
        Numbers().changed(**given)


def test_a_changed_copy_keeps_the_rest():
    assert Numbers(n=5, flag=True).changed(share=1) == Numbers(n=5, flag=True, share=1.0)
