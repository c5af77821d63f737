"""`python -m kws`: train a recipe, compare networks, calibrate and evaluate a model, mine and cut clips."""

import sys

from kws import calibrate, compare, cut, cut_noise, evaluate, mine
from kws.clips import DataError
from kws.recipe import KwsRecipe
from kws.task import KwsTask
from training import command

_TRAIN = command.Train(KwsRecipe, lambda recipe, args: KwsTask(recipe, args.data, args.cache), "kws/recipes")
_COMMANDS: dict[str, tuple[command.Command, str]] = {
    "train": (_TRAIN, "train a recipe"),
    "compare": (compare, "train several networks by one recipe, several seeds"),
    "calibrate": (calibrate, "thresholds for a rate of false accepts"),
    "evaluate": (evaluate, "twelve-class accuracy, false accepts"),
    "mine": (mine, "cut out other speech that a model nearly fires in"),
    "cut": (cut, "cut keywords out of running speech whose text is known"),
    "noise": (cut_noise, "cut sounds of any kind to clips of noise"),
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    return command.main("kws", _COMMANDS, argv, __doc__, also=(DataError,))


if __name__ == "__main__":
    sys.exit(main())
