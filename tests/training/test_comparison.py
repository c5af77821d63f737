"""Which runs of a comparison are missing, and what the others found."""

from pathlib import Path

import pytest

from training.comparison import found, keep, kept, missing
from training.loopspec import LoopSpec
from training.recipe import RecipeError, to_dict, to_toml


def asked(_, seed):
    """A recipe."""
    return LoopSpec(seed=seed, lr=0.1)


def test_runs_are_missing_seed_by_seed_until_their_figures_are_kept(tmp_path):
    order = [(name, seed) for name, seed, _, _ in missing(tmp_path / "new", ["a", "a-b"], (0, 1), asked)]
    assert order == [("a", 0), ("a-b", 0), ("a", 1), ("a-b", 1)]
    for name, seed, recipe, run in missing(tmp_path, ["a", "a-b"], (0, 1), asked):
        assert recipe == asked(name, seed)
        run.mkdir()
        if (name, seed) != ("a", 1):
            keep(run, {"accuracy": seed, "name": name})
    left = [(name, seed) for name, seed, _, _ in missing(tmp_path, ["a", "a-b"], (0, 1), asked)]
    assert left == [("a", 1)]
    assert found(tmp_path, ["a", "a-b", "c"]) == {
        "a": [{"accuracy": 0, "name": "a"}],
        "a-b": [{"accuracy": 0, "name": "a-b"}, {"accuracy": 1, "name": "a-b"}],
    }


def test_only_what_is_wanted_is_run_and_a_strange_name_is_refused(tmp_path):
    assert [name for name, *_ in missing(tmp_path, ["a", "b"], (0,), asked, ["b"])] == ["b"]
    assert [name for name, *_ in missing(tmp_path, ["a", "b"], (0,), asked, [])] == ["a", "b"]
    with pytest.raises(RecipeError, match="nothing is called c; there is a, b"):
        list(missing(tmp_path, ["a", "b"], (0,), asked, ["c"]))


def test_names_that_begin_alike_are_apart_and_seeds_are_numbers(tmp_path):
    for name in ("net-2", "net-10", "net-2-0", "net-a-1"):
        keep(tmp_path / name, {"run": name})
    (tmp_path / "table.json").write_text("{}")
    assert found(tmp_path, ["net-2", "net"]) == {
        "net-2": [{"run": "net-2-0"}],
        "net": [{"run": "net-2"}, {"run": "net-10"}],
    }


def test_an_interrupted_writing_leaves_the_figures_that_were_there(tmp_path, monkeypatch):
    keep(tmp_path, {"accuracy": 1})

    def cut(path, text, encoding):
        path.write_bytes(text.encode(encoding)[:5])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", cut)
    with pytest.raises(KeyboardInterrupt):
        keep(tmp_path, {"accuracy": 2})
    assert kept(tmp_path) == {"accuracy": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["test.json"]


def test_figures_of_another_recipe_are_refused(tmp_path):
    """Beside old figures a changed recipe would make a table of unlike runs; a new key is no change."""
    run = tmp_path / "a-0"
    keep(run, {"accuracy": 1})
    made = to_dict(asked("a", 0))
    del made["shares"]
    (run / "recipe.toml").write_text(to_toml(made))
    assert list(missing(tmp_path, ["a"], (0,), asked)) == []
    (run / "recipe.toml").write_text(to_toml(made | {"lr": 0.2}))
    keep(tmp_path / "b-0", {"accuracy": 1})
    for only in (None, ["b"]):  # before anything is trained, and though the table alone shows it
        with pytest.raises(RecipeError, match=r"a-0 has figures of a run with other lr: take it away"):
            next(missing(tmp_path, ["c", "a", "b"], (0,), asked, only))
    (run / "recipe.toml").write_text(to_toml(made | {"gone": 1}))
    with pytest.raises(RecipeError, match=r"a-0.recipe\.toml: unknown key 'gone'.*; take the run away"):
        next(missing(tmp_path, ["a"], (0,), asked))
