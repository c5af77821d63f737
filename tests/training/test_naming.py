"""Names that tell nothing of a machine."""

import pytest

from training.naming import placeless


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("an4", "an4"),
        ("runs/first/best.pt", "runs/first/best.pt"),
        ("/home/somebody/sets/an4", "an4"),
        ("../shared/data/noise", "noise"),
        ("error/an4", "error/an4"),
        ("error//home/somebody/an4", "error/an4"),
        ("error/../sets/an4", "error/an4"),
        ("Apache-2.0; https://example.org/a", "Apache-2.0; https://example.org/a"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("", ""),
    ],
)
def test_places_are_forgotten_and_names_kept(told: str, name: str) -> None:
    assert placeless(told) == name


def test_all_of_a_recipe_is_renamed() -> None:
    recipe = {"data": {"/a/b/an4": {"teacher": "/c/teach", "repeats": 2.0}}, "noise": ("../n",), "seed": 0}
    assert placeless(recipe) == {
        "data": {"an4": {"teacher": "teach", "repeats": 2.0}},
        "noise": ["n"],
        "seed": 0,
    }
