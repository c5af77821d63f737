"""Language models: smoothing and pruning against definitions written out with dictionaries; packing."""

import itertools
import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.ngrams.counting import Level, corpus, count
from asr.ngrams.packing import pack, quantised, size
from asr.ngrams.pruning import everything, losses, prune
from asr.ngrams.smoothing import Kept, discounts, modified, smooth
from asr.vocabulary import END, L2R, SPECIALS, UNK
from stapes.tasks.ngrams import ABSENT, FOLLOWED, HEADER, Ngrams

LABELS = (*SPECIALS, "▁a", "▁b", "c", "d")
SAID = (UNK, END, 5, 6, 7, 8)
Gram = tuple[int, ...]


def _texts(seed: int, number: int = 40) -> list[list[int]]:
    """Some symbols are likelier after some than after others."""
    rng = np.random.default_rng(seed)
    chain = rng.dirichlet(np.full(4, 0.4), size=(4, 4))
    texts = []
    for _ in range(number):
        text = [5, int(rng.integers(5, 9))]
        while rng.random() < 0.8:
            text.append(5 + int(rng.choice(4, p=chain[text[-2] - 5, text[-1] - 5])))
        texts.append(text)
    return texts


def _grams(levels: Sequence[Level]) -> list[list[Gram]]:
    """The symbols of each n-gram of each level."""
    found: list[list[Gram]] = [[(int(s),) for s in levels[0].symbol]]
    for level in levels[1:]:
        found.append([(*found[-1][c], int(s)) for c, s in zip(level.context, level.symbol, strict=True)])
    return found


class Brute:
    """The same model by definition: dictionaries, one n-gram at a time."""

    def __init__(self, texts: list[list[int]], order: int, kept: set[Gram], taken: list[list[float]]) -> None:
        raw: Counter[Gram] = Counter()
        for text in ([L2R, *text, END] for text in texts):
            for n in range(1, order + 1):
                raw.update(tuple(text[i : i + n]) for i in range(len(text) - n + 1))
        del raw[(L2R,)]
        self.kept, self.taken, self.order = kept, taken, order
        self.counts: dict[Gram, float] = {}
        for n in range(order, 0, -1):
            for gram in (g for g in raw if len(g) == n):
                longer = [(v, *gram) for v in range(len(LABELS)) if (v, *gram) in raw and n < order]
                first = raw[gram] - sum(raw[g] for g in longer)
                self.counts[gram] = first + sum(1 if g in kept else self.counts[g] for g in longer)
        self.after: dict[Gram, list[int]] = defaultdict(list)
        for gram in raw:
            self.after[gram[:-1]].append(gram[-1])

    def less(self, gram: Gram) -> float:
        seen = self.counts.get(gram, 0)
        return seen - self.taken[len(gram) - 1][min(int(seen), 3)]

    def chance(self, context: Gram, symbol: int) -> float:
        if not context:
            told = {s: self.counts.get((s,), 0) for s in SAID}
            total = sum(told.values())
            left = total - sum(self.less((s,)) for s in SAID)
            return (self.less((symbol,)) + left / len(SAID)) / total
        following = [s for s in self.after[context] if (*context, s) in self.kept]
        if not following:
            return self.chance(context[1:], symbol)
        total = sum(self.counts[(*context, s)] for s in self.after[context])
        spread = 1 - sum(self.less((*context, s)) for s in following) / total
        own = self.less((*context, symbol)) / total if symbol in following else 0.0
        return own + spread * self.chance(context[1:], symbol)


def _taken(levels: list[Level]) -> list[np.ndarray]:
    return [discounts(x, c) for x, c in zip(levels, modified(levels, everything(levels)), strict=True)]


