"""The language model on the device: lookups against dictionaries, search against all texts, damaged files."""

import math
import zlib
from itertools import groupby, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stapes.events import TextFinished
from stapes.model import Model
from stapes.onnxfile import LANGUAGE_MODEL, ModelFileError, language_model, stamp
from stapes.scoring import judge
from stapes.spec import SpecError
from stapes.tasks import asr
from stapes.tasks.ctc import Fusion, PrefixBeam
from stapes.tasks.hotwords import Hotwords
from stapes.tasks.ngrams import HEADER, Ngrams
from stapes.tasks.reading import Extras
from tests.tools import tiny_asr, tiny_ngrams
from tests.tools.signals import high, low, quiet

LABELS = ("<pad>", "<unk>", "<l2r>", "</s>", "<r2l>", "▁a", "b")
FORWARDS, END = 2, 3
NONE = Hotwords((), LABELS, 0.0)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 999),
    order=st.integers(1, 5),
    share=st.sampled_from([0.0, 0.2, 0.6, 1.0]),
    text=st.lists(st.integers(0, 4), max_size=8),
)
def test_rows_are_those_of_the_dictionary(seed: int, order: int, share: float, text: list[int]) -> None:
    labels = LABELS[:5]
    grams = tiny_ngrams.random(seed, len(labels), order, share if order < 5 else min(share, 0.6))
    ngrams = Ngrams(tiny_ngrams.write(grams, labels), labels)
    assert ngrams.order == max(map(len, grams))
    state, context = ngrams.start, (FORWARDS,)
    for symbol in [*text, 0]:
        history = context[max(0, len(context) - ngrams.order + 1) :]
        wanted = [tiny_ngrams.log(grams, history, each) for each in range(len(labels))]
        np.testing.assert_allclose(ngrams.rows(state)[0], wanted, atol=1e-4)
        state, context = ngrams.after(state, np.array([symbol])), (*context, symbol)


def _logs(steps: int, labels: int, seed: int) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 1.5, (steps, labels))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@settings(deadline=None, max_examples=10)
@given(steps=st.integers(1, 4), seed=st.integers(0, 99), weight=st.floats(0.1, 2), bonus=st.floats(-1, 2))
def test_a_wide_beam_ranks_all_texts_by_both(steps: int, seed: int, weight: float, bonus: float) -> None:
    grams = tiny_ngrams.random(seed, len(LABELS), 3)
    logs = _logs(steps, len(LABELS), seed)
    logs[:, [1, 2, 3, 4]] = -1e9  # a text has two symbols
    texts: dict[tuple[int, ...], float] = {}
    for path in product((0, 5, 6), repeat=steps):
        text = tuple(symbol for symbol, _ in groupby(path) if symbol)
        chance = math.exp(sum(logs[step, symbol] for step, symbol in enumerate(path)))
        texts[text] = texts.get(text, 0.0) + chance
    wanted = {}
    for text, chance in texts.items():
        told = (*text, END)
        said = sum(
            tiny_ngrams.log(grams, (FORWARDS, *told[:at])[-2:], symbol) for at, symbol in enumerate(told)
        )
        wanted[text] = math.log(chance) + weight * said + bonus * len(text)
    fusion = Fusion(Ngrams(tiny_ngrams.write(grams, LABELS), LABELS), weight, bonus)
    beam = PrefixBeam(LABELS, NONE, beam=1000, tokens=3, least=0, fusion=fusion)
    for row in logs:
        beam.push(row)
    found = dict(beam.found())
    assert found.keys() == wanted.keys()
    for text, score in wanted.items():
        assert found[text] == pytest.approx(score, abs=1e-3)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_a_narrow_beam_keeps_what_the_language_model_likes() -> None:
    """CTC hears b a little better; after ▁a it is unheard of."""
    grams = {(s,): (-2.0, 0.0) for s in range(7)} | {(5, 5): (-0.1, 0.0), (5, 6): (-9.0, 0.0)}
    fusion = Fusion(Ngrams(tiny_ngrams.write(grams, LABELS), LABELS), 0.5, 0.0)
    logs = np.log(
        np.array([[0.1, 0, 0, 0, 0, 0.9, 0], [1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0.4, 0.6]]) + 1e-9
    )
    found = []
    for each in (None, fusion):
        beam = PrefixBeam(LABELS, NONE, beam=1, tokens=3, fusion=each)
        for row in logs:
            beam.push(row)
        found.append(beam.best)
    assert found == [(5, 6), (5, 5)]
    hot = Hotwords(["ab"], LABELS, 9.0)
    beam = PrefixBeam(LABELS, hot, beam=2, tokens=3, fusion=fusion)
    for row in logs:
        beam.push(row)
    assert beam.best == (5, 6)  # a hotword outweighs it


