"""Students of one teacher on the same data, and the same networks untaught, by what their features can do."""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.distill.comparison_table import table
from asr.distill.downstream import load_downstream, load_source
from asr.distill.finetune import FinetuneRecipe, FinetuneTask, tune
from asr.distill.heads import HeadSpec
from asr.distill.probes import probe
from asr.distill.recipe import DistillRecipe
from asr.distill.task import DistillTask, load_student
from training.atomic import replacing
from training.checkpoint import read, save
from training.command import add_recipe_arguments
from training.comparison import keep, kept, refuse_changed, wanted
from training.encoder.network import parameters
from training.encoder.spec import EncoderSpec
from training.loop import fit
from training.recipe import RecipeError, load, to_toml

Judged = dict[str, list[dict[str, Any]]]
"""Test figures of each seed of a judge, by column of the table."""
Judge = Callable[[Path], Judged]
"""Of a run's folder."""
RANDOM = "random-"
"""Before a student's name: the same network, untaught."""


@dataclass(frozen=True, slots=True)
class StudentSpec:
    """What is one student's own."""

    student: EncoderSpec = field(default_factory=EncoderSpec)
    heads: HeadSpec = field(default_factory=HeadSpec)
    units: float = 0.0
    """Weight of the discriminative loss, in place of `shared.teaching.units`."""


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """A linear map on frozen features (asr.distill.probes)."""

    folder: str
    answer: str
    """Key of the manifest; "text" is spelled by CTC."""
    parts: tuple[int, ...] = (1,)
    """Trained on every part-th speaker."""
    seeds: int = 3
    epochs: int = 40


@dataclass(frozen=True, slots=True)
class TuneSpec:
    """Encoders that learn on (asr.distill.finetune)."""

    parts: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0,)
    recipe: FinetuneRecipe = field(default_factory=FinetuneRecipe)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison's recipe: what all share, what differs, what judges."""

    shared: DistillRecipe = field(default_factory=DistillRecipe)
    students: dict[str, StudentSpec] = field(default_factory=dict)
    random: tuple[str, ...] = ()
    """Students whose networks are judged with random weights too, as random-NAME."""
    seeds: tuple[int, ...] = (0,)
    probes: dict[str, ProbeSpec] = field(default_factory=dict)
    finetune: TuneSpec = field(default_factory=TuneSpec)
    pairs: tuple[tuple[str, str], ...] = ()
    """The first against the second, speaker by speaker."""

    def __post_init__(self) -> None:
        if strange := {*self.random, *sum(self.pairs, ())} - set(self.names):
            raise RecipeError(f"there is no student {', '.join(sorted(strange))}")

    @property
    def names(self) -> list[str]:
        """All that is compared."""
        return [*self.students, *(RANDOM + name for name in self.random)]

    def recipe(self, name: str, seed: int) -> DistillRecipe:
        """The whole recipe of a student."""
        spec, shared = self.students[name.removeprefix(RANDOM)], self.shared
        return replace(
            shared,
            name=name,
            student=spec.student,
            heads=spec.heads,
            teaching=replace(shared.teaching, units=spec.units),
            loop=replace(shared.loop, seed=seed),
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `python -m asr.distill compare`."""
    add_recipe_arguments(parser, "asr/distill/recipes/compare.toml", Path("runs/distill-compare"))
    parser.add_argument("--weights", default="", help="the teacher's, a folder or a file")
    parser.add_argument(
        "--only", nargs="*", help="names to train and judge; the table shows all that are done"
    )


def run(args: argparse.Namespace) -> str:
    """Teaches all students, then judges them, one judge after the other; gives the table.

    What is done is not done again: trainings resume, and each judgement is kept when it is made. So an
    interrupted comparison is balanced, and its table shows what there is.

    Raises:
        RecipeError: the recipe is not understood, or has nothing of a name in `only`.
        ManifestError, AudioError, WeightsError: as `fit` of a DistillTask.
    """
    comparison = load(Comparison, args.recipe, args.set)
    if comparison.shared.loop.threads:
        torch.set_num_threads(comparison.shared.loop.threads)
    runs = list(wanted(args.out, comparison.names, comparison.seeds, args.only))
    refuse_changed(args.out, comparison.names, comparison.seeds, comparison.recipe)
    for name, seed, out in runs:
        if not kept(out):
            task = DistillTask(comparison.recipe(name, seed), args.data, args.cache, args.weights)
            about = _untaught(task, out) if name.startswith(RANDOM) else _taught(task, out)
            count = parameters(load_student(read(out / "best.pt"))[0])
            keep(out, {"parameters": count, **about, "judged": {}})
    for columns, judgement in _judges(comparison, args.data, args.cache):
        for _, _, out in runs:
            figures = kept(out)
            if not columns <= figures["judged"].keys():
                keep(out, figures | {"judged": figures["judged"] | judgement(out)})
    return table(args.out, comparison.names, comparison.pairs)


def _taught(task: DistillTask, out: Path) -> dict[str, Any]:
    dev = fit(task, task.spec.loop, out)["best"]["dev"]
    return {"dev": dev, "minutes": round(read(out / "last.pt")["spent_s"] / 60, 1)}


def _untaught(task: DistillTask, out: Path) -> dict[str, Any]:
    """Keeps the weights that a student's training began with."""
    task.prepare(torch.device("cpu"))
    torch.manual_seed(task.spec.loop.seed)  # as `fit`
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "recipe.toml") as draft:
        draft.write_text(to_toml(task.recipe), encoding="utf-8")
    model = task.model().state_dict()
    save(out / "best.pt", {"task": task.name, "recipe": task.recipe, "model": model, "metrics": {}})
    return {}


def _judges(comparison: Comparison, data: Path, cache: Path) -> Iterator[tuple[set[str], Judge]]:
    """What is judged, by columns of the table, and how."""
    for title, spec in comparison.probes.items():
        columns = {part: column(title, part) for part in spec.parts}

        def probed(out: Path, spec: ProbeSpec = spec, columns: dict[int, str] = columns) -> Judged:
            source, known = load_source(str(out / "best.pt")), dict[str, Tensor]()
            judged = {}
            for part, name in columns.items():
                downstream = load_downstream(data, spec.folder, spec.answer, cache, part)
                judged[name] = probe(source, downstream, spec.seeds, spec.epochs, known)
            return judged

        yield set(columns.values()), probed
    tuning = comparison.finetune
    for part in tuning.parts:
        name = column("fine-tuned", part)

        def tuned(out: Path, part: int = part, name: str = name) -> Judged:
            found = []
            for seed in tuning.seeds:
                loop = replace(tuning.recipe.loop, seed=seed)
                recipe = replace(tuning.recipe, encoder=str(out / "best.pt"), part=part, loop=loop)
                found.append(tune(FinetuneTask(recipe, data, cache), out / f"finetune-{part}-{seed}"))
            return {name: found}

        yield {name}, tuned


def column(title: str, part: int) -> str:
    """Of the table: what was judged, and on which part of the speakers it was learnt."""
    return title if part == 1 else f"{title}, 1/{part}"
