"""Things that people dictate: spelled names, digits, numbers, dates, times, addresses, money.

Each generator makes one phrase, ready for a synthesiser: words, and letters in braces that are said by their
names ("{C} {M} {U}"). What is to be recognised is `asr.text.english` of it. Commas are pauses.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from asr.number_words import cardinal, digits, ordinal, pair, year
from asr.word_lists import CITIES, FIRST_NAMES, LAST_NAMES, MONTHS, PLACES, STATES, STREETS, THINGS

Rng = np.random.Generator
Generator = Callable[[Rng], str]
T = TypeVar("T")

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_KEYS = ("rubout", "enter", "erase", "repeat", "delete", "insert", "code", "space")
_SINGLE = (
    "yes",
    "no",
    "go",
    "stop",
    "help",
    "start",
    "cancel",
    "back",
    "next",
    "okay",
    "undo",
    "repeat",
    "quit",
)
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIMES_OF_DAY = ("in the morning", "in the afternoon", "in the evening", "at night", "{A} {M}", "{P} {M}")
_FLATS = (
    "apartment",
    "flat",
    "flat number",
    "suite",
    "unit",
    "room",
    "plot number",
    "house number",
    "lane number",
)


def pick(rng: Rng, options: Sequence[T]) -> T:
    """One of them, all alike."""
    return options[int(rng.integers(len(options)))]


def spelled(rng: Rng, word: str) -> str:
    """A word letter by letter: with pauses or without, doubled letters now and then as "double"."""
    doubles, pauses = rng.random() < 0.15, rng.random()
    parts, at = [], 0
    letters = [char for char in word.upper() if char in _ALPHABET or char in "'- "]
    while at < len(letters):
        char = letters[at]
        if char == "'":
            parts.append("apostrophe")
        elif char == "-":
            parts.append("hyphen")
        elif char == " ":
            parts.append("space" if rng.random() < 0.3 else ",")
        elif doubles and letters[at + 1 : at + 2] == [char]:
            parts.append(f"double {{{char}}}")
            at += 1
        else:
            parts.append(f"{{{char}}}")
        at += 1
    if pauses < 0.16:
        return ", ".join(part for part in parts if part != ",")
    if pauses < 0.36 and len(parts) > 4:
        cut = int(rng.integers(2, len(parts) - 1))
        parts.insert(cut, ",")
    return _joined(parts)


def digit_row(rng: Rng, text: str) -> str:
    """Digits one by one, in groups, with "oh" or "zero", now and then "double" and "triple"."""
    zero = "oh" if rng.random() < 0.4 else "zero"
    doubles, grouped = rng.random() < 0.15, rng.random() < 0.5
    parts, at = [], 0
    while at < len(text):
        run = 1
        while doubles and run < 3 and text[at : at + run + 1] == text[at] * (run + 1):
            run += 1
        parts.append(("", "double ", "triple ")[run - 1] + digits(text[at], zero))
        at += run
    if grouped and len(parts) > 4:
        step = 5 if len(parts) == 10 and rng.random() < 0.4 else 3
        for cut in range(step, len(parts) - 1, step + 1):
            parts.insert(cut, ",")
    return _joined(parts)


def in_pairs(rng: Rng, text: str) -> str:
    """Digits in ones, twos and threes: 1274 is "twelve seventy four", 175 "one seventy five"."""
    parts, at = [], len(text) % 2 if rng.random() < 0.8 else int(rng.integers(2))
    if at:
        parts.append(digits(text[0], "oh"))
    while at < len(text):
        two = text[at : at + 2]
        if two == "00" and at:
            parts.append("hundred")
        else:
            parts.append(digits(two, "oh") if len(two) == 1 else pair(int(two)) if at else cardinal(int(two)))
        at += 2
    return " ".join(parts)


def _joined(parts: Sequence[str]) -> str:
    return " ".join(parts).replace(" ,", ",")


def row_of(rng: Rng, least: int, most: int) -> str:
    """Random digits, as many as a draw between `least` and `most` says."""
    return "".join(str(digit) for digit in rng.integers(10, size=int(rng.integers(least, most + 1))))


def number(rng: Rng) -> str:
    """A number in one of the ways to say it."""
    way = rng.random()
    if way < 0.35:
        return digit_row(rng, row_of(rng, 1, 7))
    if way < 0.65:
        return in_pairs(rng, row_of(rng, 2, 6))
    size = int(10 ** rng.uniform(0.5, 6))
    words = cardinal(int(rng.integers(size)))
    if way < 0.8:
        words = words.replace("hundred ", "hundred and ") if rng.random() < 0.5 else words
    return words if way < 0.93 else f"{words} point {digits(row_of(rng, 1, 3))}"


def code(rng: Rng) -> str:
    """A key, random letters, a number: "rubout {J} {U} {I} {P} three two eight"."""
    letters = "".join(pick(rng, _ALPHABET) for _ in range(int(rng.integers(1, 7))))
    parts = [pick(rng, _KEYS)] if rng.random() < 0.5 else []
    if rng.random() < 0.75:
        parts.append(spelled(rng, letters))
    if rng.random() < 0.75 or len(parts) < 2:
        parts.append(number(rng))
    return " ".join(parts)


def key(rng: Rng) -> str:
    """A word of command by itself."""
    return pick(rng, _SINGLE)


def name(rng: Rng) -> str:
    """A name, said, spelled, or both."""
    first, last = pick(rng, FIRST_NAMES), pick(rng, LAST_NAMES)
    whole = first if rng.random() < 0.3 else last if rng.random() < 0.3 else f"{first} {last}"
    way = rng.random()
    if way < 0.5:
        return spelled(rng, whole)
    if way < 0.65:
        return f"{whole}, {spelled(rng, whole)}"
    if way < 0.8:
        intro = pick(rng, ("my name is", "this is", "it's for", "call", "the name is", "I am"))
        return f"{intro} {whole}" + (f", {spelled(rng, last)}" if rng.random() < 0.4 else "")
    return whole


def word(rng: Rng) -> str:
    """An everyday word or a place, spelled."""
    return spelled(rng, pick(rng, (*THINGS, *PLACES, *CITIES)))


def phone(rng: Rng) -> str:
    """A telephone number."""
    row = digit_row(rng, row_of(rng, 7, 7) if rng.random() < 0.2 else row_of(rng, 10, 10))
    intro = ("", "", "", "my number is ", "call me at ", "area code ", "the phone number is ", "dial ")
    return pick(rng, intro) + row


def date(rng: Rng) -> str:
    """A date, with or without its year and day of the week."""
    day, month = int(rng.integers(1, 32)), pick(rng, MONTHS)
    nth = ordinal(day)
    middle = pick(
        rng, (f"{month} {nth}", f"{month} {cardinal(day)}", f"the {nth} of {month}", f"{month} the {nth}")
    )
    way = rng.random()
    spoken_year = year(int(rng.integers(1900, 2031)))
    if way < 0.15:
        spoken_year = digit_row(rng, str(int(rng.integers(1940, 2031))))
    elif way < 0.25:
        middle = f"{cardinal(day)} {spelled(rng, month)}"
    parts = [middle, spoken_year] if rng.random() < 0.7 else [middle]
    if rng.random() < 0.15:
        parts.insert(0, pick(rng, _DAYS))
    return " ".join(parts)


def time(rng: Rng) -> str:
    """A time of day."""
    hour, minute = int(rng.integers(1, 13)), int(rng.integers(0, 60))
    way = rng.random()
    if way < 0.25:
        now = cardinal(hour)
        shares = (f"half past {now}", f"quarter past {now}", f"quarter to {now}")
        said = pick(rng, (*shares, f"{cardinal(minute + 2)} minutes past {now}"))
    elif minute < 5:
        said = f"{cardinal(hour)} o'clock"
    else:
        said = f"{cardinal(hour)} {pair(minute)}"
    return f"{said} {pick(rng, _TIMES_OF_DAY)}" if rng.random() < 0.5 else said


def house(rng: Rng) -> str:
    """A house number."""
    row = str(int(rng.integers(1, 10 ** int(rng.integers(2, 6)))))
    return pick(rng, (digit_row(rng, row), in_pairs(rng, row), cardinal(int(row)), in_pairs(rng, row)))


def address(rng: Rng) -> str:
    """A postal address, whole or in part."""
    street = f"{pick(rng, PLACES)} {pick(rng, STREETS)}"
    if rng.random() < 0.12:
        street = f"{ordinal(int(rng.integers(1, 200)))} {pick(rng, STREETS)}"
    parts = [f"{house(rng)} {street}"]
    if rng.random() < 0.3:
        parts.insert(int(rng.integers(2)), f"{pick(rng, _FLATS)} {house(rng)}")
    elif rng.random() < 0.2:
        parts[0] += f" {number(rng)}"
    if rng.random() < 0.4:
        parts.append(pick(rng, CITIES))
        if rng.random() < 0.6:
            parts.append(pick(rng, STATES))
    if rng.random() < 0.3:
        parts.append(digit_row(rng, row_of(rng, 5, 6)))
    if rng.random() < 0.1:
        parts.append(spelled(rng, street.split()[0]))
    return ", ".join(parts)


def money(rng: Rng) -> str:
    """A price or an amount."""
    amount, cents = int(10 ** rng.uniform(0, 4)), int(rng.integers(100))
    way = rng.random()
    if way < 0.4:
        return f"{cardinal(amount)} dollars and {cardinal(cents)} cents"
    if way < 0.7:
        return f"{cardinal(amount)} {pick(rng, ('dollars', 'euros', 'pounds', 'rupees'))}"
    return pick(rng, (f"{cardinal(cents)} percent", f"{cardinal(amount)} point {digits(str(cents))} percent"))


GENERATORS: Mapping[str, tuple[Generator, float]] = {
    "name": (name, 4.0),
    "word": (word, 3.0),
    "code": (code, 5.0),
    "number": (number, 4.0),
    "phone": (phone, 2.5),
    "address": (address, 4.0),
    "date": (date, 1.5),
    "time": (time, 0.7),
    "money": (money, 0.5),
    "key": (key, 0.3),
}
"""Kind to generator and its odds: what a clip costs in seconds differs, so these are no shares of time."""
