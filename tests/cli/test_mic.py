"""The microphone without one: the queue, and a PortAudio that does what the test wants."""

import sys
from queue import Empty
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stapes.mic import BLOCK_MS, Inbox, Microphone, MicrophoneError, import_sounddevice
from stapes.sources import Lost


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(1, 50), st.none()), max_size=60), st.integers(1, 8))
def test_inbox_never_loses_count(script: list[int | None], limit: int) -> None:
    """Blocks of many lengths (numbers) and reads (None): what comes out adds up to what went in, in order."""
    inbox = Inbox(limit)
    sent = np.arange(sum(n for n in script if n), dtype=np.int16)
    at = 0
    received: list[bytes | int] = []

    def read() -> bool:
        try:
            item = inbox.get(0)
        except Empty:
            return False
        if item is None:
            return False
        received.append(item)
        return True

    for step in script:
        if step is None:
            read()
        else:
            inbox.put(sent[at : at + step].tobytes())
            at += step
    inbox.end()
    while read():
        pass
    at = 0
    for item in received:
        if isinstance(item, int):
            at += item
        else:
            block = np.frombuffer(item, np.int16)
            np.testing.assert_array_equal(block, sent[at : at + len(block)])
            at += len(block)
    assert at == len(sent)


class FakePortAudio:
    """Stands for the sounddevice module; keeps the streams that were opened."""

    class PortAudioError(Exception):
        pass

    def __init__(self, opens: tuple[int, ...] = (16_000,), default_hz: float = 44_100.0) -> None:
        self.opens = opens
        self.default_hz = default_hz
        self.streams: list[Any] = []

    def query_devices(self, device: int | str | None, kind: str) -> dict[str, Any]:
        assert kind == "input"
        if device == "nowhere":
            raise ValueError("No input device matching 'nowhere'")
        if device == -1:
            raise self.PortAudioError("Error querying device -1")
        return {"name": "a fake", "default_samplerate": self.default_hz}

    def RawInputStream(self, **options: Any) -> Any:  # noqa: N802
        if options["samplerate"] not in self.opens:
            raise self.PortAudioError("Error opening RawInputStream: Invalid sample rate", -9997)
        stream = SimpleNamespace(**options, started=False, closed=False)
        stream.start = lambda: setattr(stream, "started", True)
        stream.close = lambda **_: setattr(stream, "closed", True)
        self.streams.append(stream)
        return stream


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> FakePortAudio:
    fake = FakePortAudio(**getattr(request, "param", {}))
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


def heard(stream: Any, block: list[int], at: float = 0.0, *, overflow: bool = False) -> None:
    raw = np.array(block, np.int16)
    clock = SimpleNamespace(inputBufferAdcTime=at)
    stream.callback(memoryview(raw).cast("B"), len(raw), clock, SimpleNamespace(input_overflow=overflow))


def test_blocks_come_as_floats(portaudio: FakePortAudio) -> None:
    with Microphone.open() as microphone:
        (stream,) = portaudio.streams
        assert stream.started
        assert (stream.samplerate, stream.blocksize) == (16_000, 16 * BLOCK_MS)
        heard(stream, [0, 16_384, -32_768])
        heard(stream, [32_767])
        microphone.stop()
        blocks = list(microphone)
    assert [b.tolist() for b in blocks if isinstance(b, np.ndarray)] == [[0, 0.5, -1], [32_767 / 32_768]]
    assert stream.closed


@pytest.mark.parametrize(
    "portaudio", [{"opens": (44_100,)}, {"opens": (48_000,), "default_hz": 48_000.0}], indirect=True
)
def test_device_of_one_rate(portaudio: FakePortAudio) -> None:
    with Microphone.open() as microphone:
        assert microphone.sample_rate == portaudio.opens[0]


@pytest.mark.parametrize("portaudio", [{"opens": ()}], indirect=True)
def test_no_rate_opens(portaudio: FakePortAudio) -> None:
    with pytest.raises(MicrophoneError, match=r"16000 Hz: .*Invalid sample rate.*44100 Hz"):
        Microphone.open()
    with pytest.raises(MicrophoneError, match=r"does not open \(0 Hz: "):
        Microphone.open(sample_rate=0)
    assert portaudio.streams == []


@pytest.mark.usefixtures("portaudio")
@pytest.mark.parametrize("device", ["nowhere", -1])
def test_no_such_device(device: int | str) -> None:
    with pytest.raises(MicrophoneError, match=f"there is no microphone {device!r}"):
        Microphone.open(device)


def test_overflow_of_the_driver_is_lost_time(portaudio: FakePortAudio) -> None:
    with Microphone.open() as microphone:
        (stream,) = portaudio.streams
        heard(stream, [1] * 160, at=5.0)
        heard(stream, [2] * 160, at=5.0 + 160 / 16_000 + 0.02, overflow=True)
        heard(stream, [3] * 160, at=5.0, overflow=True)  # a clock that makes no sense
        microphone.stop()
        items = list(microphone)
    assert [item if isinstance(item, Lost) else len(item) for item in items] == [
        160,
        Lost(320),
        160,
        Lost(1),
        160,
    ]


def test_overflow_before_the_first_block_displaces_nothing(portaudio: FakePortAudio) -> None:
    with Microphone.open() as microphone:
        (stream,) = portaudio.streams
        heard(stream, [1] * 160, at=5.0, overflow=True)
        microphone.stop()
        items = list(microphone)
    assert [item if isinstance(item, Lost) else len(item) for item in items] == [160]


def test_slow_reader_loses_time(portaudio: FakePortAudio) -> None:
    with Microphone.open(queue_seconds=2 * BLOCK_MS / 1000) as microphone:
        (stream,) = portaudio.streams
        for value in range(5):
            heard(stream, [value] * 320)
        microphone.stop()
        items = list(microphone)
    assert [item if isinstance(item, Lost) else item[0] * 32_768 for item in items] == [0, 1, Lost(960)]


def test_device_gone(portaudio: FakePortAudio) -> None:
    with Microphone.open() as microphone:
        (stream,) = portaudio.streams
        heard(stream, [1])
        stream.finished_callback()
        blocks = iter(microphone)
        assert len(next(blocks)) == 1
        with pytest.raises(MicrophoneError, match="a fake stopped giving sound"):
            next(blocks)


@pytest.mark.usefixtures("portaudio")
def test_device_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stapes.mic.STALLED_SECONDS", 0.01)
    with Microphone.open() as microphone, pytest.raises(MicrophoneError, match="gave nothing for 0\\.01 s"):
        next(iter(microphone))


def test_sounddevice_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MicrophoneError, match=r"pip install 'stapes\[mic\]'"):
        import_sounddevice()


def test_portaudio_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(MicrophoneError, match=r"PortAudio library not found.*apt-get install libportaudio2"):
        import_sounddevice()
