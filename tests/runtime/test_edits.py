"""Error rates: texts compared by the stated rule, errors counted by brute force."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stapes.tasks.edits import distance, error_rates, normalise


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello, World!", "hello world"),
        ("DON’T  stop -- it's 'quoted'", "don't stop it's quoted"),
        ("well-known e-mail", "well known e mail"),
        ("3.5 km", "3 5 km"),
        ("Grüße aus Köln", "grüsse aus köln"),
        ("你好，世界。", "你好 世界"),
        (" …  ", ""),
    ],
)
def test_the_rule(text: str, wanted: str) -> None:
    assert normalise(text) == wanted
    assert normalise(wanted) == wanted


@given(a=st.text("abc", max_size=7), b=st.text("abc", max_size=7))
def test_distance_is_that_of_the_definition(a: str, b: str) -> None:
    @cache
    def least(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(least(i - 1, j) + 1, least(i, j - 1) + 1, least(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    assert distance(a, b) == least(len(a), len(b))


def test_rates_are_over_all_texts() -> None:
    found = error_rates(["A b c.", "d"], ["a x c", "d e"])
    assert found == {"words": 4, "wer": 0.5, "cer": 0.5}
    assert error_rates([], []) == {"words": 0, "wer": None, "cer": None}
    assert error_rates(["", "a"], ["b", ""]) == {"words": 1, "wer": 2.0, "cer": 2.0}
