"""What calibration fits, against searches through all possibilities; the command, on sounds made up."""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dialect_id import calibrate
from dialect_id.calibration import Heard, choose_floor, choose_sure, fit_temperature, log_loss
from dialect_id.duration import cut, steps_after
from dialect_id.judged import Judged, gather
from stapes import onnxfile
from stapes.events import DialectGuessed
from stapes.model import Model
from stapes.spec import FbankSpec, ModelSpec, SpecError, WindowSpec
from stapes.tasks.dialect_id import DialectDecoder, DialectParams
from tests.dialect_id.tongues import data_sets, tongues
from training.utterances import ManifestError


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (raised / raised.sum(axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_temperature_is_found_again(true: float) -> None:
    """Classes drawn from the posteriors themselves; then the logits are multiplied."""
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(4000, 5)) * 2
    classes = np.array([rng.choice(5, p=row / row.sum()) for row in softmax(logits).astype(np.float64)])
    found = fit_temperature(softmax(logits * true), classes)
    assert found == pytest.approx(true, rel=0.06)
    losses = [log_loss(softmax(logits * true), classes, t) for t in np.geomspace(0.05, 20, 300)]
    assert log_loss(softmax(logits * true), classes, found) <= min(losses) + 1e-6


def test_log_loss_is_torchs() -> None:
    import torch

    rng = np.random.default_rng(0)
    logits, classes = rng.normal(size=(50, 7)) * 3, rng.integers(0, 7, 50)
    wanted = torch.nn.functional.cross_entropy(torch.tensor(logits) / 1.7, torch.tensor(classes))
    assert log_loss(softmax(logits), classes, 1.7) == pytest.approx(float(wanted), abs=1e-5)


answers = st.lists(st.tuples(st.floats(0.05, 1), st.booleans()), min_size=1, max_size=40)


@given(answers, st.sampled_from([0, 0.02, 0.1, 0.5, 1]))
def test_floor_is_the_highest_that_costs_so_little(given_: list[tuple[float, bool]], cost: float) -> None:
    sureness = np.array([s for s, _ in given_])
    right = np.array([r for _, r in given_])
    floor = choose_floor(sureness, right, cost)

    def lost(at: float) -> int:
        return int((right & (sureness < at)).sum())

    assert lost(floor) <= cost * len(given_) + 1e-9
    assert floor == 1 or lost(floor + 0.0011) > int(cost * len(given_) + 1e-9)


SPEC = ModelSpec(
    name="tongues",
    task="dialect_id",
    features=FbankSpec(),
    window=WindowSpec(frames=1000, hop=50, mode="segment"),
    labels=("de", "en", "fi"),
)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 14), st.integers(0, 1000), st.sampled_from([0.5, 0.8, 1.0]))
def test_early_guesses_are_the_decoders(clips: int, steps: int, seed: int, accuracy: float) -> None:
    rng = np.random.default_rng(seed)
    judged = [
        Judged("", "x", int(rng.integers(3)), softmax(rng.normal(size=(steps, 3)) * 3)) for _ in range(clips)
    ]
    heard = [Heard.of(each.scores, each.truth, 1.3) for each in judged]
    early = choose_sure(heard, accuracy, 0.45, start=1, stop=8)

    def counted(sure: float) -> tuple[int, int]:
        params = DialectParams(temperature=1.3, floor=0, sure=sure, min_speech_ms=1000, decide_ms=60_000)
        spec = replace(SPEC, params=asdict(params))
        first: list[tuple[str, str]] = []
        for each in judged:
            decoder = DialectDecoder(spec)
            events = [e for row in each.scores[:8] for e in decoder.push(row[None], 0)]
            first += [(SPEC.labels[each.truth], e.label) for e in events[:1] if isinstance(e, DialectGuessed)]
        return len(first), sum(truth == label for truth, label in first)

    guessed, right = counted(early.sure)
    assert (early.guessed, early.right) == (guessed, right)
    assert early.sure == 0.99 or right >= accuracy * guessed
    if early.sure > 0.45:
        guessed, right = counted(round(early.sure - 0.01, 2))
        assert right < accuracy * guessed


def test_cutting_and_steps() -> None:
    sound = np.arange(10, dtype=np.float32)
    assert cut(sound, 4, None) is sound
    assert cut(sound, 4, 2.5) is not None
    np.testing.assert_array_equal(cut(sound, 4, 2.0), sound[:8])
    assert cut(sound, 4, 2.75) is None
    assert [steps_after(s, 500) for s in (1, 2, 10, 0.3)] == [2, 4, 20, 0]
    assert steps_after(0.3, 100) == 3


