"""The cutting of words into symbols against every cutting; alignments against torchaudio's; times by ear."""

from collections.abc import Iterator
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio.functional
from hypothesis import given, settings
from hypothesis import strategies as st

from stapes.model import Model
from stapes.tasks.words import align
from tests.tools import tiny_asr, tiny_onnx
from tests.tools.signals import high, low, quiet
from training.alignment import Aligner, spelled

RATE = 16_000


def cuttings(text: str, ids: dict[str, int]) -> Iterator[tuple[int, ...]]:
    if not text:
        yield ()
    for end in range(1, len(text) + 1):
        if text[:end] in ids:
            yield from ((ids[text[:end]], *rest) for rest in cuttings(text[end:], ids))


@settings(deadline=None, max_examples=100)
@given(st.text("ab", min_size=1, max_size=7), st.lists(st.text("ab", min_size=1, max_size=3), unique=True))
def test_words_are_spelled_in_the_fewest_and_first_symbols(text: str, symbols: list[str]) -> None:
    ids = {symbol: number for number, symbol in enumerate(symbols, start=5)}
    every = {cut: (len(cut), sum(map(log, cut))) for cut in cuttings(text, ids)}
    found = spelled(text, ids)
    if not every:
        assert found == ()
    else:
        assert every[found] == pytest.approx(min(every.values()))


@settings(deadline=None, max_examples=50)
@given(steps=st.integers(1, 30), seed=st.integers(0, 999), data=st.data())
def test_alignments_are_as_likely_as_torchaudios(steps: int, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    logs = torch.from_numpy(rng.normal(0, 2, (steps, 6))).log_softmax(-1)
    # Of at most half as many symbols as steps: with blanks between equal ones, there is room for all.
    text = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=max(1, steps // 2)))
    spans = align(logs.numpy(), text)
    path = np.zeros(steps, int)
    for (start, end), symbol in zip(spans.tolist(), text, strict=True):
        path[start:end] = symbol
    _, scores = torchaudio.functional.forced_align(logs[None].float(), torch.tensor([text]))
    assert float(logs.numpy()[np.arange(steps), path].sum()) == pytest.approx(float(scores.sum()), abs=1e-4)


def test_words_are_found_where_they_sound(tmp_path: Path) -> None:
    aligner = Aligner(Model.load(tiny_asr.write(tmp_path, tiny_asr.spec())))
    assert aligner.rate == RATE
    gap = quiet(0.5)
    clip = np.concatenate((gap, low(0.8), gap, high(0.4), gap, low(0.6), gap))
    found = aligner.words(clip, ["low", "high", "low"])
    assert [word.text for word in found] == ["low", "high", "low"]
    for word, (start, end) in zip(found, ((0.5, 1.3), (1.8, 2.2), (2.7, 3.3)), strict=True):
        # Steps of 80 ms, and a model whose state takes one to follow.
        assert start - 0.08 <= word.start < word.end <= end + 0.16
        assert word.confidence > 0.5
    (first, second) = aligner.words(clip[: RATE * 2], ["high", "low"])
    assert min(first.confidence, second.confidence) < 0.2
    assert aligner.words(clip, ["low", "mid"]) == ()
    assert aligner.words(clip, []) == ()
    assert aligner.words(clip[:2000], ["low"] * 9) == ()


def test_what_cannot_align_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task 'kws', not 'asr'"):
        Aligner(Model.load(tiny_onnx.write(tmp_path, tiny_onnx.spec("stateful"))))
    labels = (*tiny_asr.LABELS[:5], "低", "高", "新", "约")
    with pytest.raises(ValueError, match="no symbol for where a word begins"):
        Aligner(Model.load(tiny_asr.write(tmp_path, replace(tiny_asr.spec(), labels=labels))))
