"""Several networks, several seeds each: which runs are missing, and what those that are done found."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from training.recipe import RecipeError

_FIGURES = "test.json"


def missing(
    out: Path, names: Sequence[str], seeds: Iterable[int], only: Sequence[str] | None = None
) -> Iterator[tuple[str, int, Path]]:
    """Names, seeds and folders of the runs without figures.

    Seed by seed, so that a comparison which is interrupted is balanced.

    Args:
        out: folder of the comparison; it is made.
        names: what is compared.
        seeds: of each.
        only: of the names, those that are wanted now; None: all.

    Raises:
        RecipeError: `only` has a name that is not among the names.
    """
    if strange := sorted(set(only or ()) - set(names)):
        raise RecipeError(f"nothing is called {', '.join(strange)}; there is {', '.join(names) or 'nothing'}")
    out.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        for name in names:
            run = out / f"{name}-{seed}"
            if (only is None or name in only) and not (run / _FIGURES).exists():
                yield name, seed, run


def keep(run: Path, figures: dict[str, Any]) -> None:
    """Writes a run's figures: it is done."""
    (run / _FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def found(out: Path, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Figures of the runs that are done, by name, in the order of their seeds; no key for a name without."""
    every = {name: sorted(out.glob(f"{name}-[0-9]*/{_FIGURES}")) for name in names}
    return {
        name: [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        for name, paths in every.items()
        if paths
    }
