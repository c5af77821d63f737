"""Sentences to be said: commands and orders from small grammars, and free text of Debian packages.

Free text is the example sentences and definitions of WordNet (wordnet-base), the King James Bible (bible-kjv)
and fortunes; what is not installed is left out, unless nothing is left.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

from asr.number_words import cardinal
from asr.spellings import Rng, address, date, number, phone, pick, time
from asr.text import fold
from asr.word_lists import DEVICES, DRINKS, EXTRAS, FIRST_NAMES, FOODS, PLACES, ROOMS, THINGS

WORDNET, FORTUNES = Path("/usr/share/wordnet"), Path("/usr/share/games/fortunes")
_LEAST_WORDS, _MOST_WORDS = 3, 24
_SIZES = ("small", "medium", "large", "regular", "double", "single", "tall")
_SENTENCE = re.compile(r"(?<=[.!?;:])[\"')]*\s+(?=[\"'(A-Z])")
# Text about text: programs, addresses, tables and verse that synthesisers read in ways of their own.
_ODD = re.compile(r"[\\{}<>|_^~*#=@\[\]/]|https?:|\bwww\b|[A-Z]{3,}|\w\.\w|--|\.\.\.|[^\x00-\x7f]|\d{4,}")


class TextError(ValueError):
    """No text to be said; the message names the packages that have some."""


_SLOTS: Mapping[str, Callable[[Rng], str]] = {
    "room": lambda rng: pick(rng, ROOMS),
    "device": lambda rng: pick(rng, DEVICES),
    "drink": lambda rng: pick(rng, DRINKS),
    "extra": lambda rng: pick(rng, EXTRAS),
    "food": lambda rng: pick(rng, FOODS),
    "size": lambda rng: pick(rng, _SIZES),
    "name": lambda rng: pick(rng, FIRST_NAMES),
    "thing": lambda rng: pick(rng, THINGS),
    "place": lambda rng: pick(rng, PLACES),
    "count": lambda rng: cardinal(int(rng.integers(2, 100))),
    "few": lambda rng: cardinal(int(rng.integers(2, 7))),
    "switch": lambda rng: pick(rng, ("turn on", "turn off", "switch on", "switch off", "start", "stop")),
    "please": lambda rng: pick(rng, ("please", "", "", "thanks", "thank you")),
    "want": lambda rng: pick(
        rng, ("can I get", "I'd like", "could I have", "I'll have", "may I have", "I want", "let me get")
    ),
    "number": number,
    "date": date,
    "time": time,
    "phone": phone,
    "address": address,
}
_PATTERNS = (
    "<switch> the <device> in the <room>", "<switch> the <room> <device> <please>",
    "set the <device> to <count> percent", "set a timer for <count> minutes <please>",
    "wake me up at <time>", "set an alarm for <time>", "remind me to call <name> at <time>",
    "what's the weather like in the <room>", "what's the weather on <date>",
    "is the <device> in the <room> on", "play some music in the <room>", "add <food> to my shopping list",
    "call <name> <please>", "send a message to <name>", "text <name> that I'll be there at <time>",
    "how do I get to <address>", "take me to <address>", "turn the volume up to <count>",
    "what is <count> plus <count>", "what is <count> times <count>", "go to page <number>",
    "my appointment is on <date> at <time>", "book a table for <few> at <time>", "next song <please>",
    "delete line <number>", "open the <thing> <please>", "where is the nearest <thing>",
    "move the <thing> to the <room>", "read my messages", "please repeat that", "what time is it in <place>",
    "the number is <number>", "dial <phone>", "lock the front door", "lower the blinds in the <room>",
    "<want> a <size> <drink> with <extra> <please>", "<want> a <drink> and a <food> <please>",
    "<want> <few> <size> <drink> with <extra> and <extra>", "one <size> <drink> to go <please>",
    "hi <want> a <drink> with <extra> for <name>", "<few> <drink> and <few> <food> <please>",
    "make that a <size> <drink>", "no <extra> in the <drink> <please>", "<want> the <food> without <extra>",
    "do you have any <food> left", "that's all <please>",
)  # fmt: skip
_SLOT = re.compile(r"<(\w+)>")


def command(rng: Rng) -> str:
    """A command or an order, for a synthesiser."""
    said = _SLOT.sub(lambda match: _SLOTS[match[1]](rng), pick(rng, _PATTERNS))
    return " ".join(said.split())


def free_text(folder: Path | None = None) -> dict[str, list[str]]:
    """Sentences of each source, in the source's order, without repetitions.

    Args:
        folder: plain text files (*.txt) to read beside what is installed.

    Raises:
        TextError: there is no text at all.
    """
    sources = {
        "examples": list(_examples()),
        "definitions": list(_definitions()),
        "bible": list(_bible()),
        "fortunes": list(_fortunes()),
    }
    for path in sorted(folder.glob("*.txt")) if folder else ():
        sources[path.stem] = list(split_sentences(path.read_text(encoding="utf-8", errors="replace")))
    kept = {name: list(dict.fromkeys(filter(sayable, lines))) for name, lines in sources.items()}
    if not any(kept.values()):
        raise TextError("no text: install the packages wordnet-base, bible-kjv or fortunes, or give a folder")
    return {name: lines for name, lines in kept.items() if lines}


def sayable(sentence: str) -> bool:
    """Whether any engine reads a sentence as `asr.text.english` does, and its length is fit."""
    if _ODD.search(sentence):
        return False
    return _LEAST_WORDS <= len(sentence.split()) <= _MOST_WORDS


@cache
def _glosses() -> tuple[str, ...]:
    lines = []
    for part in ("noun", "verb", "adj", "adv"):
        path = WORDNET / f"data.{part}"
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            lines += [line.split(" | ", 1)[1] for line in text.splitlines() if " | " in line]
    return tuple(lines)


def _examples() -> Iterator[str]:
    for gloss in _glosses():
        yield from (example.strip() for example in re.findall(r'"([^"]+)"', gloss))


def _definitions() -> Iterator[str]:
    for gloss in _glosses():
        # What is in brackets, or after a semicolon, are remarks and examples.
        yield re.split(r';|"|\(', gloss)[0].strip()


def _bible() -> Iterator[str]:
    if shutil.which("bible") is None:
        return
    printed = subprocess.run(
        ["bible", "-f", "gen1:1-rev22:21"], capture_output=True, text=True, errors="replace", check=False
    ).stdout
    for line in printed.splitlines():
        verse = line.partition(" ")[2]
        # The name of God is set in capitals.
        yield from split_sentences(re.sub(r"\bLORD\b", "Lord", re.sub(r"\bGOD\b", "God", verse)))


def _fortunes() -> Iterator[str]:
    for path in sorted(FORTUNES.glob("*")):
        if path.suffix or not path.is_file():
            continue
        for fortune in re.split(r"^%\s*$", path.read_text(encoding="utf-8", errors="replace"), flags=re.M):
            yield from split_sentences(re.split(r"\n\s*--", fortune)[0])


def split_sentences(text: str) -> Iterator[str]:
    """Sentences of running text, folded, without quotes and brackets around them."""
    for sentence in _SENTENCE.split(" ".join(fold(text).split())):
        yield sentence.strip(" \"'()-")
