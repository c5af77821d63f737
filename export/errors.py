"""Reasons not to write a file."""


class ExportError(Exception):
    """A checkpoint, or the graph made of it, that must not become a model file; the message says why."""


class ParityError(ExportError):
    """The graph computes something else than the module."""


class AccuracyError(ExportError):
    """Quantisation costs more accuracy than is allowed."""
