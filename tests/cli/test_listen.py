"""`stapes listen` for real: a sound is played into a virtual microphone, and PortAudio hears it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Cli
from tests.cli.sounds import LABELS, read_wav, sound, write_samples, write_wav
from tests.cli.virtual_microphone import VirtualMicrophone

HOP = 1_600
"""Samples between two decisions of the models."""
# Stands for a device that knows its own rate only: the real PortAudio, but 16 kHz is refused.
ONLY_48K = """
import sys, sounddevice
class Only48k(sounddevice.RawInputStream):
    def __init__(self, samplerate, **options):
        if samplerate != 48000:
            raise sounddevice.PortAudioError("Error opening RawInputStream: Invalid sample rate", -9997)
        super().__init__(samplerate=samplerate, **options)
query = sounddevice.query_devices
sounddevice.query_devices = lambda *a: query(*a) | {"default_samplerate": 48000.0}
sounddevice.RawInputStream = Only48k
from stapes.cli import main
sys.exit(main())
"""


class Listening:
    """A running `stapes listen`."""

    def __init__(self, process: subprocess.Popen[str], heard: Path) -> None:
        self.process = process
        self.heard = heard

    def wait_for_sound(self) -> None:
        """The first blocks come up to a second after the stream is open."""
        self.wait_until(lambda: self.heard.exists() and self.heard.stat().st_size > 8_000)

    def wait_until(self, done: Any) -> None:
        for _ in range(400):
            if done() or self.process.poll() is not None:
                break
            time.sleep(0.05)
        assert done(), self.process.communicate()[1] if self.process.poll() is not None else "still waiting"

    def end(self, number: int = signal.SIGINT) -> tuple[list[dict[str, Any]], str]:
        """Events and stderr, after Ctrl-C."""
        self.process.send_signal(number)
        return self.collect()

    def collect(self) -> tuple[list[dict[str, Any]], str]:
        out, err = self.process.communicate(timeout=30)
        return [json.loads(line) for line in out.splitlines()], err


@contextmanager
def listening(
    microphone: VirtualMicrophone,
    folder: Path,
    *arguments: object,
    program: tuple[str, ...] = ("-m", "stapes.cli"),
) -> Iterator[Listening]:
    heard = folder / "heard.wav"
    command = [sys.executable, *program, "listen", *map(str, arguments), "--json", "--save", str(heard)]
    env = microphone.env | {"PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield Listening(process, heard)
    finally:
        process.kill()
        process.wait()


def events_of(cli: Cli, file: Path, *models: Path) -> list[dict[str, Any]]:
    done = cli("run", file, "--models", ",".join(map(str, models)), "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    for row in rows:
        assert row.pop("file") == str(file)
    return rows


def correlation(heard: np.ndarray[Any, Any], played: np.ndarray[Any, Any]) -> float:
    """The best over all shifts."""
    size = 1 << (len(heard) + len(played)).bit_length()
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size))
    best = float(np.fft.irfft(product, size).max())
    return best / float(np.linalg.norm(heard) * np.linalg.norm(played))


def test_microphone_equals_file(
    microphone: VirtualMicrophone, tmp_path: Path, cli: Cli, both: tuple[Path, Path], wav: Path
) -> None:
    with listening(microphone, tmp_path, *both) as ears:
        ears.wait_for_sound()
        microphone.play(wav)
        time.sleep(0.5)
        events, said = ears.end()
    assert ears.process.returncode == 0, said
    assert "at 16000 Hz" in said
    assert "Traceback" not in said
    assert "dBFS" not in said, "no meter without a terminal"
    # What was heard holds the file bit for bit, and a run over it gives the same events, bit for bit.
    heard, played = read_wav(ears.heard), sound(16_000)
    start = int(np.flatnonzero(heard)[0] - np.flatnonzero(played)[0])
    np.testing.assert_array_equal(heard[start : start + len(played)], played)
    assert not heard[start + len(played) :].any()
    assert events == events_of(cli, ears.heard, *both)
    # The same words as of the file itself, from both models…
    of_file = events_of(cli, wav, *both)
    for name in ("tiny-stateful", "other"):
        live, whole = ([e["label"] for e in some if e["model"] == name] for some in (events, of_file))
        assert live == whole == list(LABELS)
    # … and from the one that remembers nothing older than its window, once the file is put where it was
    # heard in the grid of 100 ms decisions, the same scores to the bit at the same samples.
    late = start % HOP
    parts = np.zeros(late, np.int16), played, np.zeros(len(heard) - start - len(played), np.int16)
    aligned = write_samples(tmp_path / "aligned.wav", np.concatenate(parts), 16_000)
    shifted = [(e["label"], e["score"], e["at"] + start - late) for e in events_of(cli, aligned, both[1])]
    assert [(e["label"], e["score"], e["at"]) for e in events if e["model"] == "other"] == shifted


@pytest.mark.parametrize("microphone", [44_100, 48_000], indirect=True)
def test_other_rates(microphone: VirtualMicrophone, tmp_path: Path, cli: Cli, model: Path) -> None:
    rate = int(microphone.rate)
    played = write_wav(tmp_path / "played.wav", rate)
    with listening(microphone, tmp_path, model, "--rate", rate) as ears:
        ears.wait_for_sound()
        microphone.play(played)
        time.sleep(0.5)
        events, said = ears.end(signal.SIGTERM)
    assert ears.process.returncode == 0, said
    assert f"at {rate} Hz" in said
    assert correlation(read_wav(ears.heard), sound(rate)) > 0.998
    assert [event["label"] for event in events] == list(LABELS)
    assert events == events_of(cli, ears.heard, model)


@pytest.mark.parametrize("microphone", [48_000], indirect=True)
def test_device_that_refuses_16_khz(microphone: VirtualMicrophone, tmp_path: Path, model: Path) -> None:
    played = write_wav(tmp_path / "played.wav", 48_000)
    with listening(microphone, tmp_path, model, program=("-c", ONLY_48K)) as ears:
        ears.wait_for_sound()
        microphone.play(played)
        time.sleep(0.5)
        events, said = ears.end()
    assert "at 48000 Hz" in said
    assert [event["label"] for event in events] == list(LABELS)


def test_server_dies(microphone: VirtualMicrophone, tmp_path: Path, cli: Cli, model: Path, wav: Path) -> None:
    with listening(microphone, tmp_path, model) as ears:
        ears.wait_for_sound()
        microphone.play(wav)
        microphone.kill()
        events, said = ears.collect()
    assert ears.process.returncode == 1
    last = said.strip().splitlines()[-1]
    assert last.startswith("stapes: ")
    assert "gave nothing" in last or "stopped giving sound" in last
    assert "Traceback" not in said
    assert [event["label"] for event in events][:1] == list(LABELS)[:1]
    assert events == events_of(cli, ears.heard, model)


def test_no_device(microphone: VirtualMicrophone, cli: Cli, model: Path) -> None:
    microphone.kill()
    done = cli("listen", model, env=microphone.env | {"PYTHONPATH": os.getcwd()})  # noqa: PTH109
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("stapes: there is no microphone")
    assert "stapes doctor" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_such_device(microphone: VirtualMicrophone, cli: Cli, model: Path) -> None:
    done = cli("listen", model, "--device", "a cucumber", env=microphone.env)
    assert done.returncode == 1
    assert "there is no microphone 'a cucumber'" in done.stderr


def test_doctor_hears(microphone: VirtualMicrophone, cli: Cli, tmp_path: Path) -> None:
    long = write_samples(tmp_path / "long.wav", np.tile(sound(16_000)[4_800:12_800], 60), 16_000)
    with subprocess.Popen(["paplay", str(long)], env=microphone.env) as player:
        done = cli("doctor", "--json", env=microphone.env)
        player.kill()
    *found, last = map(json.loads, done.stdout.splitlines())
    level = next(row for row in found if row["check"] == "level")
    assert level["state"] == "fine", level
    assert last["summary"]["usable"] == (done.returncode == 0)


def test_doctor_of_a_silent_microphone(microphone: VirtualMicrophone, cli: Cli) -> None:
    done = cli("doctor", "--json", env=microphone.env)
    found = {row["check"]: row for row in map(json.loads, done.stdout.splitlines()) if "check" in row}
    assert found["devices"]["state"] == found["rates"]["state"] == "fine"
    assert 16_000 in found["rates"]["facts"]["rates_hz"]
    assert found["level"]["state"] == "fault", "nothing is played, so only zeros come"
    assert done.returncode == 1
