"""Rules of recipes: precedence, what an override may look like, what an error says, the saved copy."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.recipe import load_recipe, save_resolved


class Optim(Config):
    lr: float = 1e-6
    warmup: float = Field(default=0.1, ge=0, le=1)


class Source(Config):
    path: Path
    weight: float = 1.0


class Recipe(Config):
    out: Path = Path("runs/x")
    steps: int = 10
    unit: Unit | None = None
    kinds: tuple[str, ...] = ("count",)
    optim: Optim = Optim()
    sources: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _some_steps(self) -> "Recipe":
        if self.steps == 13:
            raise ValueError("13 steps bring bad luck")
        return self


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text('steps = 20\n[optim]\nlr = 1e-4\n[[sources]]\npath = "a.jsonl"\n')
    return path


def test_defaults_then_file_then_overrides(recipe: Path):
    assert load_recipe(Recipe) == Recipe()
    assert load_recipe(Recipe, recipe).steps == 20
    assert load_recipe(Recipe, recipe).optim == Optim(lr=1e-4, warmup=0.1)
    assert load_recipe(Recipe, recipe, ["steps=30", "optim.warmup=0.5", "steps=31"]) == Recipe(
        steps=31, optim=Optim(lr=1e-4, warmup=0.5), sources=(Source(path=Path("a.jsonl")),)
    )


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("optim.lr=3e-5", "optim", Optim(lr=3e-5)),
        ("out=runs/some where", "out", Path("runs/some where")),
        ('kinds=["page", "clip"]', "kinds", ("page", "clip")),
        ("unit=relative", "unit", Unit.RELATIVE),
        (" steps = 7 ", "steps", 7),
        ("out=a=b", "out", Path("a=b")),
    ],
)
def test_an_override_is_toml_or_else_plain_text(override: str, field: str, value: object):
    assert (
        load_recipe(Recipe, None, [override]).model_dump()[field]
        == Recipe(**{field: value}).model_dump()[field]
    )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "optim.lrr=1",
            ["override 'optim.lrr=1'", "unknown key 'optim.lrr'", "Did you mean 'lr'", "lr, warmup"],
        ),
        ("step=1", ["'step'", "Did you mean 'steps'", "at the top level: kinds, optim, out"]),
        ("optim.warmup=2", ["override 'optim.warmup=2'", "cannot be 2", "less than or equal to 1"]),
        ("steps=many", ["'steps' cannot be 'many'", "valid integer"]),
        ("unit=inch", ["'unit'", "'pixel'", "'relative'"]),
        ("steps", ["key=value"]),
        ("optim..lr=1", ["key=value"]),
        ("steps.more=1", ["'steps' is a value, not a section"]),
        ("steps=13", ["mine.toml: 13 steps bring bad luck"]),
        ("sources=[{weight=2}]", ["'sources.0.path' is required"]),
        ('sources=[{path="x", wight=2}]', ["unknown key 'sources.0.wight'", "Did you mean 'weight'"]),
    ],
)
def test_an_error_names_the_source_the_key_and_what_is_allowed(recipe: Path, override: str, words: list[str]):
    with pytest.raises(ConfigError) as e:
        load_recipe(Recipe, recipe, [override])
    for word in words:
        assert word in str(e.value)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path):
    """Case C20, with its neighbour: a file of another encoding is named."""
    (tmp_path / "bom.toml").write_bytes(b'\xef\xbb\xbfout = "b"\n')
    assert load_recipe(Recipe, tmp_path / "bom.toml").out == Path("b")
    (tmp_path / "wide.toml").write_bytes('out = "b"\n'.encode("utf-16"))
    with pytest.raises(ConfigError, match=r"wide\.toml is not valid TOML"):
        load_recipe(Recipe, tmp_path / "wide.toml")


def test_an_error_in_the_file_names_the_file(recipe: Path):
    recipe.write_text("[optim]\nlearning_rate = 1\nwarmup = -1\n")
    with pytest.raises(ConfigError) as e:
        load_recipe(Recipe, recipe)
    lines = str(e.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(str(recipe)) for line in lines[:2])
    assert lines[2] == "Allowed in section 'optim': lr, warmup"


def test_a_key_in_the_wrong_section_is_told_where_it_belongs(recipe: Path):
    """As in recipes of earlier versions; what is allowed is listed once for all keys of a section."""
    recipe.write_text("lr = 1\nwarmup = 0.5\n")
    with pytest.raises(ConfigError) as e:
        load_recipe(Recipe, recipe)
    first, second, allowed = str(e.value).splitlines()
    assert first == f"{recipe}: unknown key 'lr'. Did you mean 'optim.lr'?"
    assert second == f"{recipe}: unknown key 'warmup'. Did you mean 'optim.warmup'?"
    assert allowed.startswith("Allowed at the top level: kinds, optim")


def test_a_missing_file_and_a_broken_file_are_the_users_errors(recipe: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nine\.toml: no such recipe\. Did you mean 'mine\.toml'"):
        load_recipe(Recipe, tmp_path / "nine.toml")
    recipe.write_text("steps = = 2")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_recipe(Recipe, recipe)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(Recipe, tmp_path)


@given(
    lr=st.floats(allow_nan=False, allow_infinity=False),
    steps=st.integers(min_value=14, max_value=2**60),
    kinds=st.lists(st.text(st.characters(codec="utf-8"))),
    unit=st.none() | st.sampled_from(Unit),
)
def test_a_saved_configuration_loads_to_an_equal_one(tmp_path_factory, lr, steps, kinds, unit):
    config = Recipe(
        steps=steps, kinds=tuple(kinds), unit=unit, optim=Optim(lr=lr), sources=(Source(path=Path("a")),)
    )
    saved = save_resolved(config, tmp_path_factory.getbasetemp() / "run")
    assert load_recipe(Recipe, saved) == config
