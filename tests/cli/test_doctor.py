"""What the doctor says of each fault, with a PortAudio that has it."""

import platform
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stapes.doctor import RATES_HZ, SYSTEMS, Finding, examine, judge_level, this_system
from stapes.mic import MicrophoneError


class SickPortAudio:
    """Stands for the sounddevice module; its devices, rates and sound are what the test wants."""

    class PortAudioError(Exception):
        pass

    def __init__(
        self, *, devices: int = 1, rates: tuple[int, ...] = RATES_HZ, sound: float | None = 0.1
    ) -> None:
        self.devices = devices
        self.rates = rates
        self.sound = sound

    def get_portaudio_version(self) -> tuple[int, str]:
        return 1, "PortAudio of the test"

    def query_devices(self, device: int | str | None = None, kind: str | None = None) -> Any:
        listed = [
            {"index": i, "name": f"fake {i}", "max_input_channels": 1, "default_samplerate": 48_000.0}
            for i in range(self.devices)
        ]
        speaker = {"index": 9, "name": "speaker", "max_input_channels": 0, "default_samplerate": 48_000.0}
        if kind is None:
            return [*listed, speaker]
        if not listed or (isinstance(device, int) and device >= len(listed)):
            raise self.PortAudioError("Error querying device -1")
        return listed[device or 0]  # type: ignore[call-overload]

    def check_input_settings(self, *, samplerate: int, **_: object) -> None:
        if samplerate not in self.rates:
            raise self.PortAudioError("Invalid sample rate", -9997)

    def RawInputStream(self, samplerate: int, callback: Any, **rest: Any) -> Any:  # noqa: N802
        self.check_input_settings(samplerate=samplerate)

        def start() -> None:
            if self.sound is not None:
                wave = self.sound * 32_767 * np.sin(np.arange(2 * samplerate))
                clock = SimpleNamespace(inputBufferAdcTime=0.0)
                callback(wave.astype(np.int16), len(wave), clock, SimpleNamespace(input_overflow=False))
            rest["finished_callback"]()

        return SimpleNamespace(start=start, close=lambda **_: None)


def findings(monkeypatch: pytest.MonkeyPatch, device: int | None = None, **sick: Any) -> dict[str, Finding]:
    monkeypatch.setitem(sys.modules, "sounddevice", SickPortAudio(**sick))
    return {finding.check: finding for finding in examine(device)}


def test_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch)
    microphone = [found[check] for check in ("portaudio", "devices", "rates", "level")]
    assert [finding.state for finding in microphone] == ["fine"] * 4
    assert found["devices"].facts["devices"] == [{"device": 0, "name": "fake 0", "default_hz": 48_000.0}]
    assert found["rates"].facts["rates_hz"] == list(RATES_HZ)


@pytest.mark.parametrize(
    ("sick", "check", "state", "says"),
    [
        ({"devices": 0}, "devices", "fault", "there is no microphone"),
        ({"device": 3}, "devices", "fault", "no microphone 3"),
        ({"rates": ()}, "rates", "fault", "opens at none of"),
        ({"rates": (44_100, 48_000)}, "rates", "fine", "not at 16000 Hz"),
        ({"sound": 0.0}, "level", "fault", "only zeros"),
        ({"sound": 0.0005}, "level", "weak", "very quiet"),
        ({"sound": None}, "level", "fault", "stopped giving sound"),
    ],
)
def test_each_fault(
    monkeypatch: pytest.MonkeyPatch, sick: dict[str, Any], check: str, state: str, says: str
) -> None:
    found = findings(monkeypatch, **sick)[check]
    assert found.state == state
    assert says in found.says
    assert (set(found.cures) == set(SYSTEMS)) == (state != "fine")


def test_clipping() -> None:
    loud = np.clip(1.5 * np.sin(np.arange(16_000)), -1, 32_767 / 32_768).astype(np.float32)
    found = judge_level(loud)
    assert (found.state, found.facts["peak"]) == ("weak", 1.0)
    assert set(found.cures) == set(SYSTEMS)
    assert found.facts["clipped"] == pytest.approx(np.mean(np.abs(loud) >= 0.999), abs=1e-5)


def test_level_of_a_sine_is_three_decibels_below_its_peak() -> None:
    sine = 0.1 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert judge_level(sine.astype(np.float32)).facts["rms_dbfs"] == pytest.approx(-23.0, abs=0.05)


def test_nothing_heard() -> None:
    assert judge_level(np.zeros(0, np.float32)).state == "fault"


@pytest.mark.parametrize(
    ("words", "cure"),
    [("needs the sounddevice package: …", "pip install"), ("PortAudio library not found", "apt-get")],
)
def test_library_missing(monkeypatch: pytest.MonkeyPatch, words: str, cure: str) -> None:
    def refuse() -> None:
        raise MicrophoneError(words)

    monkeypatch.setattr("stapes.doctor.import_sounddevice", refuse)
    *_, last = examine()
    assert (last.check, last.state) == ("portaudio", "fault")
    assert cure in last.cures["Debian"]


@pytest.mark.parametrize(("name", "system"), [("Darwin", "macOS"), ("Windows", "Windows")])
def test_this_system(monkeypatch: pytest.MonkeyPatch, name: str, system: str) -> None:
    monkeypatch.setattr(platform, "system", lambda: name)
    assert this_system() == system
