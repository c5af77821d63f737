"""CTC on the device: prefix beam search and alignment against every alignment there is; hotwords by hand."""

import math
from itertools import groupby, product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stapes.tasks.ctc import PrefixBeam
from stapes.tasks.hotwords import Hotwords, Match
from stapes.tasks.symbols import join
from stapes.tasks.words import align, words

SPECIALS = ("<pad>", "<unk>", "<l2r>", "</s>", "<r2l>")
NONE = Hotwords((), ("_",), 0.0)


def _posteriors(steps: int, labels: int, seed: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (steps, labels))
    logits[generator.random(steps) < 0.3, 0] += 3
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def _collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(symbol for symbol, _ in groupby(path) if symbol)


def _all_texts(posteriors: NDArray[np.float64]) -> dict[tuple[int, ...], float]:
    """The probability of each text, summed over all alignments."""
    steps, labels = posteriors.shape
    texts: dict[tuple[int, ...], float] = {}
    for path in product(range(labels), repeat=steps):
        chance = math.prod(posteriors[step, symbol] for step, symbol in enumerate(path))
        texts[_collapse(path)] = texts.get(_collapse(path), 0.0) + chance
    return texts


@settings(deadline=None, max_examples=20)
@given(steps=st.integers(1, 6), labels=st.integers(2, 3), seed=st.integers(0, 99))
def test_a_wide_beam_finds_the_sum_over_all_alignments(steps: int, labels: int, seed: int) -> None:
    posteriors = _posteriors(steps, labels, seed)
    beam = PrefixBeam([*"_ab"][:labels], NONE, beam=1000, least=0)
    for row in np.log(posteriors):
        beam.push(row)
    wanted = sorted(_all_texts(posteriors).items(), key=lambda one: -one[1])
    found = beam.found()
    assert len(found) == len(wanted)
    np.testing.assert_allclose([math.exp(log) for _, log in found], [p for _, p in wanted], rtol=1e-9)
    assert found[0][0] == wanted[0][0] == beam.best


def test_a_narrow_beam_and_few_symbols_find_what_is_clear() -> None:
    posteriors = np.full((6, 5), 0.01)
    for step, symbol in enumerate((2, 2, 0, 2, 4, 0)):
        posteriors[step, symbol] = 0.96
    beam = PrefixBeam([*"_abcd"], NONE, beam=2, tokens=2, least=0.05)
    for row in np.log(posteriors):
        beam.push(row)
    assert beam.best == (2, 2, 4)


@settings(deadline=None, max_examples=30)
@given(steps=st.integers(1, 6), seed=st.integers(0, 99), data=st.data())
def test_the_alignment_is_the_likeliest_of_all(steps: int, seed: int, data: st.DataObject) -> None:
    posteriors = _posteriors(steps, 3, seed)
    possible: dict[tuple[int, ...], float] = {}
    for path in product(range(3), repeat=steps):
        chance = math.prod(posteriors[step, symbol] for step, symbol in enumerate(path))
        possible[_collapse(path)] = max(possible.get(_collapse(path), 0.0), chance)
    text = data.draw(st.sampled_from(sorted(text for text in possible if text)))
    spans = align(np.log(posteriors), text)
    path = np.zeros(steps, int)
    for (start, end), symbol in zip(spans.tolist(), text, strict=True):
        path[start:end] = symbol
    assert _collapse(tuple(path.tolist())) == text
    assert math.prod(posteriors[step, symbol] for step, symbol in enumerate(path)) == pytest.approx(
        possible[text]
    )


def test_a_text_too_long_for_its_steps_is_cut() -> None:
    assert align(np.log(_posteriors(3, 3, 0)), (1, 1, 2)).tolist() == [[0, 1], [2, 3]]


def test_words_lie_where_their_symbols_do() -> None:
    labels = (*SPECIALS, "▁new", "▁yo", "rk")
    scores = np.full((10, 8), 0.001, np.float32)
    for step, symbol in enumerate((0, 5, 5, 0, 0, 6, 0, 7, 0, 0)):
        scores[step, symbol] = 0.9
    scores[7, 7] = 0.4
    found = words((5, 6, 7), scores, [0.04 * (n + 1) for n in range(10)], 0.04, labels)
    assert [(w.text, w.start, w.end) for w in found] == [("new", 0.04, 0.12), ("york", 0.2, 0.32)]
    assert [w.confidence for w in found] == pytest.approx([0.9, 0.6], abs=1e-4)  # geometric mean of .9 and .4


