"""Checkpoint to model file: torch to ONNX, simplified, parity-checked, stamped, perhaps quantised.

Run as `python -m export CHECKPOINT OUT.onnx [--int8] [--data DIR]`.
A file appears only if every check passed.
"""

from export.errors import AccuracyError, ExportError, ParityError
from export.pipeline import Report, export

__all__ = ["AccuracyError", "ExportError", "ParityError", "Report", "export"]
