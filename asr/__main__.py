"""`python -m asr`: manifests, synthetic speech, pseudo-labels, a vocabulary; train recipes; calibrate."""

import sys

from asr import calibrate, compare, language_model, manifest, pseudo_labels, synth, transcribe, vocabulary
from asr.ngrams.texts import LanguageTextError
from asr.recipe import AsrRecipe
from asr.sentences import TextError
from asr.task import AsrTask
from training import command
from training.voices import EngineError

_TRAIN = command.Train(
    AsrRecipe, lambda recipe, args: AsrTask(recipe, args.data, args.cache), "asr/recipes", folders=True
)
_COMMANDS: dict[str, tuple[command.Command, str]] = {
    "train": (_TRAIN, "train a recipe"),
    "manifest": (manifest, "list a corpus's recordings"),
    "vocabulary": (vocabulary, "make the table of symbols"),
    "language-model": (language_model, "learn which texts are likely"),
    "synth": (synth, "make synthetic speech"),
    "compare": (compare, "train each direction and both, several seeds"),
    "transcribe": (transcribe, "write what Whisper hears"),
    "pseudo": (pseudo_labels, "label recordings with what recognisers heard"),
    "calibrate": (calibrate, "set how a model searches, by measurement"),
}
_ERRORS = (vocabulary.VocabularyError, TextError, LanguageTextError, EngineError)


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    return command.main("asr", _COMMANDS, argv, __doc__, also=_ERRORS)


if __name__ == "__main__":
    sys.exit(main())
