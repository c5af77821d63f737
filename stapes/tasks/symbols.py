"""The symbols of every recogniser: its labels are these five, then characters or subwords."""

from collections.abc import Sequence

BLANK = PAD = 0
"""CTC's blank, and the filling of shorter texts."""
FORWARDS, END, BACKWARDS = 2, 3, 4
"""The start of a text, its end, the start of one that is written backwards. 1 is the unknown symbol."""
SPECIALS = 5
"""Ids below this say nothing."""
SPACE = "▁"
"""Begins a subword at a word's start; by itself, the space between characters."""


def join(ids: Sequence[int], labels: Sequence[str]) -> str:
    """The text of symbols."""
    return " ".join("".join(labels[i] for i in ids if i >= SPECIALS).replace(SPACE, " ").split())
