"""Sets of noise cut one recording into several clips; these must not be trained on and judged by."""

import re
from pathlib import Path


def take_source(audio: Path) -> str:
    """The recording that a noise clip is cut from: its file's name, less the take's letter of ESC's names.

    ESC cuts one recording into several clips ("1-17092-A", "1-17092-B"): they belong on the same side.
    """
    return re.sub(r"-[A-Z]$", "", audio.stem)
