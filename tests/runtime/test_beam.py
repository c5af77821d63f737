"""The decoder's searches against brute force, on a decoder whose every answer is a table."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stapes.tasks.beam import BeamSpec, rescore, search
from stapes.tasks.ctc import Ids
from stapes.tasks.symbols import BACKWARDS, END, FORWARDS

LABELS = 7


class Table:
    """Log-posteriors of what follows the whole text so far, which travels in the past."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.calls: list[tuple[int, ...]] = []

    def read(self, start: int, end: int) -> None:
        """Nothing is heard."""

    def forget(self, before: int) -> None:
        """Nothing is heard."""

    def after(self, text: tuple[int, ...]) -> NDArray[np.float64]:
        logits = np.random.default_rng([self._seed, *text]).normal(0, 1.5, LABELS)
        logits[[0, 1, FORWARDS, BACKWARDS]] = -30
        logs: NDArray[np.float64] = logits - math.log(np.exp(logits).sum())
        return logs

    def write(
        self, tokens: NDArray[np.int64], past: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        self.calls.append(tokens.shape)
        before = np.zeros((1, 2, len(tokens), 1, 0, 1), np.float32) if past is None else past
        added = np.broadcast_to(
            tokens[None, None, :, None, :, None], (1, 2, len(tokens), 1, tokens.shape[1], 1)
        )
        past = np.concatenate((before, added.astype(np.float32)), axis=4)
        texts = past[0, 0, :, 0, :, 0].astype(int).tolist()
        first = before.shape[4]
        rows = [[self.after(tuple(text[: n + 1])) for n in range(first, len(text))] for text in texts]
        return np.array(rows), past

    def log(self, start: int, ids: Ids) -> float:
        """Of a whole text in the order that it is written in."""
        text = (start, *ids)
        return sum(float(self.after(text[: n + 1])[token]) for n, token in enumerate((*ids, END)))


def _all_finished(table: Table, start: int, most: int, alpha: float) -> list[tuple[float, Ids]]:
    found = []
    for length in range(most):
        for ids in product((5, 6), repeat=length):
            log = table.log(start, ids)
            found.append((log / ((5 + length + 1) / 6) ** alpha, ids[::-1] if start == BACKWARDS else ids))
    return sorted(found, reverse=True)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 999), alpha=st.sampled_from([0.0, 0.6, 1.0]))
def test_a_wide_beam_finds_the_best_of_all_texts(seed: int, alpha: float) -> None:
    """With room for everything the pool holds the best texts of both directions, each by its own score."""
    table = Table(seed)
    found = search(table, 10, BeamSpec(beam=64, alpha=alpha, most_tokens=4))
    wanted = sorted(
        _all_finished(table, FORWARDS, 4, alpha) + _all_finished(table, BACKWARDS, 4, alpha), reverse=True
    )
    scores = [score for _, score in found]
    np.testing.assert_allclose(scores[:10], [score for score, _ in wanted[:10]], rtol=1e-6)
    assert found[0][0] == wanted[0][1]
    assert scores == sorted(scores, reverse=True)


def _by_the_book(table: Table, spec: BeamSpec) -> list[tuple[Ids, float]]:
    """The search written as the steps are told, hypothesis by hypothesis."""
    half = spec.beam // 2
    alive: dict[int, list[tuple[float, tuple[int, ...]]]] = {s: [(0.0, (s,))] for s in (FORWARDS, BACKWARDS)}
    pool: list[tuple[float, tuple[int, ...]]] = []
    for written in range(spec.most_tokens):
        penalty = ((5 + written + 1) / 6) ** spec.alpha
        for start, texts in alive.items():
            pairs = [
                (log + float(table.after(text)[token]), (*text, token))
                for log, text in texts
                for token in range(LABELS)
            ]
            best = sorted(pairs, key=lambda one: -one[0])[: spec.beam]
            pool += [(log / penalty, text[:-1]) for log, text in best if text[-1] == END]
            alive[start] = [one for one in best if one[1][-1] != END][:half]
        pool = sorted(pool, key=lambda one: -one[0])[: spec.beam]
        hope = (
            max(log for texts in alive.values() for log, _ in texts)
            / ((5 + spec.most_tokens) / 6) ** spec.alpha
        )
        if len(pool) == spec.beam and not (spec.patient and hope > pool[-1][0]):
            break
    return [(text[:0:-1] if text[0] == BACKWARDS else text[1:], score) for score, text in pool]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), beam=st.sampled_from([2, 4, 6]), patient=st.booleans())
def test_narrow_beams_go_step_by_step_as_told(seed: int, beam: int, patient: bool) -> None:
    spec = BeamSpec(beam=beam, most_tokens=12, patient=patient)
    table = Table(seed)
    found, wanted = search(table, 50, spec), _by_the_book(table, spec)
    if wanted:
        assert [ids for ids, _ in found] == [ids for ids, _ in wanted]
        np.testing.assert_allclose([s for _, s in found], [s for _, s in wanted], rtol=1e-9)


def test_one_call_a_token_for_the_whole_beam() -> None:
    table = Table(0)
    search(table, 50, BeamSpec(beam=4, most_tokens=9))
    assert set(table.calls) == {(4, 1)}
    assert len(table.calls) <= 9


@pytest.mark.parametrize("directions", ["l2r", "r2l"])
def test_one_direction_is_the_same_code(directions: str) -> None:
    table, start = Table(3), FORWARDS if directions == "l2r" else BACKWARDS
    found = search(table, 10, BeamSpec(beam=32, directions=directions, most_tokens=4))  # type: ignore[arg-type]
    wanted = _all_finished(table, start, 4, 0.6)
    assert found[0][0] == wanted[0][1]
    assert found[0][1] == pytest.approx(wanted[0][0])


def test_where_nothing_finishes_the_best_so_far_is_told() -> None:
    class Endless(Table):
        def after(self, text: tuple[int, ...]) -> NDArray[np.float64]:
            logs = super().after(text).copy()
            logs[END] = -1e9
            return logs

    found = search(Endless(1), 10, BeamSpec(beam=4, most_tokens=3))
    assert found
    assert {len(ids) for ids, _ in found} == {3}
    assert len(search(Endless(1), 0, BeamSpec(beam=4, most_tokens=1000))[0][0]) == 50  # steps + 50


def test_rescoring_adds_up() -> None:
    table = Table(5)
    texts: list[tuple[Ids, float]] = [((5, 6), -3.0), ((), -2.0), ((6, 6, 5), -1.0)]
    found = rescore(table, texts, backwards=0.25, ctc=0.5)
    wanted = {
        ids: 0.75 * table.log(FORWARDS, ids) + 0.25 * table.log(BACKWARDS, ids[::-1]) + 0.5 * score
        for ids, score in texts
    }
    assert dict(found) == pytest.approx(wanted)
    assert [ids for ids, _ in found] == sorted(wanted, key=lambda ids: -wanted[ids])
    assert len(table.calls) == 1
    forwards = dict(rescore(table, texts, backwards=0.0, ctc=0.0))
    assert forwards[5, 6] == pytest.approx(table.log(FORWARDS, (5, 6)))
