"""Several networks, several seeds each: which runs are missing, and what those that are done found."""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from training.atomic import replacing
from training.checkpoint import OPERATIONAL
from training.recipe import RecipeError, build, differences, to_dict

_FIGURES = "test.json"
Name = TypeVar("Name", bound=str)


def runs(out: Path, names: Sequence[Name], seeds: Iterable[int]) -> Iterator[tuple[Name, int, Path]]:
    """Names, seeds and folders of all runs, seed by seed: a comparison that is interrupted is balanced."""
    for seed in seeds:
        for name in names:
            yield name, seed, out / f"{name}-{seed}"


def wanted(
    out: Path, names: Sequence[Name], seeds: Iterable[int], only: Sequence[str] | None = None
) -> Iterator[tuple[Name, int, Path]]:
    """Those of `runs` whose names are wanted.

    Args:
        out: folder of the comparison; it is made.
        names: what is compared.
        seeds: of each.
        only: of the names, those that are wanted now; none: all.

    Raises:
        RecipeError: `only` has a name that is not among the names.
    """
    if strange := sorted(set(only or ()) - set(names)):
        raise RecipeError(f"nothing is called {', '.join(strange)}; there is {', '.join(names) or 'nothing'}")
    out.mkdir(parents=True, exist_ok=True)
    for name, seed, run in runs(out, names, seeds):
        if not only or name in only:
            yield name, seed, run


def missing(
    out: Path,
    names: Sequence[Name],
    seeds: Iterable[int],
    recipe: Callable[[Name, int], Any],
    only: Sequence[str] | None = None,
) -> Iterator[tuple[Name, int, Any, Path]]:
    """Those of `wanted` that have no figures, each with its recipe.

    Raises:
        RecipeError: as `wanted` and `refuse_changed`.
    """
    asked = list(wanted(out, names, seeds, only))
    refuse_changed(out, names, seeds, recipe)
    for name, seed, run in asked:
        if not (run / _FIGURES).exists():
            yield name, seed, recipe(name, seed), run


def refuse_changed(
    out: Path, names: Sequence[Name], seeds: Iterable[int], recipe: Callable[[Name, int], Any]
) -> None:
    """Compares the recipes of all runs with figures, which the table shows, with those wanted now.

    Keys that are new since a run have their defaults in it.

    Raises:
        RecipeError: one of them differs in more than how the run is done.
    """
    for name, seed, run in runs(out, names, seeds):
        path = run / "recipe.toml"
        if not (run / _FIGURES).exists() or not path.exists():
            continue
        asked = recipe(name, seed)
        try:
            made = build(type(asked), tomllib.loads(path.read_text(encoding="utf-8")))
            changed = set(differences(to_dict(made), to_dict(asked))).difference(OPERATIONAL)
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}; take the run away, or use another --out") from error
        if changed:
            raise RecipeError(
                f"{run} has figures of a run with other {', '.join(sorted(changed))}: take it away, or use"
                " another --out"
            )


def kept(run: Path) -> dict[str, Any]:
    """A run's figures so far; none if it has none."""
    path = run / _FIGURES
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def keep(run: Path, figures: dict[str, Any]) -> None:
    """Writes a run's figures, whole or not at all: it is done, or is so far."""
    with replacing(run / _FIGURES) as draft:
        draft.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def found(out: Path, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Figures of the runs that are done, by name, in the order of their seeds; no key for a name without."""
    done: dict[str, dict[int, Path]] = {name: {} for name in names}
    for path in out.glob(f"*/{_FIGURES}"):
        # To the last hyphen: "net-2-0" is a run of "net-2", none of "net".
        parts = re.fullmatch(r"(.+)-(\d+)", path.parent.name)
        if parts and parts[1] in done:
            done[parts[1]][int(parts[2])] = path.parent
    return {name: [kept(run) for _, run in sorted(seeds.items())] for name, seeds in done.items() if seeds}
