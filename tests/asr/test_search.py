"""The searches against exhaustive ones, and against the description followed hypothesis by hypothesis."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asr import ctc
from asr.decoder import Decoder, DecoderSpec
from asr.recipe import Directions
from asr.rescoring import RescoreSpec, rescore
from asr.search import EMPTY, BeamSpec, Hypothesis, search, starts
from asr.vocabulary import END, L2R, R2L

torch.set_num_threads(1)
SYMBOLS = 8


def decoder(seed: int, sharpness: float = 3.0) -> Decoder:
    torch.manual_seed(seed)
    net = Decoder(DecoderSpec(width=8, heads=2, inner=8, blocks=1), SYMBOLS, memory=6).eval()
    net.embedding.data.mul_(sharpness)
    return net


def following(net: Decoder, memory: Tensor, ids: tuple[int, ...]) -> list[float]:
    """Log-probabilities after the ids, computed anew, without caches."""
    logits = net(torch.tensor(ids)[None, None], memory, None)[0, 0, -1]
    return logits.double().log_softmax(-1).tolist()


def by_the_book(net: Decoder, memory: Tensor, spec: BeamSpec) -> list[Hypothesis]:
    """Section 3.4 of the notes on arXiv 2008.04481, in lists."""
    begin = starts(spec.directions)
    size = spec.beam // len(begin)
    halves = [[((start,), 0.0 if i == 0 else EMPTY) for i in range(size)] for start in begin]
    pool: list[tuple[tuple[int, ...], float]] = []
    i = 0
    limit = min(memory.shape[1] + 50, 200, spec.most_tokens)
    while i < limit:
        hope = max(log for half in halves for _, log in half) / ((5 + limit) / 6) ** spec.alpha
        if len(pool) == spec.beam and not (spec.patient and hope > pool[-1][1]):
            break
        penalty = ((5 + i + 1) / 6) ** spec.alpha
        ended = []
        for number, half in enumerate(halves):
            grown = [
                ((*ids, token), log + more)
                for ids, log in half
                for token, more in enumerate(following(net, memory, ids))
            ]
            best = sorted(grown, key=lambda pair: -pair[1])[: 2 * size]
            halves[number] = [(ids, log) for ids, log in best if ids[-1] != END][:size]
            ended += [(ids, log / penalty) for ids, log in best if ids[-1] == END and log > EMPTY / 2]
        pool = sorted(pool + ended, key=lambda pair: -pair[1])[: spec.beam]
        i += 2 if spec.quirk else 1
    finished = bool(pool)
    if not pool:
        alive = [(ids, log / penalty) for half in halves for ids, log in half if log > EMPTY / 2]
        pool = sorted(alive, key=lambda pair: -pair[1])
    found = []
    for (first, *ids), score in pool:
        text = tuple(ids[: ids.index(END)]) if END in ids else tuple(ids)
        found.append(Hypothesis(text[::-1] if first == R2L else text, score, first == R2L, finished))
    return found


def same(found: list[Hypothesis], wanted: list[Hypothesis]) -> None:
    assert [(h.ids, h.backwards, h.finished) for h in found] == [
        (h.ids, h.backwards, h.finished) for h in wanted
    ]
    assert [h.score for h in found] == pytest.approx([h.score for h in wanted], abs=1e-4)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 10_000),
    st.sampled_from([2, 4, 8]),
    st.sampled_from(["both", "l2r", "r2l"]),
    st.integers(1, 7),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 0.6, 1.5]),
)
def test_each_step_is_the_description(  # noqa: PLR0917
    seed: int, beam: int, directions: Directions, most: int, quirk: bool, patient: bool, alpha: float
) -> None:
    net = decoder(seed)
    memory = torch.randn(1, 4, 6)
    spec = BeamSpec(beam, directions, alpha, most, quirk, patient)
    same(search(net, memory, torch.tensor([4]), spec)[0], by_the_book(net, memory, spec))


@pytest.mark.parametrize("directions", ["both", "l2r", "r2l"])
def test_a_beam_that_holds_everything_finds_the_best_of_all_texts(directions: Directions) -> None:
    net = decoder(1, sharpness=1.5)
    memory = torch.randn(1, 3, 6)
    begin = starts(directions)
    spec = BeamSpec(beam=200 * len(begin), directions=directions, most_tokens=3)
    everything = []
    for start in begin:
        for count in range(3):
            others = [i for i in range(SYMBOLS) if i != END]
            for text in itertools.product(others, repeat=count):
                ids = (start, *text, END)
                log = sum(following(net, memory, ids[:at])[ids[at]] for at in range(1, len(ids)))
                everything.append((text[::-1] if start == R2L else text, log / ((6 + count) / 6) ** 0.6))
    everything.sort(key=lambda pair: -pair[1])
    found = search(net, memory, torch.tensor([3]), spec)[0]
    # 7² prefixes and all that grows from them fit into each half, and all texts into the pool.
    assert [h.score for h in found] == pytest.approx([score for _, score in everything], abs=1e-4)
    assert [h.ids for h in found] == [text for text, _ in everything]
    assert len(found) == 57 * len(begin)


class Scripted:
    """A decoder whose log-probabilities are a function of start symbol, place and recording."""

    def __init__(self, table: dict[int, list[dict[int, float]]]) -> None:
        self.table = table
        self.first: Tensor | None = None
        self.place = 0

    def source(self, memory: Tensor) -> Tensor:
        return memory

    def start(self, rows: int) -> Tensor:
        return torch.zeros(1, 2, rows, 1, 0, 1)

    def step(self, tokens: Tensor, past: Tensor, *_: object) -> tuple[Tensor, Tensor]:
        self.first = tokens if self.first is None else self.first
        logits = torch.full((*tokens.shape, SYMBOLS), -50.0)
        for row in range(tokens.shape[0]):
            for stream in range(tokens.shape[1]):
                for token, log in self.table[int(self.first[row, stream])][self.place].items():
                    logits[row, stream, token] = log
        self.place += 1
        return logits, past


def test_halves_are_pruned_apart_and_meet_in_the_pool() -> None:
    # Forwards is certain and would fill the whole beam; backwards hesitates, but ends first and worse.
    sure, half = math.log(0.98), math.log(0.5)
    table = {
        L2R: [{5: sure, 6: -4.0}, {5: sure, 6: -4.0}, {END: sure, 6: -4.0}, {END: sure}],
        R2L: [{6: half, 7: half}, {END: half, 7: half}, {END: half, 7: half}, {END: half, 7: half}],
    }
    net = Scripted(table)
    found = search(net, torch.zeros(1, 9, 1), torch.tensor([9]), BeamSpec(4, alpha=0.0))[0]  # type: ignore[arg-type]
    assert found[0].ids == (5, 5)
    assert not found[0].backwards
    assert {h.ids for h in found if h.backwards} >= {(6,), (7,)}


def test_a_backward_text_is_turned_round() -> None:
    table = {
        L2R: [{5: -9.0, 6: -9.0}, {END: -9.0}, {END: -9.0}],
        R2L: [{6: 0.0}, {7: 0.0}, {END: 0.0}],
    }
    table[L2R] = [{5: 0.0, 6: 0.0}] * 3
    found = search(Scripted(table), torch.zeros(1, 9, 1), torch.tensor([9]), BeamSpec(2, most_tokens=3))[0]  # type: ignore[arg-type]
    assert found[0] == Hypothesis((7, 6), found[0].score, backwards=True, finished=True)


def test_it_stops_when_the_pool_is_full() -> None:
    table = {start: [{5: 0.0, END: 0.0}] * 100 for start in (L2R, R2L)}
    net = Scripted(table)
    search(net, torch.zeros(1, 9, 1), torch.tensor([9]), BeamSpec(2))  # type: ignore[arg-type]
    assert net.place == 1
    net = Scripted({start: [{5: 0.0}] * 100 for start in (L2R, R2L)})
    found = search(net, torch.zeros(1, 9, 1), torch.tensor([9]), BeamSpec(2))[0]  # type: ignore[arg-type]
    assert net.place == 59  # its memory's steps, and 50
    assert not found[0].finished
    assert found[0].ids == (5,) * 59
    net = Scripted({start: [{5: 0.0}] * 100 for start in (L2R, R2L)})
    search(net, torch.zeros(1, 90, 1), torch.tensor([90]), BeamSpec(2, quirk=True))  # type: ignore[arg-type]
    assert net.place == 50


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 6), min_size=2, max_size=3), st.integers(2, 20))
def test_recordings_searched_together_are_searched_alone(seed: int, lengths: list[int], most: int) -> None:
    net = decoder(seed, sharpness=2.0)
    memory = torch.randn(len(lengths), max(lengths), 6)
    spec = BeamSpec(4, most_tokens=most)
    together = search(net, memory, torch.tensor(lengths), spec)
    for row, count in enumerate(lengths):
        alone = search(net, memory[row : row + 1, :count], torch.tensor([count]), spec)[0]
        same(together[row], alone)


def test_beams_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="beam of 3"):
        BeamSpec(3)
    assert BeamSpec(3, "l2r").beam == 3


def alignments(logs: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of each text, by all alignments there are."""
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(logs.shape[1]), repeat=len(logs)):
        text = tuple(symbol for symbol, _ in itertools.groupby(path) if symbol)
        log = sum(logs[step, symbol] for step, symbol in enumerate(path))
        found[text] = found.get(text, 0.0) + math.exp(log)
    return found


