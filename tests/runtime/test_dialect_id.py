"""The dialect decoder against what its docstring says, and the figures over clips."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stapes.events import DialectGuessed, Event
from stapes.spec import FbankSpec, ModelSpec, Scores, SpecError, StateSpec, WindowSpec
from stapes.tasks import TASKS, dialect_id
from stapes.tasks.dialect_id import DialectDecoder, DialectParams, tempered

HOP = 8000
"""Samples of half a second."""
PARAMS = DialectParams(floor=0.4, sure=0.9, min_speech_ms=1000, decide_ms=3000, turn_ratio=2, turn_hops=2)
SPEC = ModelSpec(
    name="tongues",
    task="dialect_id",
    features=FbankSpec(),
    window=WindowSpec(frames=1000, hop=50, mode="segment"),
    labels=("de", "en", "fi"),
    states=(StateSpec("sums", (4,)),),
    params=asdict(PARAMS),
)


def _with(**params: object) -> DialectDecoder:
    return DialectDecoder(replace(SPEC, params=SPEC.params | params))


def _rows(*pairs: tuple[float, float]) -> Scores:
    """Posteriors of de and en; what is left is fi's."""
    return np.array([[de, en, 1 - de - en] for de, en in pairs], np.float32).reshape(-1, 3)


def _said(events: list[Event]) -> list[tuple[int, str]]:
    """Hop number, from 1, and label."""
    return [(event.at // HOP, event.label) for event in events if isinstance(event, DialectGuessed)]


def _push(decoder: DialectDecoder, *pairs: tuple[float, float]) -> list[tuple[int, str]]:
    found: list[Event] = []
    for number, row in enumerate(_rows(*pairs), 1):
        found += decoder.push(row[None], number * HOP)
    return _said([*found, *decoder.flush(len(pairs) * HOP)])


def test_a_sure_guess_comes_early_but_not_before_enough_speech() -> None:
    assert _push(_with(), *[(0.95, 0.0)] * 8) == [(2, "de")]
    assert _push(_with(), (0.95, 0), (0.5, 0.3), (0.8, 0.1), (0.91, 0), (0.99, 0)) == [(4, "de")]
    assert _push(_with(min_speech_ms=0), (0.95, 0.0)) == [(1, "de")]
    assert _push(_with(), (0.95, 0.0)) == []  # too little speech, at the end of the stream too


def test_later_the_likeliest_is_said() -> None:
    assert _push(_with(), *[(0.5, 0.3)] * 8) == [(6, "de")]
    assert _push(_with(), *[(0.3, 0.35)] * 8) == [(6, "unknown")]
    assert _push(_with(floor=0), *[(0.33, 0.34)] * 8) == [(6, "en")]
    assert _push(_with(floor=0.95), *[(0.92, 0.0)] * 8) == [(6, "unknown")]  # sure, yet not likely


def test_the_end_of_the_stream_asks_for_an_answer() -> None:
    assert _push(_with(), (0.5, 0.3), (0.5, 0.3)) == [(2, "de")]
    assert _push(_with(), (0.3, 0.3), (0.3, 0.35)) == [(2, "unknown")]
    decoder = _with()
    assert decoder.flush(0) == []
    assert decoder.push(np.zeros((0, 3), np.float32), 0) == []
    decoder.push(_rows((0.5, 0.3), (0.5, 0.3), (0.5, 0.3)), HOP)
    assert decoder.flush(HOP) == []  # three steps of one hop


def test_a_guess_is_revised_when_the_evidence_turns() -> None:
    start = [(0.95, 0.0)] * 2
    assert _push(_with(), *start, *[(0.3, 0.6)] * 3) == [(2, "de"), (4, "en")]
    assert _push(_with(), *start, *[(0.4, 0.6)] * 9) == [(2, "de")]  # not twice as likely
    assert _push(_with(), *start, *[(0.3, 0.6), (0.5, 0.4)] * 5) == [(2, "de")]  # never twice running
    # Two others that take turns are not one that lasts.
    assert _push(_with(), *start, *[(0.1, 0.7), (0.1, 0.1)] * 5) == [(2, "de")]
    assert _push(_with(turn_hops=1), *start, (0.3, 0.6), (0.8, 0.1)) == [(2, "de"), (3, "en"), (4, "de")]


def test_unknown_is_one_more_label_as_likely_as_the_floor() -> None:
    start = [(0.95, 0.0)] * 2
    # fi stays below 0.4 and de falls to half of it.
    assert _push(_with(floor=0.6), *start, *[(0.25, 0.4)] * 3) == [(2, "de"), (4, "unknown")]
    assert _push(_with(floor=0.4), *start, *[(0.25, 0.39)] * 5) == [(2, "de")]
    nothing = [(0.3, 0.35)] * 6
    assert _push(_with(), *nothing, *[(0.1, 0.81)] * 3) == [(6, "unknown"), (8, "en")]
    assert _push(_with(), *nothing, *[(0.1, 0.75)] * 9) == [(6, "unknown")]  # not twice the floor


def test_events_tell_the_likeliest_labels() -> None:
    many = replace(SPEC, labels=tuple("abcdefg"), params=asdict(DialectParams(min_speech_ms=0, sure=0.3)))
    row = np.array([[0.1, 0.3, 0.05, 0.1, 0.2, 0.15, 0.1]], np.float32)
    (event,) = DialectDecoder(many).push(row, 12_345)
    assert event == DialectGuessed(
        at=12_345,
        model="tongues",
        label="b",
        scores={"b": 0.3, "e": 0.2, "f": 0.15, "a": 0.1, "d": 0.1},
    )
    assert isinstance(event, DialectGuessed)
    assert list(event.scores) == ["b", "e", "f", "a", "d"]  # best first; of equals, in the labels' order


posteriors = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.01, 1))


