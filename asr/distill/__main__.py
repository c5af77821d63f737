"""`python -m asr.distill`: pre-train, distil, probe, and time encoders."""

import argparse
import sys
from pathlib import Path

from asr.distill import finetune, pretrain, probes, speed
from asr.distill.recipe import DistillRecipe
from asr.distill.task import DistillTask
from training.audio import AudioError
from training.ctranslate2 import WeightsError
from training.loop import fit
from training.recipe import RecipeError, load
from training.utterances import ManifestError


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m asr.distill", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("train", "teach a student"), ("pretrain", "train a HuBERT of our own")):
        command = commands.add_parser(name, help=text)
        command.add_argument("recipe", type=Path, help="a TOML file, such as those in asr/distill/recipes")
        command.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of data sets")
        command.add_argument("--out", type=Path, help="folder of the run (default runs/<recipe's file name>)")
        command.add_argument("--cache", type=Path, default=Path("runs/features"))
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
        command.add_argument("--anew", action="store_true", help="start over instead of resuming")
        if name == "train":
            command.add_argument("--weights", default="", help="the teacher's, a folder or a file")
    probes.add_arguments(commands.add_parser("probe", help="what frozen features can do"))
    finetune.add_arguments(commands.add_parser("finetune", help="what the encoder can do when it learns on"))
    speed.add_arguments(commands.add_parser("speed", help="time the full-size students"))
    args = parser.parse_args(argv)
    try:
        if args.command in ("train", "pretrain"):
            out = args.out or Path("runs") / args.recipe.stem
            if args.command == "train":
                recipe = load(DistillRecipe, args.recipe, args.set)
                task = DistillTask(recipe, args.data, args.cache, args.weights)
                metrics = fit(task, recipe.loop, out, resume=not args.anew)
            else:
                metrics = pretrain.run(args.recipe, args.set, args.data, args.cache, out, anew=args.anew)
            best = metrics["best"]
            print(f"best dev {metrics['metric']}: {best['dev']}, epoch {best['epoch']}, in {out}")
        else:
            print({"probe": probes.run, "finetune": finetune.run, "speed": speed.run}[args.command](args))
    except (RecipeError, ManifestError, AudioError, WeightsError, FileNotFoundError) as error:
        print(f"python -m asr.distill: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