def test_ctc_beam_search_sums_all_alignments() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((5, 4)).astype(np.float32) * 2
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted = sorted(alignments(logs).items(), key=lambda item: -item[1])
    found = ctc.beam_search(logs, beam=2000, tokens=4)
    assert len(found) == len(wanted)
    for (text, log), (other, probability) in zip(found[:20], wanted[:20], strict=True):
        assert text == other
        assert log == pytest.approx(math.log(probability), abs=1e-5)
    best = ctc.beam_search(logs, beam=8, tokens=4)
    assert [text for text, _ in best[:3]] == [text for text, _ in wanted[:3]]


def test_ctc_greedy_joins_repetitions() -> None:
    path = torch.tensor([[5, 5, 0, 5, 6, 6, 0, 7], [6, 6, 6, 0, 0, 9, 9, 9]])
    logits = torch.nn.functional.one_hot(path, 10).float()
    assert ctc.greedy(logits, torch.tensor([8, 5])) == [[5, 5, 6, 7], [6]]


def test_rescoring_adds_up_what_each_judge_says() -> None:
    net = decoder(3)
    memory = torch.randn(1, 5, 6)
    found = [((5, 6, 7), -1.0), ((5,), -2.0), ((7, 7), -0.5), ((), -3.0)]
    spec = RescoreSpec(backwards=0.3, ctc=0.7)
    wanted = {}
    for ids, log in found:
        told = []
        for start, text in ((L2R, ids), (R2L, ids[::-1])):
            whole = (start, *text, END)
            told.append(sum(following(net, memory, whole[:at])[whole[at]] for at in range(1, len(whole))))
        wanted[ids] = 0.7 * told[0] + 0.3 * told[1] + 0.7 * log
    ranked = rescore(net, memory, found, spec)
    assert [ids for ids, _ in ranked] == sorted(wanted, key=lambda ids: -wanted[ids])
    assert dict(ranked) == pytest.approx(wanted, abs=1e-4)
    assert rescore(net, memory, [], spec) == []
