"""How good a network is at whole recordings, while it is trained: a handful of figures."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dialect_id.batches import Store
from stapes.tasks.detection import UNKNOWN_CLASS
from stapes.tasks.dialect_id import figures_of
from training.utterances import padded

FRAMES_PER_BATCH = 24_000
SHORT_FRAMES = 300
"""Of the figure after 3 s."""


def posteriors(network: nn.Module, store: Store, frames: int | None = None) -> NDArray[np.float64]:
    """What a network says of recordings.

    Args:
        network: (batch, frames, mels) and (batch,) lengths to (batch, labels) logits; in eval mode.
        store: the recordings.
        frames: hear only so many of each; None: all.

    Returns:
        (recordings, labels)
    """
    device = next(network.parameters()).device
    lengths = store.utterances.lengths()
    cut = lengths if frames is None else np.minimum(lengths, frames)
    parts, batch = [], list[int]()
    order = np.argsort(cut, kind="stable")  # like lengths together: little is computed for silence
    for position, number in enumerate(order.tolist(), 1):
        batch.append(number)
        last = position == len(order)
        if last or int(cut[order[position]]) * (len(batch) + 1) > FRAMES_PER_BATCH:
            heard, sizes = padded([store.utterances.get(each)[:frames] for each in batch])
            with torch.no_grad():
                logits = network(heard.to(device), sizes.to(device)).double()
            parts.append(logits.softmax(-1).cpu().numpy())
            batch = []
    found: NDArray[np.float64] = np.concatenate(parts)[np.argsort(order)]
    return found


def judge(network: nn.Module, store: Store, unknown: Store | None = None) -> dict[str, float]:
    """Figures of a network, 0 to 1 but for the log loss.

    Args:
        network: as in `posteriors`.
        store: recordings of known languages.
        unknown: recordings of others: with these Cavg is that of the open set.

    Returns:
        "accuracy" and "balanced_accuracy" (the mean of the labels') of whole recordings, "accuracy_3s" of the
        first 3 s of those as long, "log_loss" in nats, and what of "eer", "cavg", "ece" and "unknown_eer" can
        be told (see stapes.tasks.dialect_id.metrics).
    """
    scores, classes = posteriors(network, store), store.classes
    right = scores.argmax(1) == classes
    told = {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean([right[classes == label].mean() for label in np.unique(classes)])),
        "log_loss": float(-np.log(np.maximum(scores[np.arange(len(classes)), classes], 1e-30)).mean()),
    }
    long = store.utterances.lengths() >= SHORT_FRAMES
    if long.any():
        short = posteriors(network, store, SHORT_FRAMES)
        told["accuracy_3s"] = float((short.argmax(1) == classes)[long].mean())
    if unknown is not None and len(unknown.utterances):
        scores = np.concatenate([scores, posteriors(network, unknown)])
        classes = np.concatenate([classes, np.full(len(unknown.utterances), UNKNOWN_CLASS)])
    more = figures_of(scores, classes)
    more.pop("known_accuracy")  # the accuracy above
    return told | {key: value for key, value in more.items() if value is not None}
