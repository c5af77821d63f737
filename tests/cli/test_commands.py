"""The commands as a user types them, each in a process of its own."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stapes
from stapes.tasks.dialect_id import DialectParams
from tests.cli.conftest import Cli
from tests.cli.sounds import LABELS, sound, write_samples, write_wav
from tests.tools import needs
from tests.tools.riff import chunk, fmt, riff
from tests.tools.tiny_onnx import spec, write


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def fails(done: subprocess.CompletedProcess[str], words: str, status: int = 1) -> None:
    """One plain sentence."""
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr.startswith("stapes: " if status == 1 else "usage: stapes"), done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_version(cli: Cli) -> None:
    done = cli("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"stapes {version('stapes')}\n", "")


def test_run_gives_the_events_of_the_stream(cli: Cli, both: tuple[Path, Path], wav: Path) -> None:
    done = cli("run", wav, "--models", ",".join(map(str, both)), "--json")
    assert done.returncode == 0, done.stderr
    stream = stapes.load(*both)
    expected = stream.feed(sound(16_000).astype(np.float32) / np.float32(32768)) + stream.close()
    assert rows(done.stdout) == [json.loads(e.to_json()) | {"file": str(wav)} for e in expected]
    assert [e.label for e in expected if isinstance(e, stapes.KeywordSpotted) and e.model == "other"] == list(
        LABELS
    )


def test_run_for_people(cli: Cli, model: Path, wav: Path) -> None:
    done = cli("run", wav, wav, "--models", model)
    lines = done.stdout.splitlines()
    assert lines[0] == lines[3] == f"{wav}:"
    assert "KeywordSpotted low" in lines[1]
    assert "KeywordSpotted high" in lines[2]


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_run_of_a_pipe(cli: Cli, model: Path, tmp_path: Path, rate: int) -> None:
    whole = cli("run", write_wav(tmp_path / "x.wav", rate), "--models", model, "--json")
    raw = sound(rate).tobytes() + b"\x01"  # half a sample more
    piped = cli("run", "-", "--rate", rate, "--models", model, "--json", input=raw, text=False)
    assert piped.returncode == 0, piped.stderr
    expected = [row | {"file": "-"} for row in rows(whole.stdout)]
    assert expected
    assert rows(piped.stdout.decode()) == expected


def test_events_of_a_pipe_come_at_once(model: Path) -> None:
    command = [sys.executable, "-m", "stapes.cli", "run", "-", "--models", str(model), "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(sound(16_000).tobytes())
        process.stdin.flush()
        first = json.loads(process.stdout.readline())  # stdin is still open
        process.stdin.close()
        assert first["label"] == LABELS[0]


def test_run_draws(cli: Cli, both: tuple[Path, Path], wav: Path, tmp_path: Path) -> None:
    needs.package("matplotlib", "draw")
    picture = tmp_path / "out.png"
    done = cli("run", wav, "--models", ",".join(map(str, both)), "--json", "--plot", picture)
    plain = cli("run", wav, "--models", ",".join(map(str, both)), "--json")
    assert done.stdout == plain.stdout != ""
    assert picture.read_bytes()[:4] == b"\x89PNG"
    fails(cli("run", wav, wav, "--plot", picture), "--plot draws one FILE", 2)
    fails(cli("run", wav, "--models", both[0], "--plot", tmp_path / "no" / "x.png"), "there is no folder")
    fails(cli("run", wav, "--models", both[0], "--plot", tmp_path), "is a folder, not a picture")
    fails(cli("run", wav, "--models", both[0], "--plot", "x.txt"), "must end in one of .png, .svg, .pdf")


def test_one_bad_file_does_not_stop_the_others(cli: Cli, model: Path, wav: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("not sound at all")
    done = cli("run", "missing.wav", text, wav, "--models", model, "--json")
    assert [row["label"] for row in rows(done.stdout)] == list(LABELS)
    fails(done, "missing.wav: No such file or directory")
    assert "text.wav is no WAV file" in done.stderr
    fails(cli("score", model, "missing.wav"), "missing.wav: No such file")


def test_errors_name_the_file(cli: Cli, model: Path, tmp_path: Path) -> None:
    """Whatever is wrong: with several files one has to know which."""
    sounds = {"rate": np.zeros(100, np.int16), "nan": np.full(100, np.nan), "loud": np.full(100, 6_000.0)}
    for name, samples in sounds.items():
        path = tmp_path / f"{name}.wav"
        if name == "rate":
            write_samples(path, samples.astype(np.int16), 16_001)
        else:
            path.write_bytes(riff(fmt(3, bits=32), chunk(b"data", samples.astype("<f4").tobytes())))
        if name != "nan":
            fails(cli("run", path, "--models", model), f"{path}: ")
        fails(cli("score", model, path), f"{path}: ")


def test_closed_standard_streams(cli: Cli, model: Path, wav: Path) -> None:
    """A daemon has none of them: no traceback."""

    def closing(which: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stapes.cli", *map(str, arguments)]
        return subprocess.run(
            ["sh", "-c", f'exec "$@" {which}&-', "sh", *command], capture_output=True, text=True, check=False
        )

    fails(closing("<", "run", "-", "--models", model), "standard input is closed")
    assert closing(">", "run", wav, "--models", model, "--json").returncode == 0
    assert closing("2>", "run", "missing.wav", "--models", model).returncode == 1
    fails(cli("run", "-", "-", "--models", model, input=""), "- can be named once", 2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(model: Path, wav: Path) -> None:
    command = [sys.executable, "-m", "stapes.cli", "run", str(wav), "--models", str(model), "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No space left" in done.stderr


def test_run_of_a_wav_file_on_a_pipe(model: Path, wav: Path) -> None:
    command = f"cat {wav} | {sys.executable} -m stapes.cli run /dev/stdin --models {model} --json"
    piped = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert [row["label"] for row in rows(piped.stdout)] == list(LABELS), piped.stderr


def test_plot_without_matplotlib(model: Path, wav: Path, tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["matplotlib"] = sys.modules["matplotlib.figure"] = None
from stapes.cli import main
sys.exit(main(["run", {str(wav)!r}, "--models", {str(model)!r}, "--plot", {str(tmp_path / "x.png")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    fails(done, "pip install 'stapes[plot]'")
    assert done.stdout == ""


def test_strange_names(cli: Cli, model: Path, wav: Path, tmp_path: Path) -> None:
    """Output is UTF-8 in any locale, and JSON even for a name that is not."""
    for name in ("naïve 漢.wav", os.fsdecode(b"not utf-8 \xff.wav")):
        path = tmp_path / name
        path.write_bytes(wav.read_bytes())
        done = cli("run", path, "--models", model, "--json", text=False, env=os.environ | {"LC_ALL": "C"})
        assert {row["file"] for row in rows(done.stdout.decode())} == {str(path)}


def test_errors_of_models(cli: Cli, model: Path, wav: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    raw = bytearray(model.read_bytes())
    raw[len(raw) // 2] ^= 1
    broken.write_bytes(raw)
    fails(cli("run", wav, "--models", broken), "broken.onnx")
    fails(cli("info", "no-such-model"), "no bundled model 'no-such-model'")
    fails(cli("bench", "missing.onnx"), "missing.onnx")
    fails(cli("run", wav, "--models", ","), "name at least one model", 2)
    fails(cli("dance"), "invalid choice: 'dance'", 2)


def test_closed_stdout_is_quiet(model: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.pcm"
    long.write_bytes(sound(16_000).tobytes() * 50)
    stapes_run = f"{sys.executable} -m stapes.cli run - --models {model} --json < {long}"
    done = subprocess.run(
        ["bash", "-c", f"{stapes_run} | head -n 1"], capture_output=True, text=True, check=False
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_interrupt_is_quiet(model: Path) -> None:
    command = [sys.executable, "-m", "stapes.cli", "run", "-", "--models", str(model), "--json"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(sound(16_000).tobytes())
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == b""


def test_score_of_files(cli: Cli, model: Path, wav: Path) -> None:
    (row,) = rows(cli("score", model, wav, "--json").stdout)
    loaded = stapes.Model.load(model)
    scores = stapes.score(loaded, sound(16_000).astype(np.float32) / np.float32(32768))
    assert row == {"file": str(wav)} | stapes.tasks.TASKS["kws"].clip(scores, loaded.spec)


def test_score_of_an_empty_manifest(cli: Cli, model: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n")
    fails(cli("score", model, "--manifest", manifest), f"{manifest} names no clips")


def test_what_would_be_ignored_or_told_twice_is_refused(cli: Cli, model: Path, tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "x.wav", 16_000)
    for arguments, words in (
        (("--models", model, "--rate", 8000), "files tell their own"),
        (("-", "--models", model, "--rate", 0), "--rate must be over 0 Hz, got 0"),
    ):
        done = cli("run", wav, *arguments)
        assert done.returncode == 2
        assert words in done.stderr
    for command in (("run", wav, "--models", f"{model},{model}"), ("listen", model, model)):
        done = cli(*command)
        assert done.returncode == 1
        assert "is named twice" in done.stderr


def test_a_manifest_of_which_nothing_can_be_read(cli: Cli, model: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(json.dumps({"audio": "gone.wav", "label": "low"}) + "\n")
    done = cli("score", model, "--manifest", manifest)
    assert done.returncode == 1
    assert "gone.wav" in done.stderr
    assert "n 0  accuracy -  " in done.stdout
    assert "None" not in done.stdout


def test_score_of_a_manifest(cli: Cli, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "clips").mkdir(parents=True)
    whole = sound(16_000)
    clips = {"low": whole[4_800:12_800], "high": whole[22_400:30_400], "quiet": whole[:3_000]}
    for name, clip in clips.items():
        write_samples(folder / "clips" / f"{name}.wav", clip, 16_000)
    wrong = "zebra"  # no keyword of the model: counts as _unknown_
    truths = [("low", "low"), ("high", "high"), ("quiet", "_silence_"), ("high", wrong), ("low", "low")]
    lines = [
        json.dumps({"audio": f"clips/{clip}.wav", "label": label, "speaker": "x"}) for clip, label in truths
    ]
    manifest = folder / "manifest.jsonl"
    manifest.write_text("\n".join(lines) + "\n\n")
    done = cli("score", model, "--manifest", manifest, "--json")
    assert done.returncode == 0, done.stderr
    *found, last = rows(done.stdout)
    assert [row["label"] for row in found] == [clip if clip != "quiet" else "_silence_" for clip, _ in truths]
    assert [row["file"] for row in found] == [str(folder / "clips" / f"{clip}.wav") for clip, _ in truths]
    assert [row["truth"] for row in found] == [label for _, label in truths]
    summary = last["summary"]
    assert (summary["task"], summary["model"], summary["n"]) == ("kws", "tiny-stateful", 5)
    assert summary["accuracy"] == pytest.approx(4 / 5)
    assert summary["confusion"]["_unknown_"] == {"high": 1}
    assert summary["rtf"] > 0
    assert summary["rtf_cpu"] > 0
    assert summary["audio_seconds"] == pytest.approx(
        sum(len(clips[clip]) for clip, _ in truths) / 16_000, abs=0.01
    )
    people = cli("score", model, "--manifest", manifest).stdout.splitlines()
    assert people[0].startswith(f"{folder}/clips/low.wav  low ")
    assert people[5].startswith("task kws  model tiny-stateful  n 5  accuracy 0.8 ")
    assert people[6].split() == ["_silence_", "_unknown_", "high", "low"]
    assert people[8].split() == ["_unknown_", ".", ".", "1", "."]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: not JSON"),
        ("\udcff", "line 2: not JSON"),
        ("[]", "line 2: wants an object with 'audio'"),
        ('{"label": "low"}', "line 2: wants an object with 'audio'"),
        ('{"audio": "x.wav"}', "line 2: wants an object with 'label'"),
        ('{"audio": "x.wav", "label": 3}', "line 2: wants an object with 'label'"),
        ('{"audio": "gone.wav", "label": "low"}', "gone.wav: No such file"),
    ],
)
def test_bad_manifests(cli: Cli, model: Path, wav: Path, tmp_path: Path, line: str, words: str) -> None:  # noqa: PLR0917
    manifest = tmp_path / "m.jsonl"
    good = json.dumps({"audio": str(wav), "label": "low"})
    manifest.write_bytes(f"{good}\n{line}\n".encode(errors="surrogateescape"))
    done = cli("score", model, "--manifest", manifest, "--json")
    fails(done, words)
    if "gone" in line:
        assert rows(done.stdout)[-1]["summary"]["failed"] == 1
    else:
        assert done.stdout == ""


def test_models_that_no_task_here_knows(cli: Cli, tmp_path: Path, wav: Path) -> None:
    cooking = write(tmp_path, spec("stateful", task="cooking", name="cook"))
    burnt = write(tmp_path, replace(spec("stateful"), params={}, name="burnt"))
    for path, words in ((cooking, "unknown task 'cooking'"), (burnt, "'params.thresholds' is missing")):
        fails(cli("run", wav, "--models", path), words)
        done = cli("score", path, wav, wav)
        fails(done, words)
        assert done.stderr.count("\n") == 1


def test_the_answer_of_a_language_goes_by_several_keys(cli: Cli, wav: Path, tmp_path: Path) -> None:
    tongues = replace(
        spec("stateful", task="dialect_id", name="tongues"),
        labels=("xx", "yy", "de", "en"),
        params=asdict(DialectParams(floor=0)),
    )
    lines = [
        {"audio": str(wav), "language": "de", "label": "dog_bark"},
        {"audio": str(wav), "dialect": "en", "accent": ""},
        {"audio": str(wav), "accent": "zulu"},
    ]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    model = write(tmp_path, tongues)
    done = cli("score", model, "--manifest", manifest, "--json")
    assert done.returncode == 0, done.stderr
    *found, last = rows(done.stdout)
    assert [row["truth"] for row in found] == ["de", "en", "zulu"]
    assert {"accuracy", "eer", "cavg", "ece", "rtf"} <= last["summary"].keys()
    assert last["summary"]["confusion"].keys() == {"de", "en", "unknown"}
    manifest.write_text(json.dumps({"audio": str(wav), "speaker": "x"}))
    wanted = "line 1: wants an object with 'language' or 'dialect' or 'accent' or 'label', a string"
    fails(cli("score", model, "--manifest", manifest), wanted)


def test_score_wants_one_kind_of_input(cli: Cli, model: Path, wav: Path) -> None:
    fails(cli("score", model), "FILEs or a --manifest", 2)
    fails(cli("score", model, wav, "--manifest", "m.jsonl"), "FILEs or a --manifest", 2)


def test_info(cli: Cli, model: Path) -> None:
    (row,) = rows(cli("info", model, "--json").stdout)
    spec = stapes.Model.load(model).spec
    assert row["bytes"] == model.stat().st_size
    assert len(row["sha256"]) == 64
    for key in ("bytes", "sha256", "file"):
        del row[key]
    assert stapes.ModelSpec.from_json(json.dumps(row)) == spec
    people = cli("info", model).stdout
    for words in ("tiny-stateful: kws", "40 log-mels", "_silence_ _unknown_ low high", "thresholds"):
        assert words in people
    assert all(len(line) < 400 for line in cli("info", "kws").stdout.splitlines())  # its recipe is longer


def test_bench(cli: Cli, model: Path, wav: Path) -> None:
    done = cli("bench", model, "--seconds", "3", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = rows(done.stdout)
    assert row["machine"]["cpu"]
    assert row["audio"]["seconds"] == 3
    assert row["models"] == [{"name": "tiny-stateful", "task": "kws", "bytes": model.stat().st_size}]
    block = row["block_ms"]
    assert 0 < block["p50"] <= block["p95"] <= block["p99"] <= block["max"]
    assert 0 < row["rtf_cpu"] < 1
    assert row["cold_start"]["seconds"] > 0
    people = cli("bench", model, "--seconds", "6", "--file", wav).stdout
    assert people.startswith("machine ")
    assert f"6 s, {wav}" in people


def test_runtime_stays_light(model: Path, wav: Path) -> None:
    """`import stapes` loads no command line, and a full run nothing heavy."""
    code = f"""
