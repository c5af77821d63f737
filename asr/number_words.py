"""Numbers as English words, the way Americans read them aloud: no "and" after the hundreds."""

_ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen
""".split()  # noqa: SIM905
_TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_GROUPS = ("", "thousand", "million", "billion", "trillion")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
LARGEST = 1000 ** len(_GROUPS) - 1


def cardinal(number: int) -> str:
    """1234 is "one thousand two hundred thirty four"; beyond ± `LARGEST` its digits one by one."""
    if number < 0:
        return "minus " + cardinal(-number)
    if number > LARGEST:
        return digits(str(number))
    if number == 0:
        return "zero"
    words: list[str] = []
    for power in reversed(range(len(_GROUPS))):
        group = number // 1000**power % 1000
        if group:
            words += [_below_thousand(group), _GROUPS[power]]
    return " ".join(word for word in words if word)


def ordinal(number: int) -> str:
    """21 is "twenty first"."""
    *before, last = cardinal(number).split()
    if last in _ORDINALS:
        last = _ORDINALS[last]
    elif last.endswith("y"):
        last = last[:-1] + "ieth"
    else:
        last += "th"
    return " ".join([*before, last])


def year(number: int) -> str:
    """1984 is "nineteen eighty four", 1905 "nineteen oh five", 1900 "nineteen hundred", 2005 a cardinal."""
    century, rest = divmod(number, 100)
    if number % 1000 < 10 or not 10 <= century <= 99:
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {pair(rest)}"


def pair(number: int) -> str:
    """Two digits of a year, a time or a house number: 5 is "oh five", 84 "eighty four"."""
    return f"oh {cardinal(number)}" if number < 10 else cardinal(number)


def digits(text: str, zero: str = "zero") -> str:
    """The digits of `text` one by one; "305" with zero="oh" is "three oh five"."""
    return " ".join(zero if digit == "0" else _ONES[int(digit)] for digit in text)


def plural(words: str) -> str:
    """The last word's plural: "nineteen eighty" is "nineteen eighties"."""
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith(("x", "s")) else "s")


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    words = [f"{_ONES[hundreds]} hundred"] if hundreds else []
    if rest >= 20:
        words.append(_TENS[rest // 10])
        rest %= 10
    if rest:
        words.append(_ONES[rest])
    return " ".join(words)
