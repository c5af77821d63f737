"""Run as a program by `stapes bench`: how long a new process takes to be ready, and how much memory.

Without arguments it imports numpy and onnxruntime, the floor that nothing built on them can beat; with
models it imports stapes and loads them. Only the standard library is imported before the clock starts.
"""

import importlib
import json
import sys
import time
from pathlib import Path


def peak_rss_bytes() -> int | None:
    """Most memory this process ever held, or None where the system does not say.

    Linux is asked for VmHWM, since ru_maxrss there survives exec and would tell the parent's peak.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _measure(models: list[str]) -> dict[str, float | int | None]:
    start = time.perf_counter()
    if models:
        import stapes

        stapes.load(*models)
    else:
        importlib.import_module("numpy")
        importlib.import_module("onnxruntime")
    return {"seconds": time.perf_counter() - start, "peak_rss_bytes": peak_rss_bytes()}


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1:])))
