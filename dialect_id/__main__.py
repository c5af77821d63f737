"""`python -m dialect_id`: train recipes, compare networks, write manifests, calibrate, evaluate."""

import sys

from dialect_id import calibrate, compare, corpora, evaluate
from dialect_id.recipe import DialectRecipe
from dialect_id.task import DialectTask
from training import command

_TRAIN = command.Train(
    DialectRecipe, lambda recipe, args: DialectTask(recipe, args.data, args.cache), "dialect_id/recipes"
)
_COMMANDS: dict[str, tuple[command.Command, str]] = {
    "train": (_TRAIN, "train a recipe"),
    "compare": (compare, "train several networks by one recipe, several seeds"),
    "manifest": (corpora, "write the manifest of a corpus"),
    "calibrate": (calibrate, "temperature, floor and early threshold of an exported model"),
    "evaluate": (evaluate, "all figures of an exported model, drawn"),
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    return command.main("dialect_id", _COMMANDS, argv, __doc__)


if __name__ == "__main__":
    sys.exit(main())