@settings(deadline=None, max_examples=80)
@given(rows=st.lists(posteriors, max_size=48), temperature=st.floats(0.2, 3))
def test_steps_may_come_together(rows: list[tuple[float, float, float]], temperature: float) -> None:
    """Several steps in one push are as many pushes, evenly spread over the hop."""
    scores = np.array(rows, np.float32).reshape(-1, 3)
    scores /= scores.sum(axis=1, keepdims=True)
    params = SPEC.params | {"temperature": temperature, "sure": 0.7, "turn_ratio": 1.2, "decide_ms": 2500}
    one = DialectDecoder(replace(SPEC, params=params))
    singly = [e for i, row in enumerate(scores) for e in one.push(row[None], (i + 1) * HOP)]
    for steps in (2, 3, 7):
        window = replace(SPEC.window, hop=SPEC.window.hop * steps)
        several = DialectDecoder(replace(SPEC, params=params, window=window))
        whole = len(scores) // steps * steps
        found = [
            e for i in range(0, whole, steps) for e in several.push(scores[i : i + steps], (i + steps) * HOP)
        ]
        assert found == [e for e in singly if e.at <= whole * HOP]


@given(row=posteriors, temperature=st.floats(0.05, 20))
def test_temperature_divides_logits(row: tuple[float, float, float], temperature: float) -> None:
    logits = np.log(np.array(row))
    softmax = np.exp(logits) / np.exp(logits).sum()
    wanted = np.exp(logits / temperature - (logits / temperature).max())
    np.testing.assert_allclose(tempered(softmax, temperature), wanted / wanted.sum(), atol=1e-6)


def test_temperature_counts_in_the_decoder_and_the_clip() -> None:
    assert _push(_with(temperature=2), *[(0.9, 0.09)] * 3, *[(0.995, 0.004)] * 2) == [(4, "de")]
    warm = replace(SPEC, params=SPEC.params | {"temperature": 2})
    result = dialect_id.clip(_rows((0.1, 0.1), (0.64, 0.32)), warm)
    roots = np.sqrt([0.64, 0.32, 0.04])
    assert list(result["scores"].values()) == pytest.approx(roots / roots.sum(), abs=5e-5)


def test_posteriors_of_zero_do_no_harm() -> None:
    np.testing.assert_allclose(tempered(np.array([1, 0, 0], np.float32), 0.01), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(tempered(np.zeros(4, np.float32), 3), np.full(4, 0.25))


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"temperature": 0}, "'params.temperature' must be a number from 0.01 to 100, got 0"),
        ({"temperature": float("nan")}, "'params.temperature'"),
        ({"floor": -0.1}, "'params.floor' must be a number from 0 to 1, got -0.1"),
        ({"floor": "x"}, "'params.floor'"),
        ({"sure": 1.5}, "'params.sure'"),
        ({"sure": True}, "'params.sure'"),
        ({"min_speech_ms": 0.5}, "'params.min_speech_ms' must be a whole number from 0 to 3600000, got 0.5"),
        ({"decide_ms": 900}, "'params.decide_ms' must be at least min_speech_ms, got 900 and 1000"),
        ({"turn_ratio": 0.9}, "'params.turn_ratio' must be a number from 1 to"),
        ({"turn_hops": 0}, "'params.turn_hops' must be a whole number from 1 to"),
        ({"colour": "blue"}, "unknown key 'params.colour'"),
    ],
)
def test_wrong_params_are_named(params: dict[str, object], reason: str) -> None:
    with pytest.raises(SpecError, match=reason.replace(".", r"\.")):
        _with(**params)


