"""What is wrong with the microphone, and how to mend it."""

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from stapes.machine import package_version
from stapes.mic import PORTAUDIO_CURES, PREFERRED_HZ, Microphone, MicrophoneError, import_sounddevice
from stapes.model import Model, bundled_models
from stapes.onnxfile import ModelFileError
from stapes.samples import Samples

SYSTEMS: Final = ("Debian", "Raspberry Pi OS", "macOS", "Windows")
RATES_HZ: Final = (8_000, 16_000, 22_050, 32_000, 44_100, 48_000)
CLIPPED: Final = 0.999
"""A sample beyond this is at the converter's end."""
CLIPPED_SHARE: Final = 1e-3
QUIET_DBFS: Final = -60.0
"""Speech at arm's length peaks 20 to 40 dB above this."""

PACKAGE_CURES: Final = dict.fromkeys(SYSTEMS, "pip install 'stapes[mic]'")
DEVICE_CURES: Final = {
    "Debian": "plug one in: `arecord -l` (package alsa-utils) must list it. Be in the group audio: "
    "sudo usermod -aG audio $USER, then log in again. With PulseAudio or PipeWire: "
    "sudo apt-get install libasound2-plugins",
    "Raspberry Pi OS": "the board has no microphone socket: plug in a USB microphone, or a sound HAT with "
    "its dtoverlay line in /boot/firmware/config.txt; `arecord -l` lists it. sudo usermod -aG audio $USER",
    "macOS": "System Settings > Sound > Input must list one; then System Settings > Privacy & Security > "
    "Microphone: allow your terminal and restart it",
    "Windows": "Settings > System > Sound > Input must list one; then Settings > Privacy & security > "
    "Microphone: let desktop apps use it",
}
OPEN_CURES: Final = {
    **dict.fromkeys(
        SYSTEMS[:2], "another program may hold it: `fuser -v /dev/snd/*` says; try another --device"
    ),
    "macOS": "System Settings > Privacy & Security > Microphone: allow your terminal and restart it; "
    "set its format in Audio MIDI Setup",
    "Windows": "Settings > System > Sound > the microphone > Advanced: switch exclusive mode off, "
    "choose 1 channel, 48000 Hz",
}
SILENT_CURES: Final = {
    "Debian": "pactl set-source-mute @DEFAULT_SOURCE@ 0; or alsamixer, F4, raise Capture (space switches it "
    "on). The wrong device may be the default: try another --device",
    "Raspberry Pi OS": "alsamixer, F6 to choose the card, F4, raise Capture or Mic (space switches it on)",
    "macOS": "a terminal without permission hears zeros: System Settings > Privacy & Security > Microphone; "
    "then System Settings > Sound > Input: raise the volume",
    "Windows": "Settings > System > Sound > Input: unmute and raise the volume; Settings > Privacy & "
    "security > Microphone: let desktop apps use it",
}
CLIPPING_CURES: Final = {
    "Debian": "alsamixer, F4: lower Capture and Mic Boost; or pactl set-source-volume @DEFAULT_SOURCE@ 50%",
    "Raspberry Pi OS": "lower Capture or Mic in alsamixer (F6, F4) and switch Auto Gain Control off",
    "macOS": "System Settings > Sound > Input: lower the input volume",
    "Windows": "Settings > System > Sound > the microphone: lower the volume, set Microphone Boost to 0 dB",
}
MODEL_CURES: Final = dict.fromkeys(SYSTEMS, "pip install --force-reinstall --no-deps stapes")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    state: Literal["fine", "weak", "fault"]
    """"weak" works, but not well; with a "fault" nothing can be heard, or a model cannot be trusted."""
    says: str
    cures: Mapping[str, str] = field(default_factory=dict)
    """What to do, by system; empty where nothing is wrong."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same in figures, for programs."""


def examine(device: int | str | None = None, seconds: float = 1.0) -> Iterator[Finding]:
    """Look at everything that `stapes listen` needs, in the order in which it is needed.

    Args:
        device: as in `Microphone.open`.
        seconds: how long to listen for the level.
    """
    yield _versions()
    yield from _models()
    try:
        sd = import_sounddevice()
    except MicrophoneError as error:
        cures = PACKAGE_CURES if "sounddevice package" in str(error) else PORTAUDIO_CURES
        yield Finding("portaudio", "fault", str(error).split(". To mend it")[0], cures)
        return
    yield Finding("portaudio", "fine", sd.get_portaudio_version()[1])
    found = _devices(sd, device)
    yield found
    if found.state == "fault":
        return
    rates = _rates(sd, device)
    yield rates
    if rates.state != "fault":
        yield _level(device, seconds)


