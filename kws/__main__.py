"""`python -m kws`: train a recipe, compare networks, calibrate and evaluate a model, mine its mistakes."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from kws import calibrate, compare, evaluate, mine
from kws.clips import DataError
from kws.recipe import KwsRecipe
from kws.task import KwsTask
from stapes.onnxfile import ModelFileError
from stapes.spec import SpecError
from training.audio import AudioError
from training.checkpoint import CheckpointError
from training.loop import fit
from training.recipe import RecipeError, load

_COMMANDS: dict[str, Callable[[argparse.Namespace], str]] = {
    "compare": compare.run,
    "calibrate": calibrate.run,
    "evaluate": evaluate.run,
    "mine": mine.run,
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m kws", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train a recipe")
    train.add_argument("recipe", type=Path, help="a TOML file, such as those in kws/recipes")
    train.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of data sets")
    train.add_argument("--out", type=Path, help="folder of the run (default runs/<recipe's file name>)")
    train.add_argument(
        "--cache", type=Path, default=Path("runs/features"), help="folder of computed features"
    )
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a recipe key")
    train.add_argument("--anew", action="store_true", help="start over instead of resuming")
    compare.add_arguments(
        commands.add_parser("compare", help="train several networks by one recipe, several seeds")
    )
    calibrate.add_arguments(commands.add_parser("calibrate", help="thresholds for a rate of false accepts"))
    evaluate.add_arguments(commands.add_parser("evaluate", help="twelve-class accuracy, false accepts"))
    mine.add_arguments(commands.add_parser("mine", help="cut out other speech that a model nearly fires in"))
    args = parser.parse_args(argv)
    try:
        if args.command == "train":
            recipe = load(KwsRecipe, args.recipe, args.set)
            out = args.out or Path("runs") / args.recipe.stem
            metrics = fit(KwsTask(recipe, args.data, args.cache), recipe.loop, out, resume=not args.anew)
            best = metrics["best"]
            print(f"best dev {metrics['metric']}: {best['dev']}, epoch {best['epoch']}, in {out}")
        else:
            print(_COMMANDS[args.command](args))
    except (
        RecipeError,
        DataError,
        AudioError,
        CheckpointError,
        ModelFileError,
        SpecError,
        FloatingPointError,
        OSError,
    ) as error:
        told = str(error)
    else:
        return 0
    # Only now is the error's traceback gone, and with it a progress bar that still held the line.
    print(f"python -m kws: {told}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
