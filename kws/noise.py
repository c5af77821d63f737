"""Which noise training may hear, and which is kept so that models are judged by noise new to them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from kws.clips import KEYWORDS, Clip, read_folder
from training.naming import told_name
from training.takes import take_source


def is_reserved_noise(clip: Clip) -> bool:
    """Whether calibration and evaluation keep this noise for themselves: every second source, by SHA-1."""
    return hashlib.sha1(take_source(clip.audio).encode()).digest()[0] % 2 == 1  # noqa: S324


def noise_of(folder: Path) -> list[Clip]:
    """The noise in a folder: of one that holds keywords its own noise only, of any other all clips.

    Raises:
        DataError: there is no such data folder.
    """
    clips = read_folder(folder)
    words = any(clip.label in KEYWORDS for clip in clips)
    return [clip for clip in clips if clip.split == "noise" or not words]


def training_noise(data: Path, folders: Iterable[str], *, reserve: bool) -> list[Clip]:
    """The noise that a recipe trains on.

    Args:
        data: the folder that `folders` stand in.
        folders: the recipe's main folder and its noise folders.
        reserve: leave out what `is_reserved_noise`, and takes of recordings that dev and test parts hold.

    Raises:
        DataError: a folder is missing.
    """
    clips = [clip for folder in folders for clip in noise_of(data / folder)]
    held = {take_source(clip.audio) for clip in clips if clip.split in ("dev", "test")}
    train = [clip for clip in clips if clip.split in ("train", "noise")]
    return [
        clip
        for clip in train
        if not reserve or (take_source(clip.audio) not in held and not is_reserved_noise(clip))
    ]


def held_noise(
    data: Path, folders: Sequence[str], part: Literal["train", "test"], trained: Mapping[str, Any]
) -> list[Clip]:
    """Noise of `folders` from recordings of which a model was trained on nothing.

    Args:
        data: the folder that `folders` stand in.
        folders: names.
        part: "test": test parts; "train": all else.
        trained: the recipe's "data" table. Recipes from before noise was reserved lack "reserve_noise":
            those models were trained on all training noise. A folder that lay elsewhere, of which a model
            file tells the name alone, is the one of that name among `folders`.

    Raises:
        DataError: a folder is missing.
    """
    named = {told_name(folder): folder for folder in folders}
    heard = [named.get(name, name) for name in (trained.get("main", ""), *trained.get("noise", ()))]
    used = [name for name in heard if (data / name).is_dir()]
    reserve = bool(trained.get("reserve_noise", False))
    known = {take_source(clip.audio) for clip in training_noise(data, filter(None, used), reserve=reserve)}
    return [
        clip
        for folder in folders
        for clip in noise_of(data / folder)
        if (clip.split == "test") == (part == "test") and take_source(clip.audio) not in known
    ]
