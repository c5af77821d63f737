"""Text as a recogniser learns it: what is said, in the fewest symbols.

English is lower-case words with single spaces, numbers and symbols spelled out, apostrophes only inside words
(the convention of LibriSpeech). Mandarin is a row of characters without spaces.
"""

import re
import unicodedata
from collections.abc import Callable

from asr.number_words import cardinal, digits, ordinal, pair, plural, year

ENGLISH_LETTERS = "abcdefghijklmnopqrstuvwxyz'"
"""All symbols of normalised English but the space."""

_FOLDED = str.maketrans(
    {
        "’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'", "＇": "'", "“": '"', "”": '"', "„": '"',
        "–": "-", "—": " - ", "―": " - ", "‐": "-", "‑": "-", "−": "-", "…": "...",
        "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ß": "ss", "đ": "d", "Đ": "D",
        "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ł": "l", "Ł": "L", "ı": "i",
        "½": " 1/2", "¼": " 1/4", "¾": " 3/4",
    }
)  # fmt: skip
_SYMBOLS = {"&": "and", "%": "percent", "+": "plus", "=": "equals", "@": "at", "°": "degrees"}
_COINS = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}
_TITLES = {
    "mr": "mister", "mrs": "missus", "ms": "miss", "dr": "doctor", "st": "saint", "prof": "professor",
    "capt": "captain", "gen": "general", "col": "colonel", "lt": "lieutenant", "sgt": "sergeant",
    "rev": "reverend", "jr": "junior", "sr": "senior", "vs": "versus", "etc": "et cetera",
}  # fmt: skip
_FRACTIONS = {2: "half", 4: "quarter"}
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)"

_DIGIT = re.compile(r"\d")

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def _plain(text: str) -> int:
    return int(text.replace(",", ""))


def _whole(text: str) -> str:
    """A whole number by itself: a year where it looks like one, digits where nobody would count."""
    if "," in text:
        return cardinal(_plain(text))
    if len(text) > 6 or (text[0] == "0" and len(text) > 1):
        return digits(text)
    number = int(text)
    return year(number) if 1100 <= number < 2100 and len(text) == 4 else cardinal(number)


def _decimal(match: re.Match[str]) -> str:
    whole, part = match[1], match[2]
    return f"{cardinal(_plain(whole)) if whole else ''} point {digits(part)}".strip()


def _money(match: re.Match[str]) -> str:
    coin, small = _COINS[match[1]]
    amount, cents, scale = _plain(match[2]), match[3], match[4]
    if scale:
        number = cardinal(amount) + (f" point {digits(cents)}" if cents else "")
        return f"{number} {scale} {coin}s"
    words = f"{cardinal(amount)} {coin}{'' if amount == 1 else 's'}"
    if not cents or not int(cents):
        return words
    count = int(cents[:2].ljust(2, "0"))
    smalls = small if count == 1 else "pence" if small == "penny" else f"{small}s"
    few = f"{cardinal(count)} {smalls}"
    return f"{words} and {few}" if amount else few


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    noon = f" {match[3][0]} m" if match[3] else ""
    if minute:
        return f"{cardinal(hour)} {pair(minute)}{noon}"
    return cardinal(hour) + (noon or " o'clock")


def _fraction(match: re.Match[str]) -> str:
    over, under = int(match[2]), int(match[3])
    name = _FRACTIONS.get(under) or ordinal(under)
    if over > 1:
        name = "halves" if under == 2 else plural(name) if name.endswith("y") else f"{name}s"
    words = f"{cardinal(over)} {name}"
    return f"{cardinal(int(match[1]))} and {words}" if match[1] else words


# In this order: each rule leaves words, which the next ones pass over.
_DIGIT_RULES: tuple[Rule, ...] = (
    (
        re.compile(rf"([$£€]) ?({_NUMBER})(?:\.(\d+))?(?: (thousand|million|billion|trillion)\b)?"),
        _money,
    ),
    (re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)(?: ?([ap])\.?m\b\.?)?(?!:)", re.I), _time),
    (re.compile(r"\b(?:(\d{1,3}) )?(\d{1,2})/(2|3|4|5|6|8|10)\b(?!/)"), _fraction),
    (
        re.compile(rf"\b({_NUMBER})(?:st|nd|rd|th)\b", re.I),
        lambda match: ordinal(_plain(match[1])),
    ),
    (re.compile(r"\b(\d{3}0|\d0)'?s\b"), lambda match: plural(_whole(match[1]))),
    (re.compile(r"(?:No|Nos|no)\. ?(?=\d)|#(?=\d)"), lambda _: "number "),
    (re.compile(rf"(?<![\w.])({_NUMBER})?\.(\d+)(?![.\d])"), _decimal),
    (re.compile(r"(?<![\w)])-(?=\d)"), lambda _: "minus "),
    (re.compile(_NUMBER), lambda match: f" {_whole(match[0])} "),
)
_WORD_RULES: tuple[Rule, ...] = (
    (re.compile("[" + "".join(_SYMBOLS) + "]"), lambda match: f" {_SYMBOLS[match[0]]} "),
    (
        re.compile(rf"\b({'|'.join(_TITLES)})\.", re.I),
        lambda match: _cased(_TITLES[match[1].lower()], match[1]),
    ),
    # Letters with full stops are said one by one: U.S.A., J. R. R.
    (re.compile(r"\b(?:[A-Za-z]\.){2,}"), lambda match: " ".join(match[0].replace(".", ""))),
)


def _cased(words: str, like: str) -> str:
    return words.capitalize() if like[0].isupper() else words


def fold(text: str) -> str:
    """Letters without their accents, plain quotes and hyphens; other scripts stay as they are."""
    text = text.translate(_FOLDED)
    if text.isascii():  # as books are, once their quotes are plain
        return text
    spread = unicodedata.normalize("NFKD", text)
    return "".join(char for char in spread if not unicodedata.combining(char)).replace("⁄", "/")


def spell_out(text: str) -> str:
    """English with numbers, money and symbols in words; case and punctuation stay, for synthesisers."""
    text = fold(text)
    for pattern, say in (*(_DIGIT_RULES if _DIGIT.search(text) else ()), *_WORD_RULES):
        text = pattern.sub(say, text)
    return " ".join(text.split())


def english(text: str) -> str:
    """Normalised English: `ENGLISH_LETTERS` and single spaces; "" if nothing of the text can be said.

    It is idempotent: normalised text stays as it is.
    """
    text = re.sub(r"[^a-z']+", " ", spell_out(text).lower())
    return " ".join(re.sub(r"(?<![a-z])'+|'+(?![a-z])|''+", " ", text).split())


def mandarin(text: str) -> str:
    """Normalised Mandarin: ideographs only; digits as characters one by one, all else dropped."""
    text = unicodedata.normalize("NFKC", text)
    text = text.translate(str.maketrans("0123456789", "零一二三四五六七八九"))
    return "".join(char for char in text if _ideograph(char))


def _ideograph(char: str) -> bool:
    return char == "〇" or unicodedata.name(char, "").startswith("CJK UNIFIED IDEOGRAPH")


NORMALISERS: dict[str, Callable[[str], str]] = {"english": english, "mandarin": mandarin}
"""By the name that command lines and recipes use."""