def this_system() -> str | None:
    """The one of `SYSTEMS` that this is, or None where none of them is near."""
    name = platform.system()
    if name in ("Darwin", "Windows"):
        return "macOS" if name == "Darwin" else "Windows"
    board = Path("/proc/device-tree/model")
    if board.is_file() and "Raspberry Pi" in board.read_text(errors="replace"):
        return "Raspberry Pi OS"
    release = Path("/etc/os-release")
    return "Debian" if release.is_file() and "debian" in release.read_text(errors="replace").lower() else None


def judge_level(samples: Samples) -> Finding:
    """Is what the microphone gave silent, quiet, clipping or fine?

    Args:
        samples: (samples,) in [-1, 1], a second or so.
    """
    if not samples.size:
        return Finding("level", "fault", "no sound came", OPEN_CURES)
    size = np.abs(samples)
    peak = float(size.max())
    clipped = float(np.mean(size >= CLIPPED))
    decibels = 20 * np.log10(max(float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))), 1e-6))
    facts = {"peak": round(peak, 5), "rms_dbfs": round(float(decibels), 1), "clipped": round(clipped, 5)}
    loud = f"peak {peak:.3f}, {decibels:.0f} dBFS"
    if peak == 0:
        says = "only zeros came: muted, forbidden, or a noise gate (speak, and try again)"
        return Finding("level", "fault", says, SILENT_CURES, facts)
    if clipped > CLIPPED_SHARE:
        return Finding(
            "level", "weak", f"clipping: {clipped:.1%} of the samples ({loud})", CLIPPING_CURES, facts
        )
    if decibels < QUIET_DBFS:
        return Finding("level", "weak", f"very quiet: {loud}; speak, and try again", SILENT_CURES, facts)
    return Finding("level", "fine", loud, facts=facts)


def _versions() -> Finding:
    found = {"python": platform.python_version(), "system": this_system() or platform.system()}
    found |= {name: package_version(name) for name in ("stapes", "numpy", "onnxruntime", "sounddevice")}
    return Finding("versions", "fine", ", ".join(f"{k} {v}" for k, v in found.items()), facts=found)


def _models() -> Iterator[Finding]:
    names = bundled_models()
    for name in names:
        try:
            Model.load(name)
        except ModelFileError as error:
            yield Finding(f"model {name}", "fault", str(error), MODEL_CURES)
        else:
            yield Finding(f"model {name}", "fine", "its hash is right and it loads")
    if not names:
        yield Finding("models", "fault", "the package came without models", MODEL_CURES)


def _devices(sd: Any, device: int | str | None) -> Finding:
    listed = [
        {"device": d["index"], "name": d["name"], "default_hz": d["default_samplerate"]}
        for d in sd.query_devices()
        if d["max_input_channels"] > 0
    ]
    facts = {"devices": listed}
    names = "; ".join(f"{d['device']} {d['name']}" for d in listed)
    if not listed:
        return Finding("devices", "fault", "there is no microphone", DEVICE_CURES, facts)
    try:
        chosen = sd.query_devices(device, "input")
    except (ValueError, sd.PortAudioError):
        wanted = "no microphone is the default" if device is None else f"there is no microphone {device!r}"
        cures = dict.fromkeys(SYSTEMS, f"name one with --device: {names}")
        return Finding("devices", "fault", wanted, cures, facts)
    facts["chosen"] = chosen["index"]
    return Finding("devices", "fine", f"{names} (used: {chosen['index']} {chosen['name']})", facts=facts)


def _rates(sd: Any, device: int | str | None) -> Finding:
    opens = [rate for rate in RATES_HZ if _opens(sd, device, rate)]
    facts = {"rates_hz": opens}
    if not opens:
        return Finding(
            "rates", "fault", f"it opens at none of {', '.join(map(str, RATES_HZ))} Hz", OPEN_CURES, facts
        )
    says = f"it opens at {', '.join(map(str, opens))} Hz"
    if PREFERRED_HZ not in opens:
        says += f"; not at {PREFERRED_HZ} Hz, so its sound is resampled, which is fine"
    return Finding("rates", "fine", says, facts=facts)


def _opens(sd: Any, device: int | str | None, rate: int) -> bool:
    try:
        sd.check_input_settings(device=device, channels=1, dtype="int16", samplerate=rate)
    except (ValueError, sd.PortAudioError):
        return False
    return True


def _level(device: int | str | None, seconds: float) -> Finding:
    heard: list[Samples] = []
    try:
        with Microphone.open(device) as microphone:
            wanted = round(seconds * microphone.sample_rate)
            for block in microphone:
                if isinstance(block, np.ndarray):
                    heard.append(block)
                if sum(map(len, heard)) >= wanted:
                    break
    except MicrophoneError as error:
        return Finding("level", "fault", str(error), OPEN_CURES)
    return judge_level(np.concatenate(heard) if heard else np.zeros(0, np.float32))
