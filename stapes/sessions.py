"""How all of the package opens onnxruntime sessions: on the CPU, quiet, with the threads asked for."""

from pathlib import Path
from typing import Any

from stapes.onnxfile import ModelFileError


def open_session(data: bytes, threads: int, path: Path) -> Any:
    """A session of a graph.

    Args:
        data: the serialised model.
        threads: for one operator; operators run one after another.
        path: the file that it is from, for the message.

    Raises:
        ModelFileError: onnxruntime refuses it.
    """
    import onnxruntime  # takes most of the time of a cold start, so only whoever loads a model pays for it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no narrower base class
        raise ModelFileError(f"{path}: onnxruntime refuses it: {error}") from error
