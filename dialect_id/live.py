"""What the decoder of a model announces as a recording goes on, and how often it is right."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dialect_id.judged import Judged
from stapes.events import DialectGuessed
from stapes.spec import ModelSpec
from stapes.tasks.detection import UNKNOWN_CLASS
from stapes.tasks.dialect_id import UNKNOWN, DialectDecoder


def guesses(judged: Judged, spec: ModelSpec) -> list[DialectGuessed]:
    """Every guess over one recording, as if all of it were speech, from its start to its end."""
    decoder = DialectDecoder(spec)
    hop = spec.window.hop * spec.features.hop_samples
    events = [e for n, row in enumerate(judged.scores, 1) for e in decoder.push(row[None], n * hop)]
    events += decoder.flush(len(judged.scores) * hop)
    return [event for event in events if isinstance(event, DialectGuessed)]


def observe(judged: Sequence[Judged], spec: ModelSpec) -> dict[str, Any]:
    """Figures of the guesses: of known languages, and of what is none, by data set.

    Args:
        judged: recordings.
        spec: with the params to try.
    """
    known = [(each, guesses(each, spec)) for each in judged if each.truth != UNKNOWN_CLASS]
    figures: dict[str, Any] = {"known": _known(known, spec)} if known else {}
    others = [each for each in judged if each.truth == UNKNOWN_CLASS]
    for folder in sorted({each.folder for each in others}):
        figures[folder] = _others(guesses(each, spec) for each in others if each.folder == folder)
    return figures


def _known(known: Sequence[tuple[Judged, list[DialectGuessed]]], spec: ModelSpec) -> dict[str, Any]:
    said = [(spec.labels[each.truth], guesses) for each, guesses in known if guesses]
    seconds = [guesses[0].seconds for _, guesses in said]
    return {
        "n": len(known),
        "guessed": round(len(said) / len(known), 4),
        "first_right": round(sum(g[0].label == truth for truth, g in said) / len(known), 4),
        "first_unknown": round(sum(g[0].label == UNKNOWN for _, g in said) / len(known), 4),
        "last_right": round(sum(g[-1].label == truth for truth, g in said) / len(known), 4),
        "revised": round(sum(len(g) > 1 for _, g in said) / len(known), 4),
        "median_seconds": round(float(np.median(seconds)), 2) if seconds else None,
    }


def _others(events: Iterable[list[DialectGuessed]]) -> dict[str, Any]:
    said = list(events)
    wrong = sum(any(guess.label != UNKNOWN for guess in guesses) for guesses in said)
    return {
        "n": len(said),
        "silent": round(sum(not guesses for guesses in said) / len(said), 4),
        "some_language": round(wrong / len(said), 4),
    }
