"""`python -m asr`: manifests, synthetic speech, pseudo-labels, a vocabulary; train recipes; calibrate."""

import argparse
import sys
from pathlib import Path

from asr import calibrate, compare, language_model, manifest, pseudo_labels, synth, vocabulary
from asr.ngrams.texts import LanguageTextError
from asr.recipe import AsrRecipe
from asr.sentences import TextError
from asr.task import AsrTask
from stapes.onnxfile import ModelFileError
from stapes.spec import SpecError
from training.audio import AudioError
from training.loop import fit
from training.recipe import RecipeError, load
from training.utterances import ManifestError
from training.voices import EngineError

_MODULES = {
    "manifest": (manifest, "list a corpus's recordings"),
    "vocabulary": (vocabulary, "make the table of symbols"),
    "language-model": (language_model, "learn which texts are likely"),
    "synth": (synth, "make synthetic speech"),
    "compare": (compare, "train each direction and both, several seeds"),
    "pseudo": (pseudo_labels, "label what two recognisers agree on"),
    "calibrate": (calibrate, "set how a model searches, by measurement"),
}
_ERRORS = (
    RecipeError,
    ManifestError,
    AudioError,
    vocabulary.VocabularyError,
    TextError,
    LanguageTextError,
    EngineError,
    ModelFileError,
    SpecError,
    FileNotFoundError,
)


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m asr", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train a recipe")
    train.add_argument("recipe", type=Path, help="a TOML file, such as those in asr/recipes")
    train.add_argument("--out", type=Path, help="folder of the run (default runs/<recipe's file name>)")
    train.add_argument("--anew", action="store_true", help="start over instead of resuming")
    train.add_argument(
        "--data",
        type=Path,
        nargs="+",
        default=[Path("../shared/data")],
        help="folders of data sets; of two with the same data set, the first counts",
    )
    train.add_argument(
        "--cache", type=Path, default=Path("runs/features"), help="folder of computed features"
    )
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a recipe key")
    for name, (module, does) in _MODULES.items():
        module.add_arguments(commands.add_parser(name, help=does))
    args = parser.parse_args(argv)
    try:
        if args.command == "train":
            recipe = load(AsrRecipe, args.recipe, args.set)
            out = args.out or Path("runs") / args.recipe.stem
            metrics = fit(AsrTask(recipe, args.data, args.cache), recipe.loop, out, resume=not args.anew)
            best = metrics["best"]
            print(f"best dev {metrics['metric']}: {best['dev']}, epoch {best['epoch']}, in {out}")
        else:
            print(_MODULES[args.command][0].run(args))
    except _ERRORS as error:
        print(f"python -m asr: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
