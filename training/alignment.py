"""When each word of a text that is known is said: by a recogniser's CTC posteriors."""

from collections.abc import Mapping, Sequence
from math import log

from stapes.events import Word
from stapes.model import Model
from stapes.samples import Samples
from stapes.scoring import score
from stapes.tasks.asrparams import AsrParams
from stapes.tasks.symbols import SPACE, SPECIALS
from stapes.tasks.words import words


class Aligner:
    """A recogniser that is told the text.

    CTC hears a symbol for a step or two somewhere in its sound, so words begin before and end after the
    times given here.
    """

    def __init__(self, model: Model) -> None:
        """Takes a recogniser whose symbols say where words begin.

        Raises:
            ValueError: a model of another task, or one whose symbols do not.
            SpecError: params that are missing or out of range.
        """
        spec = model.spec
        if spec.task != "asr":
            raise ValueError(f"{spec.name} is a model of the task {spec.task!r}, not 'asr'")
        self._model, self._labels = model, spec.labels
        self._ids = {label: number for number, label in enumerate(spec.labels) if number >= SPECIALS}
        if not any(label.startswith(SPACE) for label in self._ids):
            raise ValueError(f"{spec.name} has no symbol for where a word begins, so its text has no words")
        self._step = AsrParams.of(spec).step_frames * spec.features.hop_samples / self.rate

    @property
    def rate(self) -> int:
        """Of the samples, in Hz."""
        return self._model.spec.features.sample_rate

    def words(self, samples: Samples, said: Sequence[str]) -> tuple[Word, ...]:
        """Times and sureness of each word, by the likeliest alignment.

        Args:
            samples: (samples,) in [-1, 1].
            said: the words, spelled as the recogniser spells them.

        Returns:
            As many as there are in `said`; none if one of them has a letter that no symbol has, or if all
            of them are too many for the sound.

        Raises:
            TypeError, ValueError: as `stapes.scoring.score`.
        """
        cut = [spelled(SPACE + word, self._ids) for word in said]
        if not all(cut):
            return ()
        scores = score(self._model, samples, self.rate)
        ends = [(number + 1) * self._step for number in range(len(scores))]
        found = words([number for ids in cut for number in ids], scores, ends, self._step, self._labels)
        return found if [word.text for word in found] == list(said) else ()


def spelled(text: str, ids: Mapping[str, int]) -> tuple[int, ...]:
    """The fewest symbols that make up a text; of equally few, those that stand first.

    A model file has its symbols, but not how likely each is. sentencepiece, which learnt them, writes the
    likeliest first: this is its own cutting of 99.4 % of words of running English, with 300 symbols.

    Args:
        text: not empty.
        ids: of each symbol, from 1 on.

    Returns:
        Their ids; none if the text cannot be made of them.
    """
    longest = max(map(len, ids), default=0)
    best: list[tuple[int, float, tuple[int, ...]] | None] = [(0, 0.0, ())]
    for end in range(1, len(text) + 1):
        options = [
            (before[0] + 1, before[1] + log(number), (*before[2], number))
            for start in range(max(0, end - longest), end)
            if (before := best[start]) is not None and (number := ids.get(text[start:end])) is not None
        ]
        best.append(min(options, default=None))
    whole = best[-1]
    return whole[2] if whole else ()
