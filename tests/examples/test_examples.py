"""Every example is short and runs."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import stapes
from stapes.server import EventServer
from tests.cli.sounds import LABELS, sound, write_wav
from tests.tools import tiny_asr
from tests.tools.tiny_onnx import spec, write

FOLDER = Path(__file__).resolve().parents[2] / "examples"

# Stands for the microphone: a file instead of PortAudio.
FAKE_MICROPHONE = """
import runpy, sys, stapes.mic
from stapes.sources import WavSource
class Fake(WavSource):
    name = "a file"
    def __enter__(self): return self
    def __exit__(self, *_): self.close()
program, wav, *sys.argv[1:] = sys.argv[1:]
stapes.mic.Microphone.open = classmethod(lambda *_, **__: Fake(wav))
sys.argv[0] = program
runpy.run_path(program, run_name="__main__")
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("models"), spec("stateful"))


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("sounds") / "low-high.wav", 16_000)


@pytest.fixture(scope="module")
def wav44(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many recorders and microphones give it."""
    return write_wav(tmp_path_factory.mktemp("sounds") / "low-high.wav", 44_100)


def run(*command: object, feed: bytes | None = None) -> list[str]:
    env = os.environ | {"PYTHONPATH": str(Path(stapes.__file__).resolve().parents[1])}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        input=feed,
        capture_output=True,
        check=False,
        timeout=60,
        env=env,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


def test_wav(model: Path, wav: Path, wav44: Path) -> None:
    for path in (wav, wav44):
        lines = run(FOLDER / "wav.py", path, model)
        assert len(lines) == len(LABELS)
        assert all(label in line for label, line in zip(LABELS, lines, strict=True))


def test_embedded_loop(model: Path) -> None:
    lines = run(FOLDER / "embedded_loop.py", model, feed=sound(16_000).tobytes())
    assert [json.loads(line)["label"] for line in lines] == list(LABELS)


def test_mic(model: Path, wav: Path, wav44: Path) -> None:
    for path, rate in ((wav, 16_000), (wav44, 44_100)):
        first, *lines = run("-c", FAKE_MICROPHONE, FOLDER / "mic.py", path, model)
        assert first == f"listening to a file at {rate} Hz"
        assert [json.loads(line)["label"] for line in lines] == list(LABELS)


def test_dictate(model: Path, wav: Path, tmp_path: Path) -> None:
    asr = tiny_asr.write(tmp_path, tiny_asr.spec())
    first, *lines = run("-c", FAKE_MICROPHONE, FOLDER / "dictate.py", wav, "--asr", asr)
    assert first == "speak"
    assert lines[-1] == "high"  # the low burst, where no floor is known yet, is no speech
    first, *lines = run("-c", FAKE_MICROPHONE, FOLDER / "dictate.py", wav, "--asr", asr, "--wake", model)
    assert first == "say a keyword, then speak"
    assert set(lines) <= set(LABELS)


def test_socket_client(model: Path, wav: Path) -> None:
    with EventServer(("127.0.0.1", 0), [stapes.Model.load(model)]) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        lines = run(FOLDER / "socket_client.py", wav, "127.0.0.1", server.server_address[1])
        server.shutdown()
        thread.join()
    assert [line.split()[-1] for line in lines] == list(LABELS)


def test_examples_are_short_and_all_tried() -> None:
    found = {path.stem: len(path.read_text().splitlines()) for path in FOLDER.glob("*.py")}
    tried = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert found.keys() <= tried
    assert max(found.values()) <= 40
