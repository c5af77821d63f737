"""Calibration of a recogniser: hearings replayed, the choice of search and floor, by a tiny model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.__main__ import main
from asr.calibrate import Dev, choose_floor, silenced
from asr.heard import Heard, Stretch, Taped, Written, gather, listen, write, write_above
from asr.hotword_worth import rarest, recall
from asr.tries import (
    Tried,
    attempt,
    attempts,
    beams,
    best,
    choices,
    cost,
    directions_table,
    heads,
    word_errors,
    words_of,
)
from stapes import onnxfile
from stapes.events import TextFinished
from stapes.model import Model
from stapes.samples import Samples
from stapes.scoring import judge
from stapes.stream import Stream
from stapes.tasks.asrparams import AsrParams
from stapes.tasks.ngrams import Ngrams
from tests.tools import tiny_asr, tiny_ngrams
from tests.tools.signals import every, feed_in, high, low, quiet, words
from training.utterances import ManifestError

SOUNDS = {
    "low": np.concatenate([quiet(0.3), low(0.5), quiet(0.3)]),
    "low high": np.concatenate([quiet(0.3), low(0.5), quiet(0.3), high(0.5), quiet(0.3)]),
    "high low high": np.concatenate([high(0.4), quiet(0.3), low(0.5), quiet(0.3), high(0.5)]),
}


def _folder(data: Path, name: str, split: str, sounds: dict[str, Samples], *, text: bool = True) -> None:
    (data / name).mkdir(parents=True)
    lines = []
    for number, (said, samples) in enumerate(sounds.items()):
        soundfile.write(data / name / f"{number}.wav", samples, 16_000, subtype="FLOAT")
        line = {"audio": f"{number}.wav", "split": split} | ({"text": said.upper()} if text else {})
        lines.append(json.dumps(line))
    (data / name / "manifest.jsonl").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    _folder(folder, "speech", "dev", SOUNDS)
    noise = {"hiss": quiet(2), "words": words(), "hum": 0.03 * low(2)}
    _folder(folder, "noise", "train", noise, text=False)
    _folder(folder, "other", "test", {"hiss": quiet(2)}, text=False)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Taped:
    folder = tmp_path_factory.mktemp("asr")
    trained = {"recipe": {"data": {"train": {"speech": {}}}}}
    return Taped.load(tiny_asr.write(folder, replace(tiny_asr.spec(), provenance=trained)))


@pytest.fixture(scope="module")
def clips(data: Path, model: Taped) -> list[Heard]:
    return list(listen(model, gather(data, ["speech"], "dev", model.spec), stream=False))


@pytest.mark.parametrize("search", ["ctc", "rescore", "beam"])
def test_a_clip_is_written_as_it_is_judged(model: Taped, clips: list[Heard], search: str) -> None:
    plain = Model.load(model.path).fork(search=search)
    fork = model.fork(search=search)
    for _ in range(2):
        assert [write(each, fork) for each in clips] == [judge(plain, x)["text"] for x in SOUNDS.values()]


@pytest.mark.parametrize("floor", [0.0, 0.5, 0.9, 0.97, 1.0])
def test_a_stream_is_written_as_it_is_heard(data: Path, model: Taped, floor: float) -> None:
    heard = list(listen(model, gather(data, ["noise"], "train", model.spec), stream=True))
    assert [each.text for each in heard] == ["", "", ""]
    assert [len(each.stretches) for each in heard][:2] == [0, 3]
    fork = model.fork(search="rescore")
    stream = Stream(Model.load(model.path).fork(search="rescore", floor=floor))
    told = [e.text for e in feed_in(stream, words(), every(1600)) if isinstance(e, TextFinished)]
    assert write_above(heard[1], write(heard[1], fork), fork, floor) == " ".join(told)


def test_a_clip_that_is_cut_has_a_floor_for_each_part(model: Taped) -> None:
    """60 steps of at most 50: sure, then a pause, then unsure."""
    symbols = np.array([5, 0] * 10 + [0] * 10 + [6, 0] * 15)
    rows = np.full((60, len(tiny_asr.LABELS)), 0.01, np.float32)
    rows[np.arange(60), symbols] = np.where(np.arange(60) < 25, 0.9, 0.6)
    heard = Heard("a", "", (Stretch(rows, None),), 1.0, 0.0)
    text = write(heard, model)
    assert text == " ".join(["low"] * 10 + ["high"] * 15)
    assert write_above(heard, text, model, 0.7) == " ".join(["low"] * 10)


def test_what_was_trained_on_is_refused(data: Path, model: Taped) -> None:
    with pytest.raises(ManifestError, match="trained on the split 'train' of speech"):
        gather(data, ["speech:train"], "dev", model.spec)
    with pytest.raises(ManifestError, match="trained on the split 'train' of"):
        gather(data / "elsewhere", [f"{data}/speech:train"], "dev", model.spec)
    with pytest.raises(ManifestError, match="no recording of split 'test'"):
        gather(data, ["speech"], "test", model.spec)
    assert len(gather(data, ["speech"], "dev", model.spec, 2)) == 2


def test_every_way_is_tried(model: Taped, clips: list[Heard]) -> None:
    tried = attempts(model, clips)
    assert len(tried) == 2 * (1 + 3 * 5) + 3 * 3
    assert len({json.dumps(one.params, sort_keys=True) for one in tried}) == len(tried)
    for one in tried:
        results = [judge(Model.load(model.path).fork(**one.params), x) for x in SOUNDS.values()]
        assert list(one.texts) == [result["text"] for result in results]
    chosen = best(tried)
    assert chosen.params == {"search": "ctc", "prefixes": 8}  # the tiny model's CTC errs nowhere
    assert (chosen.wer(), chosen.wer("speech"), sum(chosen.words)) == (0, 0, 6)
    beam = next(one for one in tried if one.params["search"] == "beam")
    assert beam.wer() == pytest.approx(3 / 6)  # "low" each time
    assert "| beam 2 | 50.00 | 50.00 | 50.00 |" in directions_table(tried)


def test_a_language_model_is_weighed(model: Taped, clips: list[Heard]) -> None:
    """Every n-gram is as likely as any other: it changes nothing, and the first weights tried remain."""
    flat = tiny_ngrams.write({(s,): (-2.0, 0.0) for s in range(len(tiny_asr.LABELS))}, tiny_asr.LABELS)
    fork = model.fork()
    fork.language = Ngrams(flat, tiny_asr.LABELS)
    tried = attempts(fork, clips)
    weighed = [one for one in tried if one.params.get("lm_weight")]
    assert {(one.params["lm_weight"], one.params["lm_bonus"]) for one in weighed} >= {(0.4, 1.5), (0.5, 2.0)}
    for one in weighed[::13]:
        fresh = fork.fork(**one.params)
        assert list(one.texts) == [write(each, fresh) for each in clips]
    told = heads(tried)
    assert {one.params["prefixes"] for one in told if one.params.get("lm_weight")} == {64, 128}
    assert len(told) == 2 * 2 + 2 * len(weighed) // 16 + 3 * 3
    assert best(told) is best(tried)


def test_ways_of_less() -> None:
    own = AsrParams(step_frames=8)
    assert {way["search"] for way in choices(own, second=False)} == {"ctc"}
    forwards = replace(own, directions="l2r")
    assert {way.get("backwards", 0) for way in choices(forwards, second=True)} == {0}
    assert {way["directions"] for way in beams(forwards)} == {"l2r"}


def _heard(symbol: int, sure: float, text: str) -> Heard:
    """Three steps, the middle one of a symbol."""
    rows = np.full((3, len(tiny_asr.LABELS)), (1 - sure) / 8, np.float32)
    rows[:, 0] = 1.0
    rows[1, 0], rows[1, symbol] = (1 - sure) / 8, sure
    return Heard("dev" if text else "noise", text, (Stretch(rows, None),), 1.0, 0.01)


@pytest.mark.parametrize(
    ("silence", "cost", "wanted"),
    [
        (1.0, 0.1, (0.71, True, 1)),  # all noise, of 0.3 to 0.7, is below; so is one clip of ten, of 0.5
        (0.5, 0.1, (0.41, True, 0)),  # noise of 0.5 and more may pass: of four clips two
        (1.0, 0.0, (0.5, False, 0)),  # the highest floor that a clip of 0.5 reaches
        (0.0, 0.0, (0.0, True, 0)),
    ],
)
def test_the_floor(model: Taped, silence: float, cost: float, wanted: tuple[float, bool, int]) -> None:
    sureness = [0.505, *[0.905] * 9]
    heard = [_heard(5, sure, "low") for sure in sureness]
    noise = Written.by(model, [_heard(6, sure, "") for sure in (0.305, 0.405, 0.605, 0.705)])
    tried = attempt(model, heard, {"search": "ctc"})
    assert tried.errors == (0,) * 10
    assert tried.rtf >= 0.01
    floor = choose_floor(model, Dev.of(heard, tried), noise, silence, cost)
    assert (floor.floor, floor.enough, floor.added) == wanted
    left = sum(sure >= floor.floor for sure in (0.305, 0.405, 0.605, 0.705))
    assert silenced(model, noise, floor.floor) == {
        "noise": {"clips": 4, "no_speech": 0, "text_before": 4, "text": left}
    }


def test_errors_that_a_floor_takes_away_do_not_pay_for_others(model: Taped) -> None:
    """One clip loses its right word, another a word that nobody said."""
    heard = [_heard(5, 0.505, "low"), replace(_heard(5, 0.505, ""), folder="dev")]
    tried = attempt(model, heard, {"search": "ctc"})
    dev = Dev.of(heard, tried)
    assert tried.errors == (0, 1)
    assert (dev.cost(model, 0.4), dev.cost(model, 0.6)) == (0, 1)


def test_of_equally_good_ways_the_first_is_taken() -> None:
    def one(name: str, *errors: int) -> Tried:
        return Tried({"search": name}, ("", ""), errors, (4, 1), ("a", "b"), 0.1)

    tried = [one("ctc", 2, 0), one("rescore", 0, 1), one("beam", 1, 0)]
    assert best(tried) is tried[1]
    assert (tried[0].wer("a"), tried[0].wer("b"), tried[0].wer()) == (0.5, 0.0, 0.4)
    assert best(tried, even=True) is tried[2]
    assert [cost(each, even=True) for each in tried] == [0.25, 0.5, 0.125]


def test_hotwords_are_the_rarest_words() -> None:
    texts = ["The cats sat; the CATS ran", "a house on top, over there"]
    assert set(rarest(texts, 3)) == {"house", "over", "there"}
    assert set(rarest(texts, 9)) == {"house", "over", "there", "cats"}
    heard = [Heard("a", text, (), 1.0, 0.0) for text in texts]
    counts = recall(("house", "cats"), heard, ["cats house sat", "House"])
    assert counts == {"said": 3, "found": 2, "false": 1}


def test_the_command(data: Path, model: Taped, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, report = tmp_path / "out.onnx", tmp_path / "new" / "report.json"
    arguments = ["calibrate", str(model.path), str(out), "--data", str(data), "--dev", "speech"]
    arguments += ["--test-noise", "other", "--hotwords", "1", "--report", str(report)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "| ctc | prefixes 8 | 0.00 | 0.00 |" in said
    figures = json.loads(report.read_text())
    assert (figures["hotwords"]["words"], figures["hotwords"]["with"]["said"]) == (["high"], 3)
    spec = onnxfile.read_spec(out)
    assert AsrParams.of(spec).search == "ctc"
    assert spec.params["floor"] == figures["floor"]["floor"]
    assert spec.provenance["calibration"]["noise"] == figures["noise"]
    # The noise holds a whole sentence, of which the model is as sure as of speech.
    assert not figures["floor"]["enough"]
    assert "does not silence 99 %" in said
    assert figures["test_noise"] == {"other": {"clips": 1, "no_speech": 1, "text_before": 0, "text": 0}}
    flat = tiny_ngrams.write({(s,): (-2.0, 0.0) for s in range(len(tiny_asr.LABELS))}, tiny_asr.LABELS)
    (tmp_path / "asr.lm").write_bytes(flat)
    assert main([*arguments, "--language-model", str(tmp_path / "asr.lm"), "--even"]) == 0
    assert "lm_weight 0.4, lm_bonus 1.5" in capsys.readouterr().out
    assert onnxfile.language_model(out.read_bytes()) == flat
    assert main([*arguments[:-6], "--dev", "speech:train"]) == 1
    assert "was trained on" in capsys.readouterr().err


def test_errors_are_counted_in_words_and_ideographs() -> None:
    assert words_of("It's 你好, world") == ["it's", "你", "好", "world"]
    assert word_errors("今天天气好", "今天气很好") == 2
    assert word_errors("two words", "too words") == 1
