"""Speech and noise that should make no keyword fire, with the keywords that its text says all the same."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kws.features import is_reserved
from kws.peaks import Spoken
from kws.speech import recordings


def negatives(data: Path, folders: Iterable[str], split: str, trained: Mapping[str, Any]) -> Iterator[Spoken]:
    """Clips of `folders` and the keywords in their text or label: what is said cannot be falsely accepted.

    Split "train" gives what training left over, and "dev" parts: of folders of running speech the speakers
    that features.is_reserved keeps back, of noise and word folders that were trained on nothing. Clips
    without text count as holding no keyword.

    Args:
        data: the folder that `folders` stand in, each with a manifest.jsonl.
        folders: names.
        split: "train" or "test".
        trained: the recipe's "data" table: which folders the model was trained on.

    Raises:
        DataError: a folder has no manifest, or a line of it lacks a key.
    """
    running = frozenset(trained.get("running", ()))
    used = frozenset((*trained.get("noise", ()), *trained.get("extra", ()), trained.get("main", "")))
    for folder in folders:
        for clip, said, _ in recordings(data / folder):
            if clip.split != split and not (split == "train" and clip.split == "dev"):
                continue
            if clip.split == "train" and (folder in used or (folder in running and not is_reserved(clip))):
                continue
            yield clip, said
