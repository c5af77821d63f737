"""Which runs of a comparison are missing, and what the others found."""

import pytest

from training.comparison import found, keep, missing
from training.recipe import RecipeError


def test_runs_are_missing_seed_by_seed_until_their_figures_are_kept(tmp_path):
    order = [(name, seed) for name, seed, _ in missing(tmp_path / "new", ["a", "a-b"], (0, 1))]
    assert order == [("a", 0), ("a-b", 0), ("a", 1), ("a-b", 1)]
    for name, seed, run in missing(tmp_path, ["a", "a-b"], (0, 1)):
        run.mkdir()
        if (name, seed) != ("a", 1):
            keep(run, {"accuracy": seed, "name": name})
    assert [(name, seed) for name, seed, _ in missing(tmp_path, ["a", "a-b"], (0, 1))] == [("a", 1)]
    assert found(tmp_path, ["a", "a-b", "c"]) == {
        "a": [{"accuracy": 0, "name": "a"}],
        "a-b": [{"accuracy": 0, "name": "a-b"}, {"accuracy": 1, "name": "a-b"}],
    }


def test_only_what_is_wanted_is_run_and_a_strange_name_is_refused(tmp_path):
    assert [name for name, _, _ in missing(tmp_path, ["a", "b"], (0,), ["b"])] == ["b"]
    assert [name for name, _, _ in missing(tmp_path, ["a", "b"], (0,), [])] == ["a", "b"]
    with pytest.raises(RecipeError, match="nothing is called c; there is a, b"):
        list(missing(tmp_path, ["a", "b"], (0,), ["c"]))
