"""Hard negatives: where they are cut, and whose speech is never heard."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from kws.__main__ import main
from kws.clips import gather
from kws.features import is_reserved
from kws.mine import second_before, summits
from tests.kws.test_calibrate import RATE, folder_of, model_file, quiet, tone


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1, width=32), max_size=30), st.floats(0.01, 1))
def test_summits_are_the_highest_of_each_stretch(values: list[float], least: float) -> None:
    scores = np.array(values, np.float32)
    wanted, best = [], None
    for at, value in enumerate([*scores, np.float32(-1)]):
        if value >= least:
            best = at if best is None or value > scores[best] else best
        elif best is not None:
            wanted.append(best)
            best = None
    assert summits(scores, least) == wanted


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 60), st.integers(0, 90))
def test_second_before_is_a_second(size: int, end: int) -> None:
    samples = np.arange(1, size + 1, dtype=np.float32)
    wanted = [float(at + 1) if 0 <= at < size else 0.0 for at in range(end - 20, end)]
    np.testing.assert_array_equal(second_before(samples, end, 20), wanted)


def test_near_misses_become_a_folder_that_training_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["oh", "I know", "oh no", None, "well"] * 6
    rows: list[dict[str, object]] = [
        {"split": "train", "speaker": f"s{i}", "language": "xx"} | ({"text": text} if text else {})
        for i, text in enumerate(texts)
    ]
    # All sound like "no"; what is said lies two seconds into the recording.
    sounds = [np.concatenate((quiet(2), tone(True, 0.8), quiet(0.5))) for _ in rows]
    folder_of(tmp_path / "talk", rows, sounds)
    folder_of(tmp_path / "words", [{"split": "train", "label": "no", "speaker": "x"}], [tone(True, 0.8)])
    model = model_file(tmp_path, trained={"main": "words", "running": ["talk"]})
    out = tmp_path / "hard"
    command = ["mine", str(model), str(out), "--data", str(tmp_path)]
    assert main(command) == 0
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    mined = {row["from"] for row in lines}
    # Neither the speakers of calibration, nor what sounds like the keyword or holds it, nor the unknown.
    speakers = {clip.speaker for clip in gather(out) if is_reserved(clip)}
    assert mined
    assert not speakers
    for row in lines:
        assert texts[int(row["from"].removesuffix(".wav"))] in ("oh", "well")
        assert (row["label"], row["near"], row["split"]) == ("_unknown_", "no", "train")
        samples, rate = soundfile.read(out / row["audio"])
        assert (len(samples), rate) == (RATE, RATE)
        assert np.abs(samples).max() > 0.1
    peaks = [row["peak"] for row in lines]
    assert peaks == sorted(peaks, reverse=True)
    # Training takes all of them, and one run may not write into another's folder.
    assert len(gather(tmp_path / "words", [out])) == 1 + len(lines)
    capsys.readouterr()
    assert main(command) == 1
    assert "hard is not empty" in capsys.readouterr().err
    assert main([*command[:2], str(tmp_path / "few"), *command[3:], "--most", "1"]) == 0
    assert "1 clips" in capsys.readouterr().out
    # Of two runs, training takes all that differ and none twice.
    few = gather(tmp_path / "few")
    assert len(gather(tmp_path / "words", [tmp_path / "few", out])) == 1 + len(lines)
    other = tmp_path / "other"
    folder_of(other / "talk", [row | {"speaker": f"t{i}"} for i, row in enumerate(rows)], sounds)
    for audio in (other / "talk").glob("*.wav"):
        audio.rename(audio.with_name(f"other{audio.name}"))
    text = (other / "talk/manifest.jsonl").read_text().replace('"audio": "', '"audio": "other')
    (other / "talk/manifest.jsonl").write_text(text)
    folder_of(other / "words", [{"split": "train", "label": "no", "speaker": "x"}], [tone(True, 0.8)])
    assert main([*command[:2], str(other / "hard"), "--data", str(other)]) == 0
    assert len(gather(other / "hard")) > 0
    both = gather(tmp_path / "words", [tmp_path / "few", other / "hard"])
    assert len(both) == 1 + len(few) + len(gather(other / "hard"))