def _command(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    calibrate.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_the_command_writes_params_that_the_model_then_uses(tmp_path: Path) -> None:
    source, out, data = tongues(tmp_path), tmp_path / "out" / "tongues.onnx", data_sets(tmp_path / "data")
    words = (source, out, "--data", data, "--sets", "languages", "--unknown", "noise:test")
    text = calibrate.run(_command(*words, "--cost", 0.2, "--report", tmp_path / "report"))
    figures = json.loads(text)
    assert json.loads((tmp_path / "report" / "calibration.json").read_text()) == figures
    assert (tmp_path / "report" / "reliability.png").stat().st_size > 1000
    spec = onnxfile.read_spec(out)
    assert spec.params == figures["params"]
    assert spec.provenance["calibration"] == figures
    assert spec.provenance["data"] == onnxfile.read_spec(source).provenance["data"]
    assert onnxfile.verify(out)
    assert {"min_speech_ms": 300, "decide_ms": 2000, "turn_hops": 3}.items() <= spec.params.items()
    assert spec.params["floor"] > 0
    assert figures["recordings"] == 8  # of dev: four low, four high
    assert figures["log_loss"]["after"] <= figures["log_loss"]["before"]
    assert figures["unknown"].keys() == {"languages", "noise"}  # one of languages is of zulu
    assert figures["unknown"]["noise"]["recordings"] == 1
    assert figures["live"]["known"]["n"] == 8
    assert figures["live"]["noise"]["n"] == 1
    assert Model.load(out).spec.params == spec.params


def test_what_there_is_nothing_to_calibrate_with_is_named(tmp_path: Path) -> None:
    source, out, data = tongues(tmp_path), tmp_path / "out.onnx", data_sets(tmp_path / "data")
    for words, reason in (
        (("--sets", "absent"), "cannot be read"),
        (("--split", "test2"), "has no recording of split 'test2'"),
        (("--sets", "languages:train"), "tongues was trained on the split 'train' of languages"),
        (("--sets", str(data / "languages:train")), "tongues was trained on the split 'train' of"),
        (("--unknown", "noise:train"), "the model was trained on all noise of split 'train'"),
        (("--sets", "noise:test", "--unknown"), "no recording is of a language that tongues knows"),
    ):
        with pytest.raises(ManifestError, match=reason):
            calibrate.run(_command(source, out, "--data", data, *words))
    assert not out.exists()


@pytest.mark.parametrize("words", [("--cost", "-1"), ("--accuracy", "95"), ("--cost", "little")])
def test_shares_are_shares(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _command("model.onnx", "out.onnx", *words)
    assert f"wants a number from 0 to 1, got '{words[1]}'" in capsys.readouterr().err


def test_no_path_travels_with_the_figures(tmp_path: Path) -> None:
    source, out, data = tongues(tmp_path), tmp_path / "out.onnx", data_sets(tmp_path / "data")
    calibrate.run(_command(source, out, "--sets", data / "languages", "--unknown", f"{data / 'noise'}:test"))
    told = onnxfile.read_spec(out).provenance["calibration"]
    assert told["unknown"].keys() == {"languages", "noise"}
    assert str(tmp_path) not in json.dumps(told)


def test_takes_of_noise_that_was_trained_on_are_left_out(tmp_path: Path) -> None:
    data = data_sets(tmp_path)
    rows = [("1-17-A", "train"), ("1-17-B", "test"), ("1-18-A", "test")]
    (data / "noise/manifest.jsonl").write_text(
        "".join(json.dumps({"audio": f"{name}.wav", "split": s, "label": "x"}) + "\n" for name, s in rows)
    )
    spec = replace(SPEC, provenance={"recipe": {"data": {"main": "languages", "noise": ["noise"]}}})
    found = gather(data, [], ["noise"], "test", spec)
    assert [(folder, each.audio.stem) for folder, each in found] == [("noise", "1-18-A")]
    deaf = replace(SPEC, provenance={"recipe": {"data": {"main": "languages", "noise": []}}})
    assert len(gather(data, [], ["noise"], "test", deaf)) == 2


def test_a_model_of_another_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="tongues is a model of the task 'kws', not 'dialect_id'"):
        gather(data_sets(tmp_path), ["languages"], [], "dev", replace(SPEC, task="kws"))