@pytest.mark.parametrize("key", sorted(asdict(PARAMS)))
def test_missing_params_are_named(key: str) -> None:
    with pytest.raises(SpecError, match=f"'params.{key}' is missing"):
        DialectDecoder(replace(SPEC, params={k: v for k, v in SPEC.params.items() if k != key}))


def test_unknown_is_no_label() -> None:
    with pytest.raises(SpecError, match="'unknown' is the answer where no label fits"):
        DialectDecoder(replace(SPEC, labels=("de", "unknown")))


def test_clip_is_judged_by_its_last_step() -> None:
    found = dialect_id.clip(_rows((0.9, 0.1), (0.2, 0.7)), SPEC)
    assert found == {"label": "en", "scores": {"de": 0.2, "en": 0.7, "fi": 0.1}}
    assert dialect_id.clip(_rows((0.3, 0.38)), SPEC)["label"] == "unknown"


def _result(label: str, *scores: float) -> dict[str, object]:
    return {"label": label, "scores": dict(zip(SPEC.labels, scores, strict=True))}


def test_metrics_of_a_closed_set() -> None:
    results = [
        _result("de", 0.9, 0.1, 0.0),
        _result("unknown", 0.3, 0.38, 0.32),
        _result("en", 0.1, 0.8, 0.1),
        _result("en", 0.2, 0.7, 0.1),
    ]
    found = dialect_id.metrics(results, ["de", "en", "en", "de"], SPEC)
    assert found["confusion"] == {"de": {"de": 1, "en": 1}, "en": {"unknown": 1, "en": 1}}
    assert (found["n"], found["accuracy"], found["known_accuracy"]) == (4, 0.5, 0.75)
    # No clip is of fi. Right trials: 0.9 0.38 0.8 0.2, wrong ones: 0.1 0.3 0.1 0.7; equal at one of four.
    assert found["eer"] == 0.25
    # Over 0.3 there is one of two misses for de, one of two false accepts for en.
    assert found["cavg"] == pytest.approx((0.5 / 2 + 0.5 / 2) / 2)
    assert found["unknown_eer"] is None
    assert found["ece"] == pytest.approx((0.1 + 0.62 + 0.2 + 0.7) / 4)  # each is alone in its bin


def test_metrics_of_an_open_set() -> None:
    results = [
        _result("de", 0.9, 0.1, 0.0),
        _result("en", 0.1, 0.8, 0.1),
        _result("unknown", 0.3, 0.3, 0.4),
        _result("de", 0.85, 0.1, 0.05),
    ]
    found = dialect_id.metrics(results, ["de", "en", "zu", "dog_bark"], SPEC)
    assert found["confusion"] == {"de": {"de": 1}, "en": {"en": 1}, "unknown": {"unknown": 1, "de": 1}}
    assert (found["accuracy"], found["known_accuracy"]) == (0.75, 1)
    # The two known ones are the likeliest at 0.9 and 0.8, the others at 0.4 and 0.85.
    assert found["unknown_eer"] == 0.5
    # The best threshold accepts all right trials, and one of two unknown ones as de: 0.25 · 1/2, one of two.
    assert found["cavg"] == pytest.approx(0.25 * 0.5 / 2)


def test_metrics_of_nothing() -> None:
    nothing = dict.fromkeys(("accuracy", "known_accuracy", "eer", "cavg", "unknown_eer", "ece"))
    assert dialect_id.metrics([], [], SPEC) == {"n": 0, **nothing, "confusion": {}}
    one = dialect_id.metrics([_result("de", 0.9, 0.1, 0)], ["de"], SPEC)
    assert (one["accuracy"], one["eer"], one["cavg"]) == (1, None, None)
    strange = dialect_id.metrics([_result("de", 0.9, 0.1, 0)], ["zu"], SPEC)
    assert (strange["accuracy"], strange["known_accuracy"], strange["unknown_eer"]) == (0, None, None)


def test_the_answer_in_a_manifest_line_goes_by_several_keys() -> None:
    task = TASKS["dialect_id"]
    assert task.answer({"language": "zh", "accent": "x", "label": "y"}) == "zh"
    assert task.answer({"dialect": "zh-HK", "accent": "", "text": "…"}) == "zh-HK"
    assert task.answer({"accent": "dutch"}) == "dutch"
    assert task.answer({"label": "dog_bark"}) == "dog_bark"
    assert task.answer({"language": None, "label": "dog_bark"}) is None
    assert task.answer({}) is None
    assert TASKS["kws"].answer({"language": "en"}) is None
