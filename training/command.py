"""What the command lines of all tasks share: the arguments of a training, and how a command ends."""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from stapes.onnxfile import ModelFileError
from stapes.spec import SpecError
from training.audio import AudioError
from training.checkpoint import CheckpointError
from training.ctranslate2 import WeightsError
from training.loop import fit
from training.loopspec import LoopSpec, Task
from training.recipe import RecipeError, load
from training.utterances import ManifestError

DATA = Path("../shared/data")
CACHE = Path("runs/features")
TOLD = (
    RecipeError,
    ManifestError,
    AudioError,
    CheckpointError,
    WeightsError,
    ModelFileError,
    SpecError,
    FloatingPointError,
    OSError,
)
"""What may be wrong with what a user gave: told in one line, without a traceback."""


class Command(Protocol):
    """A command; a module with these two functions is one."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Its command line."""

    def run(self, args: argparse.Namespace, /) -> str:
        """Does it; gives what is to be printed."""


def main(
    package: str,
    commands: Mapping[str, tuple[Command, str]],
    argv: list[str] | None,
    about: str | None = None,
    also: tuple[type[Exception], ...] = (),
) -> int:
    """Runs one command of `python -m PACKAGE`.

    Args:
        package: its name.
        commands: by name, with what each does.
        argv: arguments; None: those of the process.
        about: what the package does.
        also: errors that are told as those of TOLD are.

    Returns:
        The exit status: 0, or 1 after an error that was told.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=about)
    parsers = parser.add_subparsers(dest="command", required=True)
    for name, (command, does) in commands.items():
        command.add_arguments(parsers.add_parser(name, help=does))
    args = parser.parse_args(argv)
    errors: tuple[type[Exception], ...] = (*TOLD, *also)
    try:
        print(commands[args.command][0].run(args))  # noqa: T201
    except errors as error:
        told = " ".join(str(error).splitlines())
    else:
        return 0
    # Only now is the error's traceback gone, and with it a progress bar that still held the line.
    print(f"python -m {package}: {told}", file=sys.stderr)  # noqa: T201
    return 1


def add_recipe_arguments(
    parser: argparse.ArgumentParser, such_as: str, out: Path | None = None, *, folders: bool = False
) -> None:
    """What every command that trains takes.

    Args:
        parser: of the command.
        such_as: where to find such a recipe.
        out: folder of the run; None: it is named by the recipe's file, see `run_folder`.
        folders: `data` may be several folders, and is a list.
    """
    parser.add_argument("recipe", type=Path, help=f"a TOML file, such as {such_as}")
    if folders:
        several = "folders of data sets; of two with the same data set, the first counts"
        parser.add_argument("--data", type=Path, nargs="+", default=[DATA], help=several)
    else:
        parser.add_argument("--data", type=Path, default=DATA, help="folder of data sets")
    default = out or "runs/<recipe's file name>"
    parser.add_argument(
        "--out", type=Path, default=out, help=f"folder of what comes of it (default {default})"
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of computed features")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a recipe key")


def add_train_arguments(parser: argparse.ArgumentParser, such_as: str, *, folders: bool = False) -> None:
    """What a command that trains one recipe takes: as `add_recipe_arguments`, and whether to resume."""
    add_recipe_arguments(parser, such_as, folders=folders)
    parser.add_argument("--anew", action="store_true", help="start over instead of resuming")


def run_folder(args: argparse.Namespace) -> Path:
    """Where a run goes, by arguments of `add_train_arguments`."""
    out: Path | None = args.out
    return out or Path("runs") / args.recipe.stem


class Recipe(Protocol):
    """A recipe: of all that it may hold, the loop is known here."""

    @property
    def loop(self) -> LoopSpec:
        """How to train."""


R = TypeVar("R", bound=Recipe)


@dataclass(frozen=True, slots=True)
class Train(Generic[R]):
    """The command that trains a recipe."""

    recipe: type[R]
    task: Callable[[R, argparse.Namespace], Task]
    """Of a recipe, and of the arguments `data`, `cache` and those of `more`."""
    recipes: str
    """The folder that has such."""
    folders: bool = False
    """`data` may be several folders, and is a list."""
    more: Callable[[argparse.ArgumentParser], object] | None = None
    """Adds arguments of its own."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The command line."""
        add_train_arguments(parser, f"those in {self.recipes}", folders=self.folders)
        if self.more:
            self.more(parser)

    def run(self, args: argparse.Namespace) -> str:
        """Trains; says how well.

        Raises:
            RecipeError: the recipe is not understood, or the folder holds a run with another one.
            CheckpointError: a checkpoint is damaged.
            FloatingPointError: the loss is not finite.
        """
        recipe = load(self.recipe, args.recipe, args.set)
        out = run_folder(args)
        metrics = fit(self.task(recipe, args), recipe.loop, out, resume=not args.anew)
        best = metrics["best"]
        return f"best dev {metrics['metric']}: {best['dev']}, epoch {best['epoch']}, in {out}"


def share(text: str) -> float:
    """An argument that is a number from 0 to 1.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"wants a number from 0 to 1, got {text!r}")
    return number


def count(text: str) -> int:
    """An argument that is a whole number from 1 on. Raises as `share`."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"wants a whole number from 1 on, got {text!r}")
    return int(text)
