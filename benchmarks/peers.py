"""Our keyword stream beside openWakeWord 0.5.1, on the same audio, in the same run, one thread each.

openWakeWord stays out of our environment; give the Python of one of its own:

    python -m venv /tmp/openwakeword && /tmp/openwakeword/bin/pip install openwakeword==0.5.1
    python benchmarks/peers.py --python /tmp/openwakeword/bin/python [--seconds 60] [--json]

(0.5.1 holds its models in the wheel; 0.6.0 does not.) Both are fed 100 ms at a time, both in new
processes of one thread, turn and turn about, and the fastest round counts; RTF is by the clock on the
wall, "of CPU" by the process's own, which other programs disturb less. openWakeWord computes when it
has 80 ms, so some of its calls hold two steps. Installed size: all files of all distributions that the
environment holds, but pip and setuptools; give --ours the Python of an environment with stapes alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

import stapes
from stapes.cli.bench import bursts
from stapes.machine import describe

ROUNDS: Final = 3

# Runs in either environment, hence standard library and numpy only. sys.argv: engine, int16 audio, models…
_CHILD: Final = r"""
import json, sys, time
start = time.perf_counter()
import numpy as np
engine, audio, *models = sys.argv[1:]
if engine == "openwakeword":
    from openwakeword.model import Model
    model = Model(wakeword_models=models, inference_framework="onnx")
    feed, names = model.predict, list(model.models)
else:
    import stapes
    stream = stapes.load(*models)
    feed, names = lambda x: stream.feed(x.astype(np.float32) / np.float32(32768)), models
ready = time.perf_counter() - start
x = np.load(audio)
for at in range(0, 32000, 1600):
    feed(x[at:at + 1600])
spent, busy = [], time.process_time()
for at in range(0, len(x), 1600):
    t = time.perf_counter_ns()
    feed(x[at:at + 1600])
    spent.append((time.perf_counter_ns() - t) / 1e6)
busy = time.process_time() - busy
rss = next((int(l.split()[1]) / 1e3 for l in open("/proc/self/status") if l.startswith("VmHWM")), None)
print(json.dumps({
    "models": names, "start_s": ready, "rss_mb": rss,
    "rtf": sum(spent) / 1e3 / (len(x) / 16000), "rtf_cpu": busy / (len(x) / 16000),
    "p50_ms": float(np.percentile(spent, 50)), "p99_ms": float(np.percentile(spent, 99)),
}))
"""
_SIZE: Final = r"""
import json
from importlib.metadata import distributions
kept = {d.metadata["Name"]: d for d in distributions() if d.metadata["Name"] not in ("pip", "setuptools")}
files = {f.locate().resolve() for d in kept.values() for f in d.files or ()}
size = sum(f.stat().st_size for f in files if f.is_file())
print(json.dumps({"mb": round(size / 1e6), "distributions": len(kept)}))
"""


def main() -> None:
    """Measure, then print a table or JSON."""
    parser = argparse.ArgumentParser(description="stapes beside openWakeWord 0.5.1")
    parser.add_argument("--python", required=True, help="Python of an environment with openwakeword==0.5.1")
    parser.add_argument("--ours", default=sys.executable, help="Python of an environment with stapes")
    parser.add_argument("--models", default="kws", help="ours: names or paths, comma-separated")
    parser.add_argument(
        "--peer-models", default="alexa", help="theirs, comma-separated (alexa, hey_mycroft, …)"
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--file", type=Path, help="16-bit 16 kHz WAV; default: bursts of noise with pauses")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result: dict[str, Any] = {"machine": describe()}
    if not args.json:
        machine = result["machine"]
        print(f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}")
    with tempfile.NamedTemporaryFile(suffix=".npy") as audio:
        np.save(audio, _audio(args.file, args.seconds))
        audio.flush()
        ours = ["stapes", audio.name, *args.models.split(",")]
        theirs = ["openwakeword", audio.name, *args.peer_models.split(",")]
        rounds = [(_run(args.ours, _CHILD, ours), _run(args.python, _CHILD, theirs)) for _ in range(ROUNDS)]
    for name, runs, python in zip(
        ("stapes", "openwakeword"), zip(*rounds, strict=True), (args.ours, args.python), strict=True
    ):
        best = {
            key: min(r[key] for r in runs)
            for key in ("rtf", "rtf_cpu", "p50_ms", "p99_ms", "start_s", "rss_mb")
        }
        result[name] = {"models": runs[0]["models"], **best, "installed": _run(python, _SIZE, [])}
    result["rtf_ratio"] = result["openwakeword"]["rtf"] / result["stapes"]["rtf"]
    result["rtf_cpu_ratio"] = result["openwakeword"]["rtf_cpu"] / result["stapes"]["rtf_cpu"]
    if args.json:
        print(json.dumps(result))
        return
    heads = ("RTF", "of CPU", "p50 ms", "p99 ms", "start s", "RSS MB", "MB / dists")
    print(f"{'':<14}" + "".join(f"{head:>11}" for head in heads) + "  models")
    for name in ("stapes", "openwakeword"):
        r = result[name]
        size = f"{r['installed']['mb']} / {r['installed']['distributions']}"
        cells = [f"{r['rtf']:.5f}", f"{r['rtf_cpu']:.5f}", f"{r['p50_ms']:.3f}", f"{r['p99_ms']:.3f}"]
        cells += [f"{r['start_s']:.3f}", f"{r['rss_mb']:.0f}", size]
        print(f"{name:<14}" + "".join(f"{cell:>11}" for cell in cells) + f"  {', '.join(r['models'])}")
    wall, busy = result["rtf_ratio"], result["rtf_cpu_ratio"]
    print(f"stapes needs 1/{wall:.1f} of the time, 1/{busy:.1f} of the processor's")


def _audio(file: Path | None, seconds: float) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    samples = (
        bursts(seconds) if file is None else np.resize(stapes.sources.read(file)[0], round(seconds * 16_000))
    )
    return np.round(np.clip(samples, -1, 1) * 32_767).astype(np.int16)


def _run(python: str, program: str, arguments: list[str]) -> dict[str, Any]:
    root = str(Path(stapes.__file__).resolve().parents[1])
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if python == sys.executable:
        env["PYTHONPATH"] = root
    done = subprocess.run(
        [python, "-c", program, *arguments], capture_output=True, text=True, check=False, env=env
    )
    if done.returncode:
        sys.exit(f"{python} failed: {done.stderr.strip()[-500:]}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


if __name__ == "__main__":
    main()
