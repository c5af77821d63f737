"""Several networks on the same data by the same recipe, several seeds each: one table."""

import argparse
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dialect_id.batches import Store
from dialect_id.data import gather
from dialect_id.dev import judge
from dialect_id.network import DialectNet, NetworkSpec
from dialect_id.recipe import DialectRecipe
from dialect_id.student import load_network
from dialect_id.task import DialectTask
from training.checkpoint import averaged, read
from training.command import add_recipe_arguments
from training.comparison import found, keep, missing
from training.loop import fit
from training.multiplies import count_multiplies
from training.recipe import load
from training.seeds import interval
from training.utterances import build_utterances

FRAMES = 1000
"""Of the utterance that multiplies are counted and time is taken over."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison's recipe: what all share, and what differs."""

    shared: DialectRecipe = field(default_factory=DialectRecipe)
    networks: dict[str, NetworkSpec] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    test: str = ""
    """Folder whose split "test" is the test; "": the one that is trained on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m dialect_id compare`."""
    add_recipe_arguments(parser, "dialect_id/recipes/compare.toml", Path("runs/compare-dialect_id"))
    parser.add_argument(
        "--only", nargs="*", help="names of networks to train; the table shows all that are done"
    )


def run(args: argparse.Namespace) -> str:
    """Trains what is missing (runs resume), then writes table.json and gives the table.

    Raises:
        RecipeError: the recipe is not understood, or has no network of a name in `only`.
        ManifestError, AudioError: as `fit` of a DialectTask.
    """
    comparison = load(Comparison, args.recipe, args.set)
    shared, networks = comparison.shared, comparison.networks

    def asked(name: str, seed: int) -> DialectRecipe:
        return replace(shared, name=name, network=networks[name], loop=replace(shared.loop, seed=seed))

    for _, _, recipe, out in missing(args.out, list(networks), comparison.seeds, asked, args.only):
        task = DialectTask(recipe, args.data, args.cache)
        fit(task, recipe.loop, out)
        keep(out, _figures(out, task, comparison.test))
    return table(args.out, comparison)


def _figures(out: Path, task: DialectTask, folder: str) -> dict[str, Any]:
    """Figures of the last epoch's weights on dev and test: to choose the best epoch is to choose by luck."""
    state = read(out / "last.pt")
    checkpoint = {
        "recipe": state["recipe"],
        "model": averaged(state),
        "provenance": {"labels": task.corpus.labels},
    }
    network, _, _ = load_network(checkpoint)
    figures: dict[str, Any] = {"dev": judge(network, task.dev)}
    test = test_store(task, folder or task.spec.data.main)
    if test is not None:
        figures["test"] = judge(network, test) | {"n": len(test.utterances)}
    return figures | {
        "parameters": sum(p.numel() for p in network.parameters()),
        "multiplies_per_second": count_multiplies(network, FRAMES, task.spec.features.mels)
        * 1000
        / (FRAMES * task.spec.features.hop_ms),
        "rtf": real_time_factor(network, task.spec),
        "minutes": round(state["spent_s"] / 60, 1),
    }


def test_store(task: DialectTask, folder: str) -> Store | None:
    """The split "test" of a folder, what the task's network knows of it; None if that is nothing."""
    spec = task.spec
    data = replace(spec.data, main=folder)
    corpus = gather(task.data, data, labels=task.corpus.labels, judged_by="test")
    if not corpus.judged.recordings:
        return None
    features = build_utterances(corpus.judged.recordings, spec.features, task.cache)
    return Store(folder, features, corpus.judged.classes)


def real_time_factor(network: DialectNet, recipe: DialectRecipe, times: int = 5) -> float:
    """Seconds that the network (torch, float32, one thread) takes for one of audio: the least of several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    frames = torch.randn(1, FRAMES, recipe.features.mels)
    spent = []
    with torch.inference_mode():
        for _ in range(times):
            start = time.perf_counter()
            network(frames)
            spent.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    return min(spent) * 1000 / (FRAMES * recipe.features.hop_ms)


def table(out: Path, comparison: Comparison) -> str:
    """Markdown: means over seeds with their 95 % intervals (Student's t over seeds)."""
    lines = [
        "| network | parameters | multiplies / s | RTF | seeds | dev % | test % | test, 3 s % | test Cavg "
        "| test EER % | minutes |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    rows = found(out, comparison.networks)
    for name, done in rows.items():
        first = done[0]
        lines.append(
            f"| {name} | {first['parameters'] / 1e6:.2f} M | {first['multiplies_per_second'] / 1e6:.0f} M "
            f"| {np.median([run['rtf'] for run in done]):.4f} | {len(done)} "
            f"| {_cell(done, 'dev', 'accuracy')} | {_cell(done, 'test', 'accuracy')} "
            f"| {_cell(done, 'test', 'accuracy_3s')} "
            f"| {_cell(done, 'test', 'cavg', 1)} | {_cell(done, 'test', 'eer')} "
            f"| {np.mean([run['minutes'] for run in done]):.1f} |"
        )
    (out / "table.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return "\n".join(lines)


def _cell(runs: list[dict[str, Any]], part: str, figure: str, times: int = 100) -> str:
    values = [run[part][figure] for run in runs if figure in run.get(part, {})]
    return interval(values, times) if values else "–"