def _file() -> bytes:
    """ "low" is likely after the start, "york" after "new"."""
    grams = {(s,): (-3.0, 0.0) for s in range(9)} | {(2, 5): (-0.1, 0.0), (7, 8): (-0.1, 0.0)}
    return tiny_ngrams.write(grams, tiny_asr.LABELS)


def test_texts_are_decided_and_shown_with_it() -> None:
    ngrams = Ngrams(_file(), tiny_asr.LABELS)
    rows = np.full((2, 9), 0.001, np.float32)
    rows[0, 5], rows[0, 6] = 0.4, 0.59  # "high" is heard
    rows[1, 0] = 0.99
    for params, wanted in (({"lm_weight": 1.0}, "low"), ({"lm_weight": 0}, "high")):
        spec = tiny_asr.spec(**params)
        decoder = asr.TextDecoder(spec, Extras(language=ngrams))
        events = decoder.push(rows, 2 * 1280) + decoder.flush(2 * 1280)
        assert isinstance(events[-1], TextFinished)
        assert {event.text for event in events} == {wanted}  # type: ignore[attr-defined]
        assert asr.clip(rows, spec, Extras(language=ngrams))["text"] == wanted
    assert asr.clip(rows, tiny_asr.spec(lm_weight=1.0))["text"] == "high"


def test_it_lies_in_the_model_file(tmp_path: Path) -> None:
    plain = Model.load(tiny_asr.write(tmp_path, tiny_asr.spec()))
    path = tmp_path / "with.onnx"
    path.write_bytes(tiny_asr.first(tiny_asr.second(), _file()))
    stamp(path, path, tiny_asr.spec())
    assert language_model(path.read_bytes()) == _file()
    model = Model.load(path)
    assert model.language is not None
    assert model.fork(nbest=2).language is model.language
    assert (plain.language, plain.extras.language) == (None, None)
    sound = np.concatenate([quiet(0.3), low(0.5), quiet(0.3), high(0.5), quiet(0.3)])
    assert judge(model, sound)["text"] == "low high"
    assert judge(model.fork(lm_weight=0.0), sound) == judge(plain, sound)
    assert judge(model, sound)["nbest"] != judge(plain, sound)["nbest"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda _: b"", "not a language model: 0 bytes"),
        (lambda data: b"other" + data, "not a language model"),
        (lambda data: data[:8] + b"\x09" + data[9:], "of version 9; this stapes reads version 2"),
        (lambda data: data[: HEADER.size - 4] + b"\x63" + data[HEADER.size - 3 :], "its order is 99"),
        (lambda data: data[:-1], "do not hold"),
        (lambda data: data + b"\0", "do not hold"),
        (lambda data: data[: HEADER.size] + b"\x08" + data[HEADER.size + 1 :], "8 n-grams of one symbol"),
        (lambda data: data[: HEADER.size + 4] + b"\x01" + data[HEADER.size + 5 :], "do not hold"),
        (lambda data: data[: HEADER.size + 16] + b"\0" + data[HEADER.size + 17 :], "damaged"),
        (lambda _: tiny_ngrams.write({(s,): (-1.0, 0.0) for s in range(7)}, LABELS), "for 7 other labels"),
    ],
)
def test_files_that_cannot_be_are_told(tmp_path: Path, damage: object, reason: str) -> None:
    data = damage(_file())  # type: ignore[operator]
    with pytest.raises(SpecError, match=reason):
        Ngrams(data, tiny_asr.LABELS)
    path = tmp_path / "asr.onnx"
    path.write_bytes(tiny_asr.first(tiny_asr.second(), data))
    stamp(path, path, tiny_asr.spec())
    with pytest.raises(ModelFileError, match=reason):
        Model.load(path)


def test_numbers_that_contradict_each_other_are_told() -> None:
    head, body = _file()[: HEADER.size + 4 * 4], bytearray(zlib.decompress(_file()[HEADER.size + 4 * 4 :]))
    at = 4 * 9 + 2 * 4 * 256  # of what follows the first symbol
    assert body[at : at + 18] == np.array([0, 0, 1, 0, 0, 0, 0, 1, 0], "<u2").tobytes()
    body[at] = 1
    data = head + zlib.compress(body)
    with pytest.raises(SpecError, match="n-grams of 2 symbols do not fit"):
        Ngrams(data, tiny_asr.LABELS).rows(np.array([[5]]))
    assert LANGUAGE_MODEL == "stapes.language_model"
