"""Several networks on the same data by the same recipe, several seeds each: one table."""

import argparse
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from kws.clips import LABELS
from kws.features import judged
from kws.multiplies import count_multiplies
from kws.network import NetworkSpec
from kws.recipe import KwsRecipe
from kws.task import KwsTask, load_network
from training.checkpoint import averaged, read
from training.command import add_recipe_arguments
from training.comparison import found, keep, missing
from training.loop import fit
from training.recipe import load
from training.seeds import interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison's recipe: what all share, and what differs."""

    shared: KwsRecipe = field(default_factory=KwsRecipe)
    networks: dict[str, NetworkSpec] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m kws compare`."""
    add_recipe_arguments(parser, "kws/recipes/compare.toml", Path("runs/compare"))
    parser.add_argument(
        "--only", nargs="*", help="names of networks to train; the table shows all that are done"
    )


def run(args: argparse.Namespace) -> str:
    """Trains what is missing (runs resume), then writes table.json and gives the table."""
    comparison = load(Comparison, args.recipe, args.set)
    shared, networks = comparison.shared, comparison.networks

    def asked(name: str, seed: int) -> KwsRecipe:
        return replace(shared, name=name, network=networks[name], loop=replace(shared.loop, seed=seed))

    for _, _, recipe, out in missing(args.out, list(networks), comparison.seeds, asked, args.only):
        fit(KwsTask(recipe, args.data, args.cache), recipe.loop, out)
        keep(out, _figures(out, args.data, args.cache))
    return table(args.out, comparison)


def _figures(out: Path, data: Path, cache: Path) -> dict[str, object]:
    """Figures of the last epoch's weights on dev and test: to choose the best epoch is to choose by luck."""
    state = read(out / "last.pt")
    checkpoint = {"recipe": state["recipe"], "model": averaged(state)}
    network, recipe = load_network(checkpoint)
    figures: dict[str, object] = {}
    for split in ("dev", "test"):
        part = judged(data / recipe.data.main, split, recipe.features, cache)
        with torch.inference_mode():
            guesses = torch.cat(
                [network(x).argmax(-1) for x in torch.split(torch.from_numpy(part.frames), 256)]
            ).numpy()
        right = guesses == part.labels
        figures[split] = {
            "n": len(right),
            "accuracy": float(right.mean()),
            "per_class": {LABELS[c]: float(right[part.labels == c].mean()) for c in np.unique(part.labels)},
        }
    counts = count_multiplies(network.network, recipe.mix.frames)
    return figures | {
        "parameters": sum(p.numel() for p in network.network.parameters()),
        "multiplies": counts.parametric,
        "multiplies_between_nodes": counts.between_nodes,
        "minutes": round(state["spent_s"] / 60, 1),
    }


def table(out: Path, comparison: Comparison) -> str:
    """Markdown: mean accuracy over seeds with its 95 % interval (Student's t over seeds), in percent."""
    lines = [
        "| network | parameters | multiplies | with N×N | seeds | dev % | test % | minutes |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    rows = found(out, comparison.networks)
    for name, done in rows.items():
        first = done[0]
        total = first["multiplies"] + first["multiplies_between_nodes"]
        lines.append(
            f"| {name} | {first['parameters'] / 1e3:.1f} k "
            f"| {first['multiplies'] / 1e6:.2f} M | {total / 1e6:.2f} M | {len(done)} "
            f"| {interval([run['dev']['accuracy'] for run in done])} "
            f"| {interval([run['test']['accuracy'] for run in done])} "
            f"| {np.mean([run['minutes'] for run in done]):.1f} |"
        )
    (out / "table.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return "\n".join(lines)