def test_words_of_characters_and_of_a_language_without_spaces() -> None:
    scores = np.full((5, 8), 0.01, np.float32)
    for step, symbol in enumerate((5, 6, 7, 5, 0)):
        scores[step, symbol] = 0.9
    ends = [1.0, 2, 3, 4, 5]
    spaced = words((5, 6, 7, 5), scores, ends, 1, (*SPECIALS, "a", "▁", "b"))
    assert [(w.text, w.start, w.end) for w in spaced] == [("a", 0, 1), ("ba", 2, 4)]
    plain = words((5, 6, 7, 5), scores, ends, 1, (*SPECIALS, "你", "好", "吗"))
    assert [w.text for w in plain] == ["你", "好", "吗", "你"]
    assert words((), scores, ends, 1, SPECIALS) == ()


def test_text_of_symbols() -> None:
    labels = (*SPECIALS, "▁new", "▁yo", "rk", "▁")
    assert join((2, 5, 8, 1, 6, 7, 3), labels) == "new york"
    assert join((), labels) == ""


@pytest.mark.parametrize(
    ("symbols", "bonus"),
    [
        (["▁new", "▁york"], 9),
        (["▁n", "ew", "▁yo", "rk"], 9),
        (["new", "▁york"], 9),  # the first word of a text may come without its space
        (["▁new", "▁yorks"], 4),  # "new" alone is a phrase too
        (["▁anew"], 0),
        (["▁new", "▁york", "▁city"], 14),
        (["▁new", "▁york", "▁cit"], 9),
        (["▁new", "▁york", "▁new", "▁york"], 18),
        (["▁New", "▁YORK"], 9),
        (["▁new", "▁", "york"], 9),
        (["▁york"], 0),
        ([], 0),
    ],
)
def test_hotwords_by_hand(symbols: list[str], bonus: float) -> None:
    hotwords = Hotwords(["New York", "new york city", "new"], ["▁a"], 1.0)
    match = Match()
    for symbol in symbols:
        match = hotwords.after(match, symbol)
        assert match.bonus >= match.earned
    assert hotwords.last(match) == bonus


def test_hotwords_of_a_language_without_spaces() -> None:
    hotwords = Hotwords(["你好", "好吗"], ["你", "好", "吗"], 2.0)
    match = Match()
    for symbol in "我你好吗":
        match = hotwords.after(match, symbol)
    assert hotwords.last(match) == 6  # no character counts twice


_WORDS = st.lists(st.sampled_from(["a", "b", "ab", "ba"]), min_size=1, max_size=3)


@settings(deadline=None)
@given(
    phrases=st.lists(_WORDS, min_size=1, max_size=4), text=st.lists(_WORDS, max_size=3), spaced=st.booleans()
)
@example(phrases=[["a", "b", "ab"], ["b"]], text=[["a", "b"]], spaced=True)  # within one that is not finished
@example(phrases=[["a", "b", "ab"], ["b"]], text=[["a", "b", "ab"]], spaced=True)
def test_hotwords_are_worth_the_characters_that_complete_ones_cover(
    phrases: list[list[str]], text: list[list[str]], spaced: bool
) -> None:
    space = "▁" if spaced else ""
    hotwords = Hotwords([" ".join(phrase) if spaced else "".join(phrase) for phrase in phrases], [space], 1.0)
    written = "".join(space + word for part in text for word in part)
    covered: set[int] = set()
    for phrase in ("".join(space + word for word in phrase) for phrase in phrases):
        for end in range(len(phrase), len(written) + 1):
            if written[:end].endswith(phrase) and (written + space)[end:].startswith(space):
                covered.update(range(end - len(phrase), end))
    match = Match()
    for symbol in written:
        match = hotwords.after(match, symbol)
    assert hotwords.last(match) == len(covered)


def test_hotwords_turn_a_close_race_and_no_clear_one() -> None:
    labels = [*SPECIALS, "▁cat", "▁cut"]
    for chance, wanted in ((0.3, 5), (0.001, 6)):
        beam = PrefixBeam(labels, Hotwords(["cat"], labels, 0.5), beam=4)
        row = np.full(7, 1e-9)
        row[5], row[6] = chance, 1 - chance
        beam.push(np.log(row))
        assert beam.found()[0][0] == (wanted,)
        assert beam.best == (wanted,)
