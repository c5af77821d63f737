"""Text normalisation: examples by hand, and what holds for any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.number_words import cardinal, ordinal, year
from asr.text import ENGLISH_LETTERS, english, mandarin, spell_out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MISTER QUILTER IS THE APOSTLE", "mister quilter is the apostle"),
        ("Moseley's historic  rivals—are Coventry!", "moseley's historic rivals are coventry"),
        ("“Don’t,” said the boys' café-owner.", "don't said the boys cafe owner"),
        ("'Tis rock 'n' roll", "tis rock n roll"),
        ("In 1984 and 1905, in 2005 and 2021", "in nineteen eighty four and nineteen oh five in two thousand "
         "five and twenty twenty one"),
        ("the 1980s, the 21st of May, 3rd", "the nineteen eighties the twenty first of may third"),
        ("1,234 of 12 %", "one thousand two hundred thirty four of twelve percent"),
        ("R&D cost $5.50, £1 or €3 million", "r and d cost five dollars and fifty cents one pound or three "
         "million euros"),
        ("$0.01 then £0.02", "one cent then two pence"),
        ("3.14 and .5 at -7°", "three point one four and point five at minus seven degrees"),
        ("at 10:05, 7:00 or 9:30 p.m.", "at ten oh five seven o'clock or nine thirty p m"),
        ("1/2, 3/4 and 2 1/3 cups", "one half three quarters and two and one third cups"),
        ("call 5551234567, room 007", "call five five five one two three four five six seven room zero zero "
         "seven"),
        ("Dr. Smith and Mrs. Jones in the U.S.A.", "doctor smith and missus jones in the u s a"),
        ("No. 5, B52 #1", "number five b fifty two number one"),
        ("Straße, naïve Ångström, œuvre", "strasse naive angstrom oeuvre"),
        ("北京", ""),
        ("", ""),
        ("...!?", ""),
    ],
)  # fmt: skip
def test_english(text: str, said: str) -> None:
    assert english(text) == said


def test_spelling_out_keeps_punctuation_and_case() -> None:
    assert spell_out("Dr. No, at 5!") == "Doctor No, at five !"


@given(st.text())
def test_english_has_few_symbols_and_is_idempotent(text: str) -> None:
    said = english(text)
    assert set(said) <= set(ENGLISH_LETTERS + " ")
    assert said == " ".join(said.split())
    assert english(said) == said
    assert all(word[0] != "'" and word[-1] != "'" for word in said.split())


@given(st.text(alphabet="0123456789.,:/$%-' stndrhamp"))
def test_numbers_of_any_shape_are_words(text: str) -> None:
    assert not any(char.isdigit() for char in english(text))


def test_mandarin_is_characters() -> None:
    assert mandarin("唐慧娟，江苏海门人，汉族。") == "唐慧娟江苏海门人汉族"
    assert mandarin("２０ 年 3.5, A股〇!") == "二零年三五股〇"


@given(st.text())
def test_mandarin_is_idempotent(text: str) -> None:
    assert mandarin(mandarin(text)) == mandarin(text)


def _value(words: str) -> int:
    """Reads a cardinal back: the oracle."""
    ones = {cardinal(n): n for n in range(20)} | {cardinal(n): n for n in range(20, 100, 10)}
    total = group = 0
    for word in words.split():
        if word == "hundred":
            group *= 100
        elif word in ("thousand", "million", "billion", "trillion"):
            power = ("thousand", "million", "billion", "trillion").index(word) + 1
            total, group = total + group * 1000**power, 0
        else:
            group += ones[word]
    return total + group


@given(st.integers(0, 10**15 - 1))
def test_cardinals_read_back(number: int) -> None:
    assert _value(cardinal(number)) == number


@pytest.mark.parametrize(
    ("number", "first", "second"),
    [(1, "first", "one"), (12, "twelfth", "twelve"), (30, "thirtieth", "thirty"),
     (101, "one hundred first", "one hundred one"), (1000, "one thousandth", "one thousand"),
     (-4, "minus fourth", "minus four")],
)  # fmt: skip
def test_ordinals_and_cardinals(number: int, first: str, second: str) -> None:
    assert ordinal(number) == first
    assert cardinal(number) == second


def test_years_and_numbers_too_large() -> None:
    assert [year(n) for n in (1066, 1900, 2000, 2010, 1110)] == [
        "ten sixty six", "nineteen hundred", "two thousand", "twenty ten", "eleven ten",
    ]  # fmt: skip
    assert cardinal(10**15) == "one" + " zero" * 15
