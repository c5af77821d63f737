"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

from tests.tools import needs

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_report_header() -> list[str]:
    """Versions that explain a difference between two machines."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("numpy", "onnxruntime", "torch", "torchaudio", "kaldi-native-fbank", "scipy", "soundfile"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} absent")
    return [", ".join(found)]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real speech (STAPES_DATA, or ../shared/data)."""
    path = Path(os.environ.get("STAPES_DATA", _DATA))
    if not path.is_dir():
        needs.missing(f"needs real speech: no folder {path} (set STAPES_DATA)", bare=True)
    return path
