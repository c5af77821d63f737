"""Word and character error rates, and the text that they compare."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

_BETWEEN = re.compile(r"(?<=\w)'(?=\w)")


def normalise(text: str) -> str:
    """Text as error rates see it; references and hypotheses alike.

    The rule: Unicode NFKC; lower case (`str.casefold`); typographic apostrophes become "'"; every character
    that is no letter, mark or digit becomes a space, but an apostrophe between two of them, as in "don't",
    stays; runs of spaces become one, at the ends none. Numbers are not spelled out.
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    plain = _BETWEEN.sub("\0", plain)
    kept = "".join(c if c == "\0" or unicodedata.category(c)[0] in "LMN" else " " for c in plain)
    return " ".join(kept.replace("\0", "'").split())


def distance(wanted: Sequence[str], given: Sequence[str]) -> int:
    """Least number of insertions, deletions and substitutions that make `wanted` of `given`."""
    ids = {symbol: number for number, symbol in enumerate({*wanted, *given})}
    row = np.array([ids[symbol] for symbol in wanted], np.int64)
    places = np.arange(len(wanted) + 1)
    costs = places
    for symbol in given:
        best = costs + 1
        best[1:] = np.minimum(best[1:], costs[:-1] + (row != ids[symbol]))
        # A chain of deletions: the least cost of any place before, and one for each place since.
        costs = np.minimum.accumulate(best - places) + places
    return int(costs[-1])


def error_rates(wanted: Sequence[str], given: Sequence[str]) -> dict[str, Any]:
    """Errors in all texts together for each word and for each character wanted.

    Args:
        wanted: the right texts.
        given: what was recognised of each.

    Returns:
        "words": how many were wanted; "wer" and "cer": None where nothing was wanted; they may exceed 1.
        Spaces are no characters.
    """
    errors, counts = [0, 0], [0, 0]
    for right, found in zip(map(normalise, wanted), map(normalise, given), strict=True):
        for unit, cut in enumerate((_words, _characters)):
            errors[unit] += distance(cut(right), cut(found))
            counts[unit] += len(cut(right))
    wer, cer = (round(e / n, 6) if n else None for e, n in zip(errors, counts, strict=True))
    return {"words": counts[0], "wer": wer, "cer": cer}


def _words(text: str) -> list[str]:
    return text.split()


def _characters(text: str) -> list[str]:
    return list(text.replace(" ", ""))
