"""Fixtures of the command-line tests."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.sounds import write_wav
from tests.cli.virtual_microphone import VirtualMicrophone
from tests.tools import needs
from tests.tools.tiny_onnx import spec, write

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small streaming model that tells low sounds from high ones."""
    return write(tmp_path_factory.mktemp("models"), spec("stateful"))


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[Path, Path]:
    """That one, and another of another kind."""
    return model, write(tmp_path_factory.mktemp("models"), replace(spec("sliding"), name="other"))


@pytest.fixture(scope="session")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A low and a high sound with pauses, 16 kHz."""
    return write_wav(tmp_path_factory.mktemp("sounds") / "low-high.wav", 16_000)


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Runs `stapes` in a process of its own, to its end."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stapes.cli", *map(str, arguments)]
        settings = {"text": True, "timeout": 120, "capture_output": True} | options
        return subprocess.run(command, check=False, **settings)  # type: ignore[call-overload,no-any-return]

    return run


@pytest.fixture
def microphone(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[VirtualMicrophone]:
    """A virtual microphone; parametrise indirectly with its rate. Cannot be made: skip, but fail in CI."""
    missing = [tool for tool in ("pulseaudio", "pactl", "paplay") if shutil.which(tool) is None]
    if find_library("portaudio") is None:
        missing.append("libportaudio2")
    if find_spec("sounddevice") is None:
        missing.append("sounddevice")
    if missing:
        packages = "libportaudio2 pulseaudio pulseaudio-utils libasound2-plugins"
        needs.missing(f"needs {', '.join(missing)} (apt-get install {packages}; pip install sounddevice)")
    virtual = VirtualMicrophone(tmp_path_factory.mktemp("pulse"), rate=getattr(request, "param", 16_000))
    yield virtual
    virtual.kill()
