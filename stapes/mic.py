"""The microphone, through PortAudio (the sounddevice package, imported only when one is opened)."""

from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any, Final, Self

import numpy as np

from stapes.samples import Samples
from stapes.sources import Lost

PORTAUDIO_CURES: Final = {
    "Debian": "sudo apt-get install libportaudio2",
    "Raspberry Pi OS": "sudo apt-get install libportaudio2",
    "macOS": "pip install --force-reinstall sounddevice (its wheel holds PortAudio); brew install portaudio",
    "Windows": "pip install --force-reinstall sounddevice (its wheel holds PortAudio)",
}
"""How PortAudio comes to each system."""

PREFERRED_HZ: Final = 16_000
"""Tried first: what the models want, so nothing has to be resampled."""
BLOCK_MS: Final = 20
STALLED_SECONDS: Final = 5.0
"""A device that gives nothing for so long is gone, whatever the driver says (some say nothing)."""


class MicrophoneError(RuntimeError):
    """No usable microphone, or one that vanished. The message says what to do."""


def import_sounddevice() -> Any:
    """The sounddevice module.

    Raises:
        MicrophoneError: the package or the PortAudio library is missing; the message names the cure.
    """
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise MicrophoneError(
            "the microphone needs the sounddevice package: pip install 'stapes[mic]'"
        ) from None
    except OSError as error:
        cures = "; ".join(f"{system}: {cure}" for system, cure in PORTAUDIO_CURES.items())
        raise MicrophoneError(f"{error}. To mend it: {cures}") from None
    return sounddevice


class Inbox:
    """The bounded queue between the audio callback and the thread that works.

    `put` is all that the audio callback does: a copy, or, with the queue full, a count. It takes no
    lock that the reader holds while it works, so a slow model cannot make the driver lose sound.
    """

    def __init__(self, blocks: int) -> None:
        self._queue: SimpleQueue[bytes | int | None] = SimpleQueue()
        self._blocks = blocks
        self._lost = 0

    def put(self, raw: bytes, lost: int = 0) -> None:
        """One block of 16-bit samples, `lost` samples having gone missing before it."""
        self._lost += lost
        if self._queue.qsize() >= self._blocks:
            self._lost += len(raw) // 2
            return
        if self._lost:
            self._queue.put(self._lost)
            self._lost = 0
        self._queue.put(raw)

    def end(self) -> None:
        """Nothing comes after this. Safe in a signal handler and in the audio thread."""
        self._queue.put(None)

    def get(self, timeout: float) -> bytes | int | None:
        """A block, a number of lost samples, or None at the end.

        Raises:
            queue.Empty: nothing came for `timeout` seconds.
        """
        item = self._queue.get(timeout=timeout)
        if item is None and self._lost:
            lost, self._lost = self._lost, 0
            self._queue.put(None)
            return lost
        return item


class Microphone:
    """A `Source` of live sound. `open` one, iterate over it, `close` it; or use it in a with block.

    It is opened at 16 kHz, or, where the device refuses, at the device's own rate, which `sample_rate`
    then says. Sound that the driver or the reader was too slow for comes as `Lost`.
    """

    sample_rate: int
    """Samples a second."""
    name: str
    """What the system calls the device."""

    def __init__(self, stream: Any, inbox: Inbox, sample_rate: int, name: str) -> None:
        self._stream = stream
        self._inbox = inbox
        self._stopped = False
        self.sample_rate = sample_rate
        self.name = name

    @classmethod
    def open(
        cls, device: int | str | None = None, *, sample_rate: int | None = None, queue_seconds: float = 10.0
    ) -> Self:
        """Start listening.

        Args:
            device: number or part of a name, as `stapes doctor` lists them; None is the default one.
            sample_rate: samples a second; None tries 16000 and then the device's own rate.
            queue_seconds: sound kept while the reader is busy; beyond it, sound is `Lost`.

        Raises:
            MicrophoneError: no sounddevice, no PortAudio, no such device, or no rate that opens.
        """
        sd = import_sounddevice()
        try:
            facts = sd.query_devices(device, "input")
        except (ValueError, sd.PortAudioError) as error:
            wanted = "there is no microphone" if device is None else f"there is no microphone {device!r}"
            raise MicrophoneError(f"{wanted} ({_plain(error)}); `stapes doctor` helps") from None
        rates = (
            [sample_rate]
            if sample_rate is not None
            else list(dict.fromkeys([PREFERRED_HZ, int(facts["default_samplerate"])]))
        )
        refused = []
        for rate in rates:
            inbox = Inbox(max(1, round(queue_seconds * 1000 / BLOCK_MS)))
            try:
                stream = _start(sd, device, rate, inbox)
            except (ValueError, sd.PortAudioError) as error:
                refused.append(f"{rate} Hz: {_plain(error)}")
                continue
            return cls(stream, inbox, rate, str(facts["name"]))
        raise MicrophoneError(f"{facts['name']} does not open ({'; '.join(refused)}); `stapes doctor` helps")

    def __iter__(self) -> Iterator[Samples | Lost]:
        """Blocks of float32 in [-1, 1] until `stop`, and `Lost` where sound went missing.

        Raises:
            MicrophoneError: the device was unplugged, or its sound server ended.
        """
        while True:
            try:
                item = self._inbox.get(STALLED_SECONDS)
            except Empty:
                if self._stopped:
                    return
                raise MicrophoneError(
                    f"{self.name} gave nothing for {STALLED_SECONDS:g} s; is it plugged in?"
                ) from None
            if item is None:
                if self._stopped:
                    return
                raise MicrophoneError(
                    f"{self.name} stopped giving sound; was it unplugged, or did its server end?"
                )
            if isinstance(item, int):
                yield Lost(item)
            else:
                yield np.frombuffer(item, dtype=np.int16).astype(np.float32) / np.float32(32768)

    def stop(self) -> None:
        """End the iteration after what was heard so far. Safe in a signal handler."""
        self._stopped = True
        self._inbox.end()

    def close(self) -> None:
        """Let the device go. Twice is fine."""
        self.stop()
        self._stream.close(ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _start(sd: Any, device: int | str | None, rate: int, inbox: Inbox) -> Any:
    """A running PortAudio stream that fills `inbox`; 16 bits, no dither: a WAV file holds it exactly."""
    expected: float | None = None

    def heard(raw: Any, frames: int, clock: Any, status: Any) -> None:
        nonlocal expected
        start = clock.inputBufferAdcTime
        lost = 0
        # What was lost before the first block is no part of the stream.
        if status.input_overflow and expected is not None:
            # PortAudio says that sound was lost, not how much: the converter's clock knows, give or take.
            lost = min(max(1, round((start - expected) * rate)), rate)
        expected = start + frames / rate
        inbox.put(bytes(raw), lost)

    stream = sd.RawInputStream(
        samplerate=rate,
        blocksize=rate * BLOCK_MS // 1000,
        device=device,
        channels=1,
        dtype="int16",
        callback=heard,
        finished_callback=inbox.end,
        dither_off=True,
    )
    try:
        stream.start()
    except sd.PortAudioError:
        stream.close(ignore_errors=True)
        raise
    return stream


def _plain(error: Exception) -> str:
    """PortAudio's words without its error number."""
    return str(error.args[0]) if error.args else type(error).__name__
