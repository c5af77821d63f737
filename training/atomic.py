"""Files that are either whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed over it when the block ends well, removed when it does not.

    A reader, or a run that is resumed after a power cut, never sees half a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")  # the suffix stays: savers look at it
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