@pytest.mark.parametrize(("order", "least"), [(1, 1), (2, 1), (3, 1), (4, 1), (4, 2), (5, 2)])
def test_probabilities_are_those_of_the_definition(order: int, least: int) -> None:
    texts = _texts(order)
    levels = count(corpus(texts), len(LABELS), order, least)
    taken = _taken(levels)
    smoothed = smooth(levels, everything(levels), taken)
    grams = _grams(levels)
    kept = {gram for level in grams for gram in level}
    brute = Brute(texts, order, kept, [list(map(float, x)) for x in taken])
    for level, told in zip(grams[1:], smoothed[1:], strict=True):
        for gram, chance in zip(level, told.given, strict=True):
            assert chance == pytest.approx(brute.chance(gram[:-1], gram[-1]), rel=1e-9)
    ngrams = Ngrams(pack(LABELS, levels, everything(levels), smoothed), LABELS)
    for text in itertools.product(SAID[2:], repeat=min(order, 4)):
        state, context = ngrams.start, (L2R,)
        for symbol in text:
            state, context = ngrams.after(state, np.array([symbol])), (*context, symbol)
        row, history = np.exp(ngrams.rows(state)[0].astype(float)), context[len(context) - order + 1 :]
        assert row[list(SAID)].sum() == pytest.approx(1, rel=1e-4)
        for symbol in SAID:
            assert row[symbol] == pytest.approx(brute.chance(history, symbol), rel=1e-4)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 99), share=st.floats(0.1, 0.9))
def test_pruned_models_are_those_of_the_definition(seed: int, share: float) -> None:
    texts = _texts(seed)
    levels = count(corpus(texts), len(LABELS), 4)
    kept: list[Kept] = everything(levels)
    rng = np.random.default_rng(seed)
    for n in (3, 2, 1):
        kept[n] = rng.random(len(levels[n])) < share
        if n < 3:
            kept[n][levels[n + 1].context[kept[n + 1]]] = True
    taken = _taken(levels)
    smoothed = smooth(levels, kept, taken)
    grams = _grams(levels)
    some = {gram for level, keep in zip(grams, kept, strict=True) for gram in itertools.compress(level, keep)}
    brute = Brute(texts, 4, some, [list(map(float, x)) for x in taken])
    data = pack(LABELS, levels, kept, smoothed)
    assert len(zlib.decompress(data[HEADER.size + 8 * len(levels) :])) == size(levels, kept)
    ngrams = Ngrams(data, LABELS)
    for text in texts:
        state, history = ngrams.start, (L2R,)
        for symbol in (*text, END):
            row = np.exp(ngrams.rows(state)[0].astype(float))
            assert row[list(SAID)].sum() == pytest.approx(1, rel=1e-4)
            assert row[symbol] == pytest.approx(brute.chance(history[-3:], symbol), rel=1e-4)
            state, history = ngrams.after(state, np.array([symbol])), (*history, symbol)


def test_discounts_by_hand() -> None:
    """Of ten n-grams that count 1, four that count 2, two of 3, one of 4: Y = 10 / 18."""
    level = count(corpus([[5]]), len(LABELS), 1)[0]
    counts = np.repeat([1.0, 2, 3, 4, 9], [10, 4, 2, 1, 3])
    wanted = (0, 1 - 2 * 10 / 18 * 4 / 10, 2 - 3 * 10 / 18 * 2 / 4, 3 - 4 * 10 / 18 * 1 / 2)
    assert discounts(level, counts).tolist() == pytest.approx(wanted)
    assert discounts(level, np.ones(5)).tolist() == [0, 0.5, 1, 1.5]


def test_what_is_rare_changes_no_count_of_shorter_ones() -> None:
    texts = _texts(3, 200)
    whole, few = (count(corpus(texts), len(LABELS), 5, least) for least in (1, 2))
    for one, other in zip(whole[:-1], few[:-1], strict=True):
        often = one.raw >= 2 if len(one) != len(other) else np.ones(len(one), np.bool_)
        assert other.raw.tolist() == one.raw[often].tolist()
    for one, other in zip(
        modified(whole, everything(whole))[:2], modified(few, everything(few))[:2], strict=True
    ):
        assert one.tolist() == other.tolist()
    assert [x.rarest for x in few[2:]] == [int((x.raw == 1).sum()) for x in whole[2:]]


