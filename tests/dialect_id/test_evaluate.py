"""Figures of an exported model: they are those of `stapes score`; intervals against formulas and counting."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.stats import binomtest

from dialect_id import evaluate
from dialect_id.intervals import bootstrap, wilson
from dialect_id.judged import Judged, judge, last_posteriors
from dialect_id.live import observe
from stapes.cli import main
from stapes.model import Model
from stapes.scoring import judge as judge_clip
from stapes.scoring import score
from stapes.spec import FbankSpec, ModelSpec, WindowSpec
from stapes.tasks.dialect_id import DialectParams, tempered
from tests.dialect_id.tongues import RATE, data_sets, tongues
from training.audio import read_audio
from training.utterances import read_manifest
from training.variants import through_codec


def _command(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_the_figures_are_those_of_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data, out = tongues(tmp_path), data_sets(tmp_path / "data"), tmp_path / "out"
    figures = json.loads(evaluate.run(_command(model, "--data", data, "--out", out, "--draws", 20)))
    assert json.loads((out / "evaluation.json").read_text()) == figures
    for name in ("confusion", "det", "reliability", "durations"):
        assert (out / f"{name}.png").stat().st_size > 1000

    lines = (data / "languages" / "manifest.jsonl").read_text().splitlines()
    tests = data / "languages" / "test.jsonl"
    tests.write_text("\n".join(line for line in lines if json.loads(line)["split"] == "test"))
    assert main(["score", str(model), "--manifest", str(tests), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]
    shared = ("n", "accuracy", "known_accuracy", "eer", "cavg", "unknown_eer", "ece", "confusion")
    assert {key: figures[key] for key in shared} == {key: summary[key] for key in shared}

    assert figures["n"] == 9
    assert 0.5 < figures["known_accuracy"] < 1
    assert figures["interval"]["accuracy"][0] <= figures["accuracy"] <= figures["interval"]["accuracy"][1]
    # 0.7 s is shorter than one second; the unknown one too.
    assert {name: part["n"] for name, part in figures["by_seconds"].items()} == {"1": 6, "2": 2}
    assert figures["live"]["known"]["n"] == 8


def test_noise_counts_as_unknown(tmp_path: Path) -> None:
    model, data = tongues(tmp_path, floor=0.999), data_sets(tmp_path / "data")
    words = (model, "--data", data, "--out", tmp_path, "--unknown", "noise", "languages:dev", "--draws", 0)
    figures = json.loads(evaluate.run(_command(*words)))
    assert figures["n"] == 9 + 1 + 1
    assert figures["confusion"]["unknown"] == {"unknown": 3}
    assert "interval" not in figures
    assert figures["live"]["noise"]["some_language"] == 0


def test_durations_are_the_first_seconds(tmp_path: Path) -> None:
    model = Model.load(tongues(tmp_path))
    folder = data_sets(tmp_path / "data") / "languages"
    found = [("languages", each) for each in read_manifest(folder) if each.split == "test"]
    judged = list(judge(model, found, 1.0))
    (longest,) = [x for _, x in found if x.fields["language"] == "low" and x.fields["recording"] == "test3"]
    samples = soundfile.read(longest.audio, dtype="float32")[0]
    wanted = score(model, samples[:RATE], RATE)
    np.testing.assert_array_equal(judged[4].scores, wanted)
    assert (judged[4].group, judged[4].folder) == ("test3", "languages")
    np.testing.assert_array_equal(last_posteriors(judged, 1.5)[4], tempered(wanted[-1], 1.5))


def test_codecs_are_what_the_clips_go_through(tmp_path: Path) -> None:
    """As `stapes score` judges the same clips, changed before."""
    path, data = tongues(tmp_path), data_sets(tmp_path / "data")
    words = (path, "--data", data, "--out", tmp_path, "--draws", 0, "--codecs", "mulaw", "mp3")
    figures = json.loads(evaluate.run(_command(*words)))
    model = Model.load(path)
    rows = [each for each in read_manifest(data / "languages") if each.split == "test"]
    for codec in ("mulaw", "mp3"):
        right = same = 0
        for row in rows:
            samples = read_audio(row.audio, RATE)
            before, after = (
                judge_clip(model, samples, RATE),
                judge_clip(model, through_codec(samples, RATE, codec, compression=1.0), RATE),
            )
            known = row.fields["language"] if row.fields["language"] in model.spec.labels else "unknown"
            right += after["label"] == known
            same += after["label"] == before["label"]
        assert figures["by_codec"][codec] == {
            "accuracy": round(right / len(rows), 4),
            "same": round(same / len(rows), 4),
        }


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 7), (95, 100), (211, 211)])
def test_wilson_against_scipy(right: int, n: int) -> None:
    wanted = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((wanted.low, wanted.high), abs=1e-9)
    assert wilson(0, 0) == (0, 1)


def test_bootstrap_of_a_mean_is_its_standard_error() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, 400)
    found = bootstrap(range(400), lambda at: {"mean": float(values[at].mean()), "none": None}, 2000)
    half = 1.96 * values.std() / 20
    assert found.keys() == {"mean"}
    assert found["mean"] == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    # Four copies of each are no more information.
    copies = np.repeat(values, 4)
    groups = np.repeat(np.arange(400), 4).tolist()
    again = bootstrap(groups, lambda at: {"mean": float(copies[at].mean())}, 2000)
    assert again["mean"] == pytest.approx(found["mean"], abs=1e-9)


def test_bootstrap_draws_whole_groups() -> None:
    seen: list[tuple[int, ...]] = []

    def note(at: np.ndarray) -> dict[str, float | None]:
        seen.append(tuple(at.tolist()))
        return {}

    assert bootstrap(["a", "b", "a"], note, 30) == {}
    assert set(seen) == {(0, 2, 0, 2), (0, 2, 1), (1, 0, 2), (1, 1)}
    assert bootstrap([], note, 3) == {}


def test_what_is_announced_as_a_recording_goes_on() -> None:
    """Hops of half a second: sure at 1 s and revised, late at 2.5 s, wrong, silent; and noise."""
    params = DialectParams(floor=0.4, min_speech_ms=1000, decide_ms=2500, turn_hops=1)
    spec = ModelSpec(
        name="tongues",
        task="dialect_id",
        features=FbankSpec(),
        window=WindowSpec(frames=1000, hop=50, mode="segment"),
        labels=("de", "en"),
        params=asdict(params),
    )

    def heard(folder: str, truth: int, *de: float) -> Judged:
        return Judged("", folder, truth, np.array([[p, 1 - p] for p in de], np.float32))

    judged = [
        heard("x", 0, 0.1, 0.95, 0.1, 0.1),
        heard("x", 0, *[0.7] * 6),
        heard("x", 1, 0.8, 0.8),
        heard("x", 0, 0.9),
        heard("noise", -1, 0.6, 0.95),
        heard("noise", -1, 0.6),
    ]
    assert observe(judged, spec) == {
        "known": {
            "n": 4,
            "guessed": 0.75,
            "first_right": 0.5,
            "first_unknown": 0,
            "last_right": 0.25,
            "revised": 0.25,
            "median_seconds": 1.0,
        },
        "noise": {"n": 2, "silent": 0.5, "some_language": 0.5},
    }
