"""Which recordings are learned from, which choose and which judge."""

from pathlib import Path

from asr.manifest import in_dev
from training.utterances import Recording, read_manifest

DEV_SHARE = 0.1
"""Of the training speakers, who choose where a manifest has no "dev" of its own."""


def speaker_of(recording: Recording) -> str:
    """Who speaks, or what stands for that: recordings with the same one hang together."""
    fields = recording.fields
    return str(fields.get("speaker") or fields.get("recording") or fields["audio"])


def split_recordings(folder: Path) -> dict[str, list[Recording]]:
    """The "train", "dev" and "test" recordings of a folder's manifest.

    Raises:
        ManifestError: no manifest that can be read.
    """
    recordings = read_manifest(folder)
    splits: dict[str, list[Recording]] = {"train": [], "dev": [], "test": []}
    own = any(each.split == "dev" for each in recordings)
    for each in recordings:
        aside = each.split == "train" and not own and in_dev(speaker_of(each), DEV_SHARE)
        splits.setdefault("dev" if aside else each.split, []).append(each)
    return splits
