"""Where the time of a model's call goes: microseconds of each operator and node, by onnxruntime's profiler.

`python benchmarks/graph.py MODEL [--frames N] [--runs N] [--top N] [--json]`. MODEL is a bundled name or a
path. One thread. The profiler itself costs about a microsecond a node, so the nodes add up to more than the
time of a call, which is measured without it.
"""

import argparse
import json
import platform
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from stapes.model import Model
from stapes.spec import ModelSpec
from stapes.tasks import inputs_of


@dataclass(frozen=True, slots=True)
class NodeTime:
    """One node as onnxruntime runs it, after its own fusions."""

    operator: str
    name: str
    us: float
    """Median over the runs."""


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """All nodes of one operator."""

    operator: str
    nodes: int
    us: float
    """Sum of their medians."""


def inputs(spec: ModelSpec, frames: int) -> dict[str, NDArray[np.float32]]:
    """One call's inputs: `frames` frames of noise, the states at their start, the task's numbers."""
    generator = np.random.default_rng(0)
    features = generator.normal(-5, 4, (1, frames, spec.features.mels)).astype(np.float32)
    names = (state.name for state in spec.states)
    return {"frames": features, **dict(zip(names, spec.start(), strict=True)), **inputs_of(spec)}


def session(path: Path, profile: Path | None = None) -> onnxruntime.InferenceSession:
    """A session set as the runtime's, perhaps with profiling to files whose names begin with `profile`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def call_us(path: Path, feeds: dict[str, NDArray[np.float32]], runs: int) -> NDArray[np.float64]:
    """Microseconds of each of `runs` calls, after a tenth as many to warm up."""
    runner = session(path)
    took = []
    for run in range(-(runs // 10), runs):
        start = time.perf_counter()
        runner.run(None, feeds)
        if run >= 0:
            took.append(time.perf_counter() - start)
    return 1e6 * np.array(took)


def node_times(path: Path, feeds: dict[str, NDArray[np.float32]], runs: int) -> list[NodeTime]:
    """The nodes, the slowest first."""
    with tempfile.TemporaryDirectory() as folder:
        runner = session(path, Path(folder) / "profile")
        for _ in range(runs):
            runner.run(None, feeds)
        events = json.loads(Path(runner.end_profiling()).read_text())
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            took[event["args"]["op_name"], name].append(event["dur"])
    times = [NodeTime(operator, name, float(np.median(us))) for (operator, name), us in took.items()]
    return sorted(times, key=lambda node: -node.us)


def operator_times(nodes: list[NodeTime]) -> list[OperatorTime]:
    """The operators, the slowest first."""
    grouped: dict[str, list[float]] = defaultdict(list)
    for node in nodes:
        grouped[node.operator].append(node.us)
    return sorted(
        (OperatorTime(kind, len(us), sum(us)) for kind, us in grouped.items()), key=lambda row: -row.us
    )


def cpu() -> str:
    """What this machine's processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def main(argv: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Times each operator of a model's graph.")
    parser.add_argument("model", help="a bundled name or a path")
    parser.add_argument("--frames", type=int, help="frames of a call (default: as the runtime calls it)")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--top", type=int, default=15, help="nodes to print")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    model = Model.load(args.model)
    window = model.spec.window
    frames = args.frames or (window.hop if model.spec.streamed else window.frames)
    feeds = inputs(model.spec, frames)
    whole = call_us(model.path, feeds, args.runs)
    nodes = node_times(model.path, feeds, args.runs)
    operators = operator_times(nodes)
    if args.json:
        found = {
            "cpu": cpu(),
            "onnxruntime": onnxruntime.__version__,
            "model": model.spec.name,
            "frames": frames,
            "median_us": float(np.median(whole)),
            "p99_us": float(np.percentile(whole, 99)),
            "operators": [asdict(row) for row in operators],
            "nodes": [asdict(node) for node in nodes],
        }
        print(json.dumps(found))
        return
    print(f"{cpu()}, onnxruntime {onnxruntime.__version__}, one thread")
    print(f"{model.spec.name}: {frames} frames a call, {len(nodes)} nodes after onnxruntime's fusions")
    print(f"a call: median {np.median(whole):.1f} us, p99 {np.percentile(whole, 99):.1f} us\n")
    print(f"{'operator':24}{'nodes':>6}{'us':>9}")
    for row in operators:
        print(f"{row.operator:24}{row.nodes:6}{row.us:9.1f}")
    print(f"\n{'node':56}{'us':>7}")
    for node in nodes[: args.top]:
        print(f"{node.operator + ' ' + node.name:56.56}{node.us:7.1f}")


if __name__ == "__main__":
    main()
