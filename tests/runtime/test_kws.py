"""The keyword decoder against what its docstring says, and the figures over clips."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stapes.events import Event, KeywordSpotted
from stapes.samples import Frames
from stapes.spec import SpecError
from stapes.tasks import kws
from tests.tools import tiny_onnx

SPEC = tiny_onnx.spec("stateful")
HOP = 1600


def _with(**params: object) -> kws.KeywordDecoder:
    return kws.KeywordDecoder(replace(SPEC, params=SPEC.params | params))


def _push(decoder: kws.KeywordDecoder, rows: list[tuple[float, float]]) -> list[tuple[int, str, float]]:
    """Posteriors of low and high, a hop each; hop number, label, score of what is announced."""
    found: list[Event] = []
    for i, (low, high) in enumerate(rows):
        found += decoder.push(np.array([[0, 0, low, high]], np.float32), i * HOP)
    return [(e.at // HOP, e.label, e.score) for e in found if isinstance(e, KeywordSpotted)]


def test_a_word_is_announced_once() -> None:
    rows = [(0.0, 0.0)] * 3 + [(0.9, 0.0)] * 9 + [(0.0, 0.0)] * 3
    assert _push(_with(), rows) == [(4, "low", 0.9)]


def test_the_mean_of_the_last_posteriors_counts() -> None:
    rows = [(0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (0.75, 0.0)]
    assert _push(_with(smooth_hops=3, thresholds={"low": 0.5, "high": 1}), rows) == [(2, "low", 0.5)]
    assert _push(_with(smooth_hops=1, thresholds={"low": 0.8, "high": 1}), rows) == [(2, "low", 1.0)]
    assert _push(_with(smooth_hops=4), [(1.0, 0.0)] * 5) == [(2, "low", 0.75)]  # before the start there was 0


def test_the_best_keyword_counts() -> None:
    low_bar = {"low": 0.2, "high": 0.3}
    assert _push(_with(smooth_hops=1, thresholds=low_bar), [(0.3, 0.4)]) == [(0, "high", 0.4)]
    # The best is below its threshold, so nothing is announced, though another is over its own.
    assert _push(_with(smooth_hops=1, thresholds={"low": 0.2, "high": 0.9}), [(0.3, 0.4)]) == []


def test_again_after_refractory_time_and_a_gap() -> None:
    word, gap = (0.9, 0.0), (0.0, 0.0)
    decoder = {"smooth_hops": 1, "refractory_ms": 500}
    assert [at for at, *_ in _push(_with(**decoder), [word, gap] * 6)] == [0, 6]
    assert [at for at, *_ in _push(_with(**decoder), [word, gap] + [word] * 9)] == [0, 5]
    assert [at for at, *_ in _push(_with(**decoder), [word] * 12)] == [0]
    assert [at for at, *_ in _push(_with(**(decoder | {"refractory_ms": 0})), [word, gap] * 3)] == [0, 2, 4]
    other = [word, (0.0, 0.9)] + [(0.0, 0.9)] * 6
    assert _push(_with(**decoder), other) == [(0, "low", 0.9), (5, "high", 0.9)]


@settings(deadline=None)
@given(rows=st.lists(st.tuples(st.floats(0, 0.5, width=32), st.floats(0, 0.5, width=32)), max_size=60))
def test_steps_may_come_together(rows: list[tuple[float, float]]) -> None:
    """Several steps in one push are as many pushes, evenly spread over the frames of the push."""
    scores = np.array([[0, 0, low, high] for low, high in rows], np.float32).reshape(-1, 4)
    thresholds = {"low": 0.3, "high": 0.3}
    one = _with(thresholds=thresholds, refractory_ms=100)
    singly = [e for i, row in enumerate(scores) for e in one.push(row[None], (i + 1) * HOP)]
    for steps in (2, 4):
        spec = replace(
            SPEC,
            params=SPEC.params | {"thresholds": thresholds, "refractory_ms": 100},
            window=replace(SPEC.window, hop=SPEC.window.hop * steps),
        )
        several = kws.KeywordDecoder(spec)
        whole = len(scores) // steps * steps
        found = [
            e for i in range(0, whole, steps) for e in several.push(scores[i : i + steps], (i + steps) * HOP)
        ]
        assert found == [e for e in singly if e.at <= whole * HOP]


def test_the_time_of_the_stream_changes_nothing() -> None:
    """To the bit: scores late in a stream are those at its start."""
    rng = np.random.default_rng(5)
    rows = rng.uniform(0, 1, (40, 4)).astype(np.float32)
    decoder = _with(smooth_hops=3, refractory_ms=100)
    first = decoder.push(rows, 40 * HOP)
    decoder.push(np.zeros((1234, 4), np.float32), 5000 * HOP)
    again = decoder.push(rows, 9000 * HOP)
    assert [(e.label, e.score) for e in first] == [(e.label, e.score) for e in again]  # type: ignore[union-attr]
    assert first


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"thresholds": {"low": 0.5}}, "'params.thresholds' must name each of"),
        (
            {"thresholds": {"low": 0.5, "high": 0.5, "_unknown_": 0.5}},
            "'params.thresholds' must name each of",
        ),
        (
            {"thresholds": {"low": 0, "high": 0.5}},
            "'params.thresholds.low' must be over 0 and up to 1, got 0",
        ),
        ({"thresholds": {"low": "x", "high": 0.5}}, "'params.thresholds.low'"),
        ({"smooth_hops": 0}, "'params.smooth_hops' must be a whole number from 1 to 100000, got 0"),
        ({"smooth_hops": 1.5}, "'params.smooth_hops'"),
        ({"smooth_hops": 10**10}, "'params.smooth_hops' must be a whole number from 1 to 100000, got"),
        ({"refractory_ms": -1}, "'params.refractory_ms' must be a whole number from 0 to 3600000, got -1"),
        ({"background": ["_noise_"]}, "'params.background' must be a list of labels"),
        ({"background": list(tiny_onnx.LABELS)}, "'params.thresholds' must name"),
        ({"colour": "blue"}, "unknown key 'params.colour'"),
    ],
)
def test_wrong_params_are_named(params: dict[str, object], reason: str) -> None:
    with pytest.raises(SpecError, match=reason.replace(".", r"\.")):
        _with(**params)


@pytest.mark.parametrize("key", sorted(tiny_onnx.PARAMS))
def test_missing_params_are_named(key: str) -> None:
    params = {k: v for k, v in SPEC.params.items() if k != key}
    with pytest.raises(SpecError, match=f"'params.{key}' is missing"):
        kws.KeywordDecoder(replace(SPEC, params=params))


def _scores(*rows: tuple[float, ...]) -> Frames:
    return np.array(rows, np.float32)


def test_clip_takes_the_step_where_a_keyword_is_surest() -> None:
    result = kws.clip(_scores((0.9, 0, 0.1, 0), (0.1, 0.3, 0.2, 0.4), (0.8, 0, 0, 0.2)), SPEC)
    assert result == {
        "label": "high",
        "scores": {"_silence_": 0.1, "_unknown_": 0.3, "low": 0.2, "high": 0.4},
    }
    assert kws.clip(_scores((0.1, 0.6, 0.3, 0)), SPEC)["label"] == "_unknown_"


def test_metrics() -> None:
    found = [{"label": x} for x in ("low", "low", "high", "_unknown_", "high")]
    result = kws.metrics(found, ["low", "high", "high", "marvin", "happy"], SPEC)
    assert result == {
        "n": 5,
        "accuracy": 0.6,
        "confusion": {
            "low": {"low": 1},
            "high": {"low": 1, "high": 1},
            "_unknown_": {"_unknown_": 1, "high": 1},
        },
    }
    assert kws.metrics([], [], SPEC) == {"n": 0, "accuracy": None, "confusion": {}}
