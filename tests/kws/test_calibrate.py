"""Thresholds from peaks, against a search through all of them; what is reported, against a stream."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import stapes
from kws.__main__ import main
from kws.calibrate import allot, share_found
from kws.clips import DataError
from kws.det import curve
from kws.features import is_reserved
from kws.negatives import negatives
from kws.noise import held_noise
from kws.peaks import Listening, Peaks, Tapped, smoothed, stretches
from stapes.events import Event, KeywordSpotted
from stapes.samples import Samples
from stapes.tasks.kws import KeywordDecoder
from tests.tools import tiny_onnx

RATE = 16_000
peaks_of = st.lists(st.integers(300, 1000).map(lambda n: n / 1000), max_size=5)


def made(false: list[list[float]], true: list[list[float]], hours: float) -> Peaks:
    names = ["yes", "no", "up"][: len(false)]
    return Peaks(
        {n: np.sort(np.array(f, np.float32))[::-1] for n, f in zip(names, false, strict=True)},
        hours,
        {n: np.array(t, np.float32) for n, t in zip(names, true, strict=True)},
    )


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(peaks_of, peaks_of), min_size=1, max_size=3), st.integers(0, 4))
def test_threshold_is_the_lowest_that_keeps_the_budget(
    parts: list[tuple[list[float], list[float]]], budget: int
) -> None:
    peaks = made([f for f, _ in parts], [t for _, t in parts], hours=1.0)
    pooled = np.concatenate(list(peaks.false.values()))
    chosen = allot(peaks, budget)
    if chosen is None:
        assert (pooled >= 1.0).sum() > budget
        return
    assert chosen.keys() == peaks.false.keys()
    (threshold,) = set(chosen.values())
    assert (pooled >= threshold).sum() <= budget
    # Anything lower than the margin, and not below the least, would let one more through.
    assert threshold == 0.5 or (pooled >= threshold - 0.0016).sum() > budget


def test_a_peak_that_no_threshold_passes_over_counts() -> None:
    peaks = made([[1.0, 0.999, 0.6], [0.2]], [[0.7], [0.1]], hours=1.0)
    assert allot(peaks, 0) is None
    assert allot(peaks, 1) == {"yes": 1.0, "no": 1.0}
    assert allot(peaks, 2) == {"yes": 0.601, "no": 0.601}


def test_the_share_found_is_of_all_clips() -> None:
    peaks = made([[0.9, 0.7], [0.6]], [[0.95, 0.8, 0.0], [0.71]], hours=2.0)
    assert share_found(peaks, 0.0) == 0.25  # 0.901 is passed by 0.95 alone
    assert share_found(peaks, 0.5) == 0.75  # one in two hours: 0.701
    assert share_found(made([[1.0]], [[1.0]], hours=1.0), 0.0) == 0.0  # no threshold passes over 1.0


def test_stretches_are_counted_once() -> None:
    scores = np.array([0.1, 0.4, 0.9, 0.5, 0.2, 0.35, 0.1, 0.8], np.float32)
    assert stretches(scores) == pytest.approx([0.9, 0.35, 0.8])
    assert stretches(np.zeros(3, np.float32)) == []


@given(st.integers(0, 30), st.integers(1, 5))
@settings(deadline=None)
def test_smoothing_is_the_decoders_mean(steps: int, hops: int) -> None:
    rng = np.random.default_rng(steps)
    scores = rng.random((steps, 3)).astype(np.float32)
    padded = np.concatenate((np.zeros((hops - 1, 3), np.float32), scores))
    wanted = [padded[i : i + hops].mean(0) for i in range(steps)]
    np.testing.assert_allclose(smoothed(scores, hops), np.array(wanted).reshape(steps, 3), atol=1e-6)


def test_curve_falls_and_rises() -> None:
    peaks = made([[0.4, 0.7, 0.95]], [[0.5, 0.99, 0.8, 0.2]], hours=2.0)
    rate, missed = curve(peaks)
    assert rate[0] == 1.5
    assert rate[-1] == 0
    assert missed[0] == 0.25
    assert (np.diff(rate) <= 0).all()
    assert (np.diff(missed) >= 0).all()


def tone(low: bool, seconds: float) -> Samples:
    """What the tiny model takes for "no" (low) or "go"."""
    rng = np.random.default_rng(round(seconds * 1000))
    spectrum = np.fft.rfft(rng.standard_normal(round(seconds * RATE)))
    at = np.fft.rfftfreq(round(seconds * RATE), 1 / RATE)
    spectrum[at > 900 if low else at < 3000] = 0
    sound = np.fft.irfft(spectrum, round(seconds * RATE))
    return (0.2 * sound / np.abs(sound).max()).astype(np.float32)


def quiet(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.float32)


def model_file(folder: Path, mode: str = "stateful", trained: dict[str, object] | None = None) -> Path:
    of = replace(
        tiny_onnx.spec(mode),  # type: ignore[arg-type]
        labels=("_silence_", "_unknown_", "no", "go"),
        params=tiny_onnx.PARAMS | {"thresholds": {"no": 0.6, "go": 0.6}},
        provenance={"recipe": {"data": trained or {}}},
    )
    return tiny_onnx.write(folder, of)


def folder_of(path: Path, rows: list[dict[str, object]], sounds: list[Samples]) -> None:
    path.mkdir(parents=True)
    with (path / "manifest.jsonl").open("w") as manifest:
        for i, (row, sound) in enumerate(zip(rows, sounds, strict=True)):
            soundfile.write(path / f"{i}.wav", sound, RATE, subtype="FLOAT")
            print(json.dumps({"audio": f"{i}.wav", "duration": len(sound) / RATE} | row), file=manifest)


@pytest.mark.parametrize("mode", ["stateful", "sliding"])
def test_peaks_are_taken_of_what_the_decoder_hears(tmp_path: Path, mode: str) -> None:
    model = Tapped.load(model_file(tmp_path, mode))
    listening = Listening(model)
    for sound in (tone(True, 0.7), np.concatenate((quiet(0.33), tone(False, 1.21), quiet(0.5)))):
        decoder, again = KeywordDecoder(model.spec), list[Event]()
        scores = listening.scores(sound)
        for i, row in enumerate(scores):
            again += decoder.push(row[None], (i + 1) * 1600)
        events = [event for event in listening.events(sound) if isinstance(event, KeywordSpotted)]
        assert events
        spotted = [event for event in again if isinstance(event, KeywordSpotted)]
        assert [(e.label, e.score) for e in spotted] == [(e.label, e.score) for e in events]
        peak = smoothed(scores, 2)[:, model.spec.labels.index(events[0].label)].max()
        assert peak >= events[0].score - 1e-4


def test_what_is_reported_is_what_the_written_model_announces(tmp_path: Path) -> None:
    data = tmp_path / "data"
    words = [("no", True, 0.9), ("no", True, 0.39), ("go", False, 0.8), ("go", True, 0.7), ("no", True, 0.05)]
    rows = [{"label": w, "split": split, "speaker": "x"} for split in ("dev", "test") for w, *_ in words]
    folder_of(data / "speech_commands", rows, [tone(low, s) for _ in range(2) for _, low, s in words])
    # Thirteen sounds like "no", ever shorter and less sure; the text of the first says so.
    sounds = [np.concatenate((quiet(1), tone(True, 0.5 - i / 32), quiet(20))) for i in range(13)]
    chat: list[dict[str, object]] = [
        {"split": "train", "text": "Oh NO!" if i == 0 else "oh"} for i in range(13)
    ]
    folder_of(data / "chat", chat, sounds)
    out = tmp_path / "out.onnx"
    command = ["calibrate", str(model_file(tmp_path)), str(out), "--data", str(data), "--rate", "40"]
    assert (
        main(
            [
                *command,
                "--noise",
                "--negatives",
                "chat",
                "--test-negatives",
                "chat",
                "--report",
                str(tmp_path),
            ]
        )
        == 0
    )

    figures = json.loads((tmp_path / "calibration.json").read_text())
    stream = stapes.load(str(out))
    assert dict(stream.models[0].spec.params["thresholds"]) == figures["thresholds"]
    assert stream.models[0].spec.provenance["calibration"] == figures
    assert "test" not in figures  # the folder has no test part
    assert (tmp_path / "det.png").stat().st_size > 1000

    def labels(sound: Samples) -> list[str]:
        stream.reset()
        return [e.label for e in (*stream.feed(sound), *stream.close()) if isinstance(e, KeywordSpotted)]

    false = sum(len([w for w in labels(sound) if i or w != "no"]) for i, sound in enumerate(sounds))
    found = sum(w in labels(np.concatenate((quiet(1.5), tone(low, s), quiet(1.5)))) for w, low, s in words)
    hours = sum(map(len, sounds)) / RATE / 3600
    point = figures["calibration"]
    assert 0 < false <= int(40 * hours) == 3
    assert (point["false_accepts"], point["recall"]) == (false, found / 5)
    assert point["hours_by_folder"] == {"chat": pytest.approx(hours, abs=1e-3)}
    assert point["mistaken_by_keyword"] == {"no": 1}
    assert point["recall_by_keyword"]["go"] == 0.5


def test_of_several_means_the_one_that_finds_most_is_taken(tmp_path: Path) -> None:
    data = tmp_path / "data"
    words = [{"label": "no", "split": "dev"}] * 2
    folder_of(data / "speech_commands", words, [tone(True, 0.9), tone(True, 0.5)])
    folder_of(data / "chat", [{"split": "train"}], [tone(True, 0.3)])
    model, out = model_file(tmp_path), tmp_path / "out.onnx"
    command = ["calibrate", str(model), str(out), "--data", str(data), "--negatives", "chat", "--noise"]
    # A mean over 6 s finds nothing in a second of sound; one decision is fired by the chat, too.
    assert main([*command, "--test-negatives", "--smooth-hops", "60", "4", "1"]) == 0
    params = stapes.load(str(out)).models[0].spec.params
    figures = json.loads((tmp_path / "calibration.json").read_text())["smooth_hops"]
    found = figures["found_by_hops"]
    assert found["60"] == 0 < found["4"]
    assert params["smooth_hops"] == figures["taken"] == max((1, 4), key=lambda n: found[str(n)])
    with pytest.raises(SystemExit):
        main([*command, "--smooth-hops", "0"])


def test_without_thresholds_that_keep_to_the_rate_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    folder_of(data / "speech_commands", [{"label": "no", "split": "dev"}], [tone(True, 0.9)])
    folder_of(data / "chat", [{"split": "train"}], [tone(True, 2.0)])
    monkeypatch.setattr("kws.calibrate.MARGIN", -0.2)  # thresholds below what they are to pass over
    out = tmp_path / "out.onnx"
    command = ["calibrate", str(model_file(tmp_path)), str(out), "--data", str(data), "--negatives", "chat"]
    assert main([*command, "--noise", "--test-negatives"]) == 1
    assert "no thresholds keep to 0.5 false accepts an hour" in capsys.readouterr().err
    assert not out.exists()


def test_nothing_that_was_trained_on_is_heard(tmp_path: Path) -> None:
    rows = [{"split": "train", "speaker": f"s{i}", "text": "a right answer"} for i in range(20)]
    rows += [{"split": split, "speaker": f"s{i}"} for split in ("dev", "test") for i in range(2)]
    for name in ("talk", "hiss", "words", "other"):
        folder_of(tmp_path / name, rows, [quiet(0.01)] * len(rows))
    trained = {"main": "words", "extra": (), "running": ("talk",), "noise": ("hiss",)}

    def heard(name: str, split: str) -> list[str]:
        clips = [clip for clip, _ in negatives(tmp_path, [name], split, trained)]
        assert not any(clip.split == "train" and not is_reserved(clip) for clip in clips if name == "talk")
        return [clip.split for clip in clips]

    assert 0 < heard("talk", "train").count("train") < 20
    assert heard("hiss", "train") == heard("words", "train") == ["dev", "dev"]
    assert heard("other", "train") == ["train"] * 20 + ["dev"] * 2
    assert heard("talk", "test") == heard("hiss", "test") == ["test"] * 2
    said = {clip.split: said for clip, said in negatives(tmp_path, ["other"], "train", trained)}
    assert said == {"train": {"right"}, "dev": set()}
    with pytest.raises(DataError, match=r"absent holds no manifest\.jsonl"):
        list(negatives(tmp_path, ["absent"], "train", trained))


def test_folders_that_lay_elsewhere_are_known_by_their_names(tmp_path: Path) -> None:
    data, rows = tmp_path / "data", [{"split": "train", "speaker": f"s{i}", "label": "a"} for i in range(20)]
    data.mkdir()
    for name in ("talk", "hiss"):
        folder_of(tmp_path / name, rows, [quiet(0.01)] * len(rows))
    trained = {"main": "words", "running": ("talk",), "noise": ("hiss",)}
    clips = [clip for clip, _ in negatives(data, ["../talk"], "train", trained)]
    assert 0 < len(clips) < 20
    assert all(map(is_reserved, clips))
    assert list(negatives(data, [str(tmp_path / "hiss")], "train", trained)) == []
    assert held_noise(data, [str(tmp_path / "hiss")], "train", trained) == []
    assert len(held_noise(data, [str(tmp_path / "hiss")], "train", {"main": "words"})) == 20


def test_whose_words_were_cut_is_not_heard(tmp_path: Path) -> None:
    rows = [{"split": split, "speaker": f"s{i}"} for split in ("train", "test") for i in range(4)]
    folder_of(tmp_path / "talk", rows, [quiet(0.01)] * len(rows))
    cut = [{"split": "train", "label": "no", "speaker": "s1", "from": "1.wav"}]
    whole = [{"split": "train", "label": "no", "speaker": "s2"}]
    folder_of(tmp_path / "cut", [*cut, *whole], [quiet(1), quiet(1)])
    trained = {"main": "words", "extra": ("cut", "gone")}
    for split, speakers in (("train", ["s0", "s2", "s3"]), ("test", ["s0", "s1", "s2", "s3"])):
        clips = [clip for clip, _ in negatives(tmp_path, ["talk"], split, trained)]
        assert [clip.speaker for clip in clips] == speakers


def test_a_model_that_hides_its_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = replace(tiny_onnx.spec("stateful"), provenance={})
    path = tiny_onnx.write(tmp_path, bare)
    assert main(["calibrate", str(path), str(tmp_path / "out.onnx"), "--data", str(tmp_path)]) == 1
    assert "does not say what it was trained on" in capsys.readouterr().err
