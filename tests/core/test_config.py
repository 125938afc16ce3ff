"""Sections that are given in part."""

from pydantic import Field

from pixelreasoner.core.config import Config


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