import sys, stapes
assert not [m for m in sys.modules if m.startswith("stapes.cli") or m in ("stapes.mic", "argparse")]
from stapes.cli import main
assert main(["run", {str(wav)!r}, "--models", {str(model)!r}]) == 0
heavy = {{"torch", "torchaudio", "onnx", "sounddevice", "soundfile", "matplotlib", "scipy"}}
heavy &= set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_level_meter_on_a_terminal(model: Path, wav: Path) -> None:
    """With a terminal as stderr the meter is there; with --json it is not."""
    code = f"""
import sys, stapes.mic
from stapes.sources import open_source
class Fake:
    name, sample_rate = "a file", 16000
    def __init__(self): self.source = open_source({str(wav)!r})
    def __iter__(self): return iter(self.source)
    def __enter__(self): return self
    def __exit__(self, *_): self.close()
    def close(self): self.source.close()
    def stop(self): pass
stapes.mic.Microphone.open = classmethod(lambda *_, **__: Fake())
from stapes.cli import main
sys.exit(main(["listen", {str(model)!r}, *sys.argv[1:]]))
"""
    ours, theirs = pty.openpty()
    for options, shows in (([], True), (["--json"], False)):
        command = [sys.executable, "-c", code, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
            out, _ = process.communicate(timeout=60)
        time.sleep(0.1)
        terminal = os.read(ours, 1 << 16).decode()
        assert process.returncode == 0
        assert len(out.splitlines()) == len(LABELS)
        assert ("dBFS" in terminal) == shows
        assert "a file at 16000 Hz" in terminal
    os.close(ours)
    os.close(theirs)
