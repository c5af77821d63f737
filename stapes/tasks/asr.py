"""Speech to text: CTC shows the text while it is spoken, the decoder decides at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stapes.events import Event, TextChanged, TextFinished, Word
from stapes.spec import ModelSpec, Scores, SpecError
from stapes.tasks import beam
from stapes.tasks.asrparams import AsrParams
from stapes.tasks.ctc import Fusion, Ids, PrefixBeam
from stapes.tasks.edits import error_rates
from stapes.tasks.hotwords import Hotwords
from stapes.tasks.reading import Extras
from stapes.tasks.symbols import BLANK, join
from stapes.tasks.words import words

_PAUSE_SECONDS = 5.0
"""Speech that is too long is cut at the best pause of so many seconds at its end."""
_PAUSE_STEPS = 5
"""A pause is so many steps without a symbol; the surest one is the best."""
_LEAST_LOG = 1e-12
_NONE = Extras()


class TextDecoder:
    """Text of utterances: `push` shows what CTC makes of them so far, `flush` ends one.

    An utterance of the model's longest, `window.frames`, is cut at the best pause of its last seconds: what
    is before is finished, what is after begins the next.
    """

    def __init__(self, spec: ModelSpec, extras: Extras = _NONE) -> None:
        self._params = params = AsrParams.of(spec)
        if params.search != "ctc" and extras.reader is None:
            raise SpecError(
                f"{spec.name}: 'params.search' is {params.search!r}, but the model has no second graph"
            )
        self._model, self._labels, self._reader = spec.name, spec.labels, extras.reader
        self._rate = spec.features.sample_rate
        self._step = params.step_frames * spec.features.hop_samples
        self._most = max(1, spec.window.frames // params.step_frames)
        self._hotwords = Hotwords(params.hotwords, spec.labels, params.hotword_bonus)
        self._fusion: Fusion | None = None
        if extras.language is not None and params.lm_weight:
            self._fusion = Fusion(extras.language, params.lm_weight, params.lm_bonus)
        self._first = 0
        """Steps of the reader's that came before this utterance's."""
        self._begin([], [])

    def _begin(self, rows: list[Scores], ends: list[int]) -> None:
        """A new utterance, perhaps with steps that were heard before."""
        params = self._params
        self._rows, self._ends = list[Scores](), list[int]()
        self._said = ""
        self._heard, self._sureness = 0, 0.0
        """Steps at which CTC heard a symbol, and the sum of its posteriors."""
        self._beam = PrefixBeam(
            self._labels, self._hotwords, params.prefixes, params.tokens, params.least, fusion=self._fusion
        )
        for row, end in zip(rows, ends, strict=True):
            self._hear(row, end)

    def push(self, scores: Scores, at: int) -> list[Event]:
        """Posteriors (steps, labels) of CTC, of which the last ends at sample `at`."""
        events: list[Event] = []
        for left, row in zip(range(len(scores) - 1, -1, -1), scores, strict=True):
            self._hear(row, at - self._step * left)
            if len(self._rows) >= self._most:
                events += self._cut()
        text = self._shown()
        if text != self._said:
            self._said = text
            events.append(TextChanged(at=at, model=self._model, rate=self._rate, text=text))
        return events

    def flush(self, at: int) -> list[Event]:
        """The utterance ended at sample `at`: its text, if there is any."""
        events = self._finish(at)
        self._first = 0
        self._begin([], [])
        return events

    def whole(self, scores: Scores) -> list[Event]:
        """All events of a clip by itself, (steps, labels): it begins at sample 0 and ends with its scores."""
        at = len(scores) * self._step
        return self.push(scores, at) + self.flush(at)

    def _hear(self, row: Scores, end: int) -> None:
        self._rows.append(row)
        self._ends.append(end)
        self._beam.push(_logs(row))
        best = int(row.argmax())
        if best != BLANK:
            self._heard += 1
            self._sureness += float(row[best])

    def _sure(self) -> bool:
        return self._heard > 0 and self._sureness >= self._params.floor * self._heard

    def _shown(self) -> str:
        return join(self._beam.best, self._labels) if self._sure() else ""

    def _cut(self) -> list[Event]:
        """Finishes what is before the best pause; the rest begins the next utterance."""
        blanks = _logs(np.array([row[BLANK] for row in self._rows]))
        width = min(_PAUSE_STEPS, len(blanks))
        pauses = np.convolve(blanks, np.ones(width), "valid")
        among = min(len(pauses), max(1, round(_PAUSE_SECONDS * self._rate / self._step)))
        # Of equally good ones the last: what is finished is then as long as it can be.
        start = len(pauses) - 1 - int(pauses[::-1][:among].argmax())
        steps = max(1, start + width // 2)
        rows, ends, said = self._rows, self._ends, self._said
        self._begin(rows[:steps], ends[:steps])
        self._said = said
        events = self._finish(ends[steps - 1])
        self._first += steps
        if self._reader is not None:
            self._reader.forget(self._first)
        self._begin(rows[steps:], ends[steps:])
        return events

    def _finish(self, at: int) -> list[Event]:
        """The final text of all steps."""
        # A step at which CTC hears a symbol makes some text likelier than none, so none need not be judged.
        found = [one for one in self._beam.found() if join(one[0], self._labels)] if self._sure() else []
        if found:
            found = self._decide(found)
        best = next((ids for ids, _ in found if join(ids, self._labels)), ())
        text = join(best, self._labels)
        if not text:
            if not self._said:
                return []
            return [TextChanged(at=at, model=self._model, rate=self._rate, text="")]
        # The last hop of a stream was filled up with silence: nothing was said after the end.
        ends = [min(end, at) / self._rate for end in self._ends]
        scores = np.stack(self._rows)
        spoken = words(best, scores, ends, self._step / self._rate, self._labels)
        return [
            TextFinished(
                at=at,
                model=self._model,
                rate=self._rate,
                text=text,
                nbest=self._nbest(found),
                words=spoken,
                confidence=_mean(spoken),
            )
        ]

    def _decide(self, found: list[tuple[Ids, float]]) -> list[tuple[Ids, float]]:
        params, reader = self._params, self._reader
        if params.search == "ctc" or reader is None:
            return found
        steps = len(self._rows)
        reader.read(self._first, self._first + steps)
        if params.search == "beam":
            return beam.search(reader, steps, params.beam_spec)
        return beam.rescore(reader, found[: params.rescored], params.backwards, params.ctc_weight)

    def _nbest(self, found: list[tuple[Ids, float]]) -> tuple[tuple[str, float], ...]:
        """Each text once, with its best score."""
        told: dict[str, float] = {}
        for ids, score in found:
            if text := join(ids, self._labels):
                told.setdefault(text, round(score, 4))
        return tuple(told.items())[: self._params.nbest]


def _logs(posteriors: Scores) -> NDArray[np.float64]:
    return np.log(np.maximum(posteriors.astype(np.float64), _LEAST_LOG))


def _mean(spoken: Sequence[Word]) -> float:
    if not spoken:
        return 0.0
    return round(float(np.exp(np.mean(np.log([max(word.confidence, _LEAST_LOG) for word in spoken])))), 4)


def clip(scores: Scores, spec: ModelSpec, extras: Extras = _NONE) -> dict[str, Any]:
    """The text of a whole clip; one longer than the model's longest utterance is cut at pauses.

    Args:
        scores: (steps, labels).
        spec: of the model that gave them.
        extras: of the model; without a reader CTC alone decides.

    Returns:
        "text", "" where nothing is said; "nbest": texts and their scores, best first; of a clip that was cut,
        the text alone; "confidence".
    """
    if extras.reader is None:
        spec = _by_ctc(spec)
    events = TextDecoder(spec, extras).whole(scores)
    finished = [event for event in events if isinstance(event, TextFinished)]
    text = " ".join(event.text for event in finished)
    nbest = [list(one) for one in finished[0].nbest] if len(finished) == 1 else [[text, 0.0]] * bool(text)
    return {"text": text, "nbest": nbest, "confidence": _mean([w for event in finished for w in event.words])}


def _by_ctc(spec: ModelSpec) -> ModelSpec:
    return replace(spec, params={**spec.params, "search": "ctc"})


def metrics(results: Sequence[Mapping[str, Any]], truths: Sequence[str], _: ModelSpec) -> dict[str, Any]:
    """Error rates over many clips; `stapes.tasks.edits.normalise` has the rule that texts are compared by.

    Args:
        results: what `clip` gave for each.
        truths: the right text of each.

    Returns:
        "n", "words", "wer", "cer".
    """
    return {"n": len(results)} | error_rates(truths, [str(result["text"]) for result in results])
