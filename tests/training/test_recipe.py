"""Recipes: everything that goes in comes out again; everything wrong is named."""

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.loopspec import LoopSpec
from training.recipe import RecipeError, build, differences, load, to_dict, to_toml


@dataclass(frozen=True, slots=True)
class Noise:
    snr_db: tuple[float, float] = (0.0, 20.0)
    kinds: tuple[str, ...] = ("rain",)
    loud: bool = False

    def __post_init__(self) -> None:
        if self.snr_db[0] > self.snr_db[1]:
            raise ValueError(f"snr_db must rise, got {self.snr_db}")


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    width: int = 40
    rate: float = 0.1
    mode: Literal["sliding", "stateful"] = "sliding"
    teacher: str | None = None
    noise: Noise = field(default_factory=Noise)
    noises: tuple[Noise, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)
    loop: LoopSpec = field(default_factory=LoopSpec)


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _read(tmp_path: Path, text: str, *overrides: str) -> Recipe:
    return load(Recipe, _write(tmp_path / "r.toml", text), overrides)


TEXT = st.text(max_size=8)
NUMBERS = st.floats(allow_nan=False)
NOISES = st.builds(
    Noise,
    snr_db=st.tuples(NUMBERS, NUMBERS).map(lambda pair: (min(pair), max(pair))),
    kinds=st.lists(TEXT, max_size=3).map(tuple),
    loud=st.booleans(),
)
RECIPES = st.builds(
    Recipe,
    name=TEXT,
    width=st.integers(-(2**60), 2**60),
    rate=NUMBERS,
    mode=st.sampled_from(["sliding", "stateful"]),
    teacher=st.none() | TEXT,
    noise=NOISES,
    noises=st.lists(NOISES, max_size=2).map(tuple),
    weights=st.dictionaries(TEXT, NUMBERS, max_size=3),
    loop=st.just(LoopSpec()),
)


@settings(deadline=None, max_examples=100)
@given(RECIPES)
def test_toml_and_dict_both_ways(recipe: Recipe) -> None:
    assert build(Recipe, tomllib.loads(to_toml(recipe))) == recipe
    assert build(Recipe, to_dict(recipe)) == recipe
    assert tomllib.loads(to_toml(to_dict(recipe))) == tomllib.loads(to_toml(recipe))


@settings(deadline=None, max_examples=60)
@given(TEXT.filter(lambda key: key not in {f.name for f in fields(Recipe)}))
def test_unknown_keys_are_named(key: str) -> None:
    with pytest.raises(RecipeError) as caught:
        build(Recipe, {"name": "x", key: 1})
    assert repr(key) in str(caught.value)
    with pytest.raises(RecipeError) as caught:
        build(Recipe, {"name": "x", "loop": {f"{key}!": 1}})
    assert repr(f"loop.{key}!") in str(caught.value)


WRONG = st.none() | st.binary(max_size=2) | st.just({"a": 1}) | st.just([[1]])


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["name", "width", "rate", "mode"]), WRONG | st.booleans())
def test_wrong_types_are_named(key: str, value: Any) -> None:
    with pytest.raises(RecipeError, match=f"'{key}'"):
        build(Recipe, {"name": "x", key: value})


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ({"width": 1.0}, "'width' must be int, got float"),
        ({"width": True}, "'width' must be int, got bool"),
        ({"rate": "1"}, "'rate' must be float, got str"),
        ({"mode": "other"}, "'mode' must be one of 'sliding', 'stateful', got 'other'"),
        ({"noise": 3}, "'noise' must be a table"),
        ({"noise": {"loud": 1}}, "'noise.loud' must be bool"),
        ({"noise": {"snr_db": [1.0]}}, "'noise.snr_db' must have 2 values, got 1"),
        ({"noise": {"kinds": ["a", 2]}}, "'noise.kinds.1' must be str"),
        ({"noise": {"kinds": "rain"}}, "'noise.kinds' must be a list"),
        ({"noises": [{}, {"lou": True}]}, "'noises.1.lou'"),
        ({"weights": {"yes": "much"}}, "'weights.yes' must be float"),
        ({"noise": {"snr_db": [5, 1]}}, "noise: snr_db must rise"),
        ({"loop": {"epochs": 0}}, "loop.epochs must be at least 1"),
    ],
)
def test_messages_name_the_dotted_key(raw: dict[str, Any], key: str) -> None:
    with pytest.raises(RecipeError, match=key.replace(".", r"\.")):
        build(Recipe, {"name": "x", **raw})


def test_missing_key_and_whole_numbers_for_floats(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'name' is missing"):
        _read(tmp_path, "width = 3")
    rate = _read(tmp_path, 'name = "x"\nrate = 3').rate
    assert (rate, type(rate)) == (3.0, float)


def test_overrides_are_toml_or_bare_words(tmp_path: Path) -> None:
    recipe = _read(
        tmp_path,
        'name = "x"\n[loop]\nepochs = 2',
        "loop.epochs=3",
        "mode = stateful",
        "noise.snr_db=[1, 2]",
        'noise.kinds=["a b"]',
        "noise.loud=true",
        "name=y z",
        "weights.yes=2",
        "loop.epochs=5",
    )
    assert recipe.loop.epochs == 5
    assert (recipe.mode, recipe.name, recipe.weights) == ("stateful", "y z", {"yes": 2.0})
    assert recipe.noise == Noise((1.0, 2.0), ("a b",), True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loop.epochs", "key=value"),
        ("=3", "key=value"),
        ("loop..epochs=3", "key=value"),
        ("width=3\nrate=1", "one key"),
        ("name.x=3", "'name' is a value"),
        ("loop.epoch=3", "'loop.epoch'"),
        ("loop.epochs=many", "'loop.epochs' must be int, got str 'many'"),
    ],
)
def test_bad_overrides_are_told(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        _read(tmp_path, 'name = "x"', override)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"r\.toml is not TOML"):
        _read(tmp_path, "name = ")
    with pytest.raises(RecipeError, match=r"none\.toml cannot be read"):
        load(Recipe, tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff")
    with pytest.raises(RecipeError, match=r"b\.toml is not TOML"):
        load(Recipe, tmp_path / "b.toml")


def test_differences_are_dotted() -> None:
    old = {"a": 1, "b": {"c": [1], "d": 2}, "e": 3}
    assert differences(old, {"a": 1, "b": {"c": [2], "d": 2}, "f": 3}) == ["b.c", "e", "f"]