def test_sorting_and_counting_by_value_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = _texts(4, 100)
    one = count(corpus(texts), len(LABELS), 4, 2)
    monkeypatch.setattr("asr.ngrams.counting._DENSE", 0)
    for a, b in zip(one, count(corpus(texts), len(LABELS), 4, 2), strict=True):
        for name in ("context", "symbol", "suffix", "raw", "alone", "rare", "rarest"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def _surprise(ngrams: Ngrams, texts: list[list[int]]) -> float:
    """Nats a symbol."""
    total, symbols = 0.0, 0
    for text in texts:
        state = ngrams.start
        for symbol in (*text, END):
            total -= float(ngrams.rows(state)[0, symbol])
            state = ngrams.after(state, np.array([symbol]))
            symbols += 1
    return total / symbols


def test_pruning_keeps_what_is_worth_most() -> None:
    """A tenth of the n-grams costs little; n-grams that say what shorter ones say cost nothing."""
    texts = _texts(7, 3000)
    levels = count(corpus(texts[:2500]), len(LABELS), 4)
    held = texts[2500:]
    found = []
    bounds = [size(levels, [k & (n < most) for n, k in enumerate(everything(levels))]) for most in (1, 4)]
    for most in (bounds[1], sum(bounds) // 2, 0):
        kept, smoothed = prune(levels, size, most)
        found.append(
            (size(levels, kept), _surprise(Ngrams(pack(LABELS, levels, kept, smoothed), LABELS), held))
        )
        assert found[-1][0] <= most or not most
        for n in range(2, len(levels)):
            assert kept[n - 1][levels[n].context[kept[n]]].all()
    (all_bytes, whole), (few_bytes, few), (no_bytes, none) = found
    assert no_bytes < few_bytes < all_bytes
    assert whole - 0.02 < few < whole + 0.1
    assert none > few + 0.05


def test_the_loss_is_what_the_texts_lose() -> None:
    """The relative entropy of what follows a context with and without an n-gram, shorter ones as before."""
    texts = _texts(11, 400)
    levels = count(corpus(texts), len(LABELS), 2)
    kept, taken = everything(levels), _taken(levels)
    smoothed = smooth(levels, kept, taken)
    lost = losses(levels, kept, smoothed)[1]
    level = levels[1]
    for number in range(0, len(level), 3):
        without = [k.copy() for k in kept]
        without[1][number] = False
        context = int(level.context[number])
        rows = []
        for each in (kept, without):
            told = smooth(levels, each, taken)
            chances = {s: told[1].spread[context] * smoothed[0].given[s] for s in SAID}
            for place in np.flatnonzero(each[1] & (level.context == context)):
                symbol = int(level.symbol[place])
                chances[symbol] = float(
                    told[1].given[place]
                    - told[1].spread[context] * (told[0].given - smoothed[0].given)[symbol]
                )
            rows.append(chances)
        entropy = sum(p * math.log(p / rows[1][s]) for s, p in rows[0].items())
        exact = levels[0].raw[context] * entropy
        assert 0.85 * exact <= lost[number] <= exact * (1 + 1e-9)  # the others' gain is to first order


@given(st.lists(st.floats(-20, 0), min_size=1, max_size=2000), st.booleans())
def test_quantised_numbers_are_the_nearest_of_few(values: list[float], same: bool) -> None:
    array = np.array([round(v) for v in values] if same else values, np.float64)
    codes, table = quantised(array)
    assert len(table) == 256
    nearest = np.abs(array[:, None] - table[None]).min(axis=1)
    np.testing.assert_allclose(np.abs(array - table[codes]), nearest, atol=1e-5)
    if len(np.unique(array)) <= 20 and len(array) <= 256:
        assert nearest.max() < 1e-5


def test_states_forget_what_no_ngram_begins_with() -> None:
    levels = count(corpus([[5, 6], [5, 6], [7, 8]]), len(LABELS), 3)
    kept = everything(levels)
    ngrams = Ngrams(pack(LABELS, levels, kept, smooth(levels, kept, _taken(levels))), LABELS)
    assert ngrams.order == 3
    assert ngrams.start.tolist() == [[L2R, ABSENT]]
    known = ngrams.after(ngrams.start, np.array([5]))[0]
    assert known[0] == 5
    assert known[1] != ABSENT
    both = ngrams.after(np.array([known, known]), np.array([8, 6]))
    assert both[0].tolist() == [8, ABSENT]
    # "</s>" ends every text: nothing follows it.
    assert ngrams.after(both, np.array([END, END]))[:, 1].tolist() == [ABSENT, ABSENT]


def test_more_than_the_file_can_tell_is_refused() -> None:
    levels = count(corpus([[5]]), FOLLOWED + 1, 1)
    kept = everything(levels)
    labels = tuple(map(str, range(FOLLOWED + 1)))
    with pytest.raises(ValueError, match=r"at most 32768 labels, got 32769"):
        pack(labels, levels, kept, smooth(levels, kept, _taken(levels)))
    assert HEADER.size == 52
