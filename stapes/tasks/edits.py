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
    sums = np.zeros(4, np.int64)
    for right, found in zip(wanted, given, strict=True):
        sums += count_errors(right, found)
    wrong_words, words, wrong, characters = sums.tolist()
    return {
        "words": words,
        "wer": round(wrong_words / words, 6) if words else None,
        "cer": round(wrong / characters, 6) if characters else None,
    }


def count_errors(wanted: str, given: str) -> tuple[int, int, int, int]:
    """Of one text: wrong words, words wanted, wrong characters, characters wanted; see `error_rates`."""
    right, found = normalise(wanted), normalise(given)
    words, characters = _words(right), _characters(right)
    return (
        distance(words, _words(found)),
        len(words),
        distance(characters, _characters(found)),
        len(characters),
    )


def _words(text: str) -> list[str]:
    return text.split()


def _characters(text: str) -> list[str]:
    return list(text.replace(" ", ""))
