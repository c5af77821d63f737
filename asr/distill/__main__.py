"""`python -m asr.distill`: pre-train, distil, probe, compare and time encoders."""

import sys

from asr.distill import compare, finetune, periods, pretrain, probes, speed
from asr.distill.recipe import DistillRecipe
from asr.distill.task import DistillTask
from training import command

_RECIPES = "asr/distill/recipes"
_TRAIN = command.Train(
    DistillRecipe,
    lambda recipe, args: DistillTask(recipe, args.data, args.cache, args.weights),
    _RECIPES,
    more=lambda parser: parser.add_argument(
        "--weights", default="", help="the teacher's, a folder or a file"
    ),
)
_PRETRAIN = command.Train(
    pretrain.PretrainRecipe,
    lambda recipe, args: pretrain.PretrainTask(recipe, args.data, args.cache),
    _RECIPES,
)
_COMMANDS: dict[str, tuple[command.Command, str]] = {
    "train": (_TRAIN, "teach a student"),
    "pretrain": (_PRETRAIN, "train a HuBERT of our own"),
    "probe": (probes, "what frozen features can do"),
    "finetune": (finetune, "what the encoder can do when it learns on"),
    "compare": (compare, "students of one teacher and budget, judged alike: one table"),
    "periods": (periods, "of a student that compresses: what it can do and costs, over λ"),
    "speed": (speed, "time the full-size students"),
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    return command.main("asr.distill", _COMMANDS, argv, __doc__)


if __name__ == "__main__":
    sys.exit(main())
