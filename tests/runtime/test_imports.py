"""What a device loads: nothing but numpy and onnxruntime, and not even those before they are needed."""

import subprocess
import sys
from pathlib import Path

import stapes
from tests.runtime.conftest import Tiny

FORBIDDEN = (
    "torch",
    "torchaudio",
    "onnx",
    "onnxscript",
    "sounddevice",
    "soundfile",
    "scipy",
    "matplotlib",
    "kws",
    "asr",
    "dialect_id",
    "training",
    "export",
)


def _modules(code: str, *arguments: str) -> set[str]:
    """Modules that a new process has loaded after some code."""
    root = str(Path(stapes.__file__).parents[1])
    program = f"import sys; sys.path.insert(0, {root!r})\n{code}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_listening_loads_numpy_and_onnxruntime_only(tiny: Tiny) -> None:
    code = """
import io, numpy as np, stapes
stream = stapes.load(sys.argv[1], sample_rate=48_000)
stream.feed(np.zeros(48_000, np.float32)); stream.lose(5); stream.close()
model = stapes.Model.load(sys.argv[2])
stapes.score(model, np.zeros(99, np.float32))
events = list(stapes.run(stapes.PcmSource(io.BytesIO(bytes(32_000))), stapes.Stream(model)))
"""
    loaded = _modules(code, str(tiny("stateful").path), str(tiny("segment", frames=300).path))
    assert not loaded & set(FORBIDDEN)
    assert {"numpy", "onnxruntime"} <= loaded


def test_importing_is_light() -> None:
    """`import stapes` adds next to nothing to `import numpy`: a cold start is onnxruntime's alone."""
    added = _modules("import stapes") - _modules("import numpy")
    assert not added & {"onnxruntime", "argparse", "asyncio", "importlib.metadata", "unittest", *FORBIDDEN}
    assert not {name for name in added if name.startswith("stapes.") and name.split(".")[1] in ("cli", "mic")}


def test_a_task_loads_what_it_needs() -> None:
    """Who spots keywords does not wait for the search of texts."""
    loaded = _modules("import numpy as np, stapes\nstapes.load('kws').feed(np.zeros(48_000, np.float32))")
    assert "stapes.tasks.kws" in loaded
    tasks = ("asr", "beam", "ctc", "dialect_id", "encoder", "ngrams")
    assert not loaded & {f"stapes.tasks.{name}" for name in tasks}
    assert not loaded & {"stapes.reader", "stapes.scoring", "stapes.sources", "stapes.wav"}
    later = _modules("import stapes\nassert stapes.scoring.score is stapes.score\nassert stapes.sources.Lost")
    assert {"stapes.scoring", "stapes.sources"} <= later
