"""L2R, R2L and both directions on the same data by the same recipe, several seeds each: one table."""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from asr.judging import JudgeSpec, judge
from asr.recipe import AsrRecipe, Directions, Part
from asr.task import AsrTask, load_network
from training.checkpoint import read
from training.command import add_recipe_arguments
from training.comparison import found, keep, missing, runs
from training.loop import fit
from training.recipe import load
from training.seeds import interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison's recipe: what all share, and what differs."""

    shared: AsrRecipe = field(default_factory=AsrRecipe)
    directions: tuple[Directions, ...] = ("l2r", "r2l", "both")
    seeds: tuple[int, ...] = (0, 1, 2)
    test: dict[str, Part] = field(default_factory=dict)
    """Recordings that judge, by folder."""
    judge: JudgeSpec = field(default_factory=JudgeSpec)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m asr compare`."""
    add_recipe_arguments(parser, "asr/recipes/compare.toml", Path("runs/asr-compare"), folders=True)
    parser.add_argument("--judge-only", action="store_true", help="train nothing, judge anew what is trained")


def run(args: argparse.Namespace) -> str:
    """Trains what is missing (runs resume), judges it, then writes table.json and gives the table."""
    comparison = load(Comparison, args.recipe, args.set)
    ways, seeds, shared = comparison.directions, comparison.seeds, comparison.shared

    def asked(way: Directions, seed: int) -> AsrRecipe:
        return replace(shared, directions=way, loop=replace(shared.loop, seed=seed))

    def trained() -> Iterator[Path]:
        for _, _, recipe, out in missing(args.out, ways, seeds, asked):
            fit(AsrTask(recipe, args.data, args.cache), recipe.loop, out)
            yield out

    done = [out for _, _, out in runs(args.out, ways, seeds) if (out / "best.pt").exists()]
    for out in done if args.judge_only else trained():
        keep(out, judged(out / "best.pt", comparison, args.data, args.cache))
    return table(args.out, comparison)


def judged(checkpoint: Path, comparison: Comparison, data: list[Path], cache: Path) -> dict[str, object]:
    """Figures of a checkpoint on each test part; see judging.judge."""
    network, recipe = load_network(read(checkpoint))
    task = AsrTask(recipe, data, cache)
    return {
        name: judge(
            network,
            recipe.symbols,
            task.judged(name, part),
            directions=recipe.directions,
            unit=recipe.data.unit,
            spec=comparison.judge,
        )
        for name, part in comparison.test.items()
    }


def table(out: Path, comparison: Comparison) -> str:
    """Markdown: mean error rate over seeds with its 95 % interval (Student's t over seeds), in percent."""
    lines = []
    everything: dict[str, dict[str, list[float]]] = {}
    found_by = found(out, comparison.directions)
    for part in comparison.test:
        rows: dict[str, list[float]] = defaultdict(list)
        worth: dict[str, list[dict[str, int]]] = defaultdict(list)
        for directions, done in found_by.items():
            for figures in (run.get(part, {"error": {}}) for run in done):
                for way, rate in figures["error"].items():
                    rows[f"{directions} | {way}"].append(rate)
                for way, counts in figures.get("backwards", {}).items():
                    worth[f"{directions} | {way}"].append(counts)
        lines += [
            f"{part}:",
            "",
            "| trained | written | seeds | errors % | backwards | won | lost | errors saved |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for row, rates in rows.items():
            sums = [
                str(sum(counts[key] for counts in worth[row])) if row in worth else ""
                for key in ("answers", "won", "lost", "saved")
            ]
            lines.append(f"| {row} | {len(rates)} | {interval(rates)} | {' | '.join(sums)} |")
        lines.append("")
        everything[part] = dict(rows)
    (out / "table.json").write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    return "\n".join(lines)
