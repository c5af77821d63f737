"""`python -m dialect_id`: train recipes, compare networks, write manifests, calibrate, evaluate."""

import argparse
import sys
from pathlib import Path

from dialect_id import calibrate, compare, corpora, evaluate
from dialect_id.recipe import DialectRecipe
from dialect_id.task import DialectTask
from stapes.onnxfile import ModelFileError
from stapes.spec import SpecError
from training.audio import AudioError
from training.checkpoint import CheckpointError
from training.loop import fit
from training.recipe import RecipeError, load
from training.utterances import ManifestError

_COMMANDS = {
    "compare": (compare, "train several networks by one recipe, several seeds"),
    "manifest": (corpora, "write the manifest of a corpus"),
    "calibrate": (calibrate, "temperature, floor and early threshold of an exported model"),
    "evaluate": (evaluate, "all figures of an exported model, drawn"),
}
_ERRORS = (
    RecipeError,
    ManifestError,
    AudioError,
    CheckpointError,
    ModelFileError,
    SpecError,
    FloatingPointError,
    OSError,
)


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dialect_id", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train a recipe")
    train.add_argument("recipe", type=Path, help="a TOML file, such as those in dialect_id/recipes")
    train.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of data sets")
    train.add_argument("--out", type=Path, help="folder of the run (default runs/<recipe's file name>)")
    train.add_argument(
        "--cache", type=Path, default=Path("runs/features"), help="folder of computed features"
    )
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a recipe key")
    train.add_argument("--anew", action="store_true", help="start over instead of resuming")
    for name, (module, title) in _COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=title))
    args = parser.parse_args(argv)
    try:
        print(_train(args) if args.command == "train" else _COMMANDS[args.command][0].run(args))
    except _ERRORS as error:
        told = str(error)
    else:
        return 0
    # Only now is the error's traceback gone, and with it a progress bar that still held the line.
    print(f"python -m dialect_id: {told}", file=sys.stderr)
    return 1


def _train(args: argparse.Namespace) -> str:
    recipe = load(DialectRecipe, args.recipe, args.set)
    out = args.out or Path("runs") / args.recipe.stem
    metrics = fit(DialectTask(recipe, args.data, args.cache), recipe.loop, out, resume=not args.anew)
    best = metrics["best"]
    return f"best dev {metrics['metric']}: {best['dev']}, epoch {best['epoch']}, in {out}"


if __name__ == "__main__":
    sys.exit(main())
