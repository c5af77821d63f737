"""Figures of language recognition over many trials: Cavg, equal error rate, calibration error.

A trial asks of one recording and one label whether that label is spoken; its score, the higher the surer, is
compared with a threshold.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNKNOWN_CLASS = -1
"""The true class of a recording of none of the labels."""
CAVG_BINS = 20
P_TARGET = 0.5
ECE_BINS = 15
"""As Guo et al. 2017 (arXiv 1706.04599)."""

Reals = NDArray[np.float64]
Classes = NDArray[np.int64]


def det(scores: ArrayLike, targets: ArrayLike) -> tuple[Reals, Reals]:
    """False accepts and misses as the threshold rises past each score.

    Args:
        scores: of the trials, any shape.
        targets: of that shape; whether the label is the right one.

    Returns:
        Share of wrong trials accepted, falling from 1 to 0, and of right ones missed, rising from 0 to 1:
        one pair more than there are different scores.

    Raises:
        ValueError: no right trial, or no wrong one.
    """
    score, right = np.ravel(np.asarray(scores, np.float64)), np.ravel(np.asarray(targets, bool))
    true, false = np.sort(score[right]), np.sort(score[~right])
    if not true.size or not false.size:
        raise ValueError(f"needs trials of both kinds, got {true.size} right and {false.size} wrong ones")
    thresholds = np.unique(score)
    accepts = 1 - np.searchsorted(false, thresholds, side="left") / false.size
    misses = np.searchsorted(true, thresholds, side="left") / true.size
    return np.append(accepts, 0.0), np.append(misses, 1.0)


def eer(scores: ArrayLike, targets: ArrayLike) -> float:
    """The equal error rate, 0 to 1, pooled over all trials: where as many are missed as falsely accepted.

    Between two thresholds both shares are taken to change evenly. Arguments and errors as `det`.
    """
    accepts, misses = det(scores, targets)
    after = int(np.argmax(misses >= accepts))  # over 0: the first pair misses nothing and accepts all
    gap, gap_after = accepts[after - 1] - misses[after - 1], accepts[after] - misses[after]
    part = gap / (gap - gap_after)
    return float(misses[after - 1] + part * (misses[after] - misses[after - 1]))


def cavg(scores: ArrayLike, classes: ArrayLike, bins: int = CAVG_BINS) -> float:
    """The average cost of detection, at the best of `bins` + 1 thresholds, as AP20-OLR computes it.

    For each of T labels, half the share of its recordings that are missed (score below the threshold), plus
    P_nontarget times the sum, over the other classes, of the share falsely accepted; averaged over labels.
    The thresholds lie evenly from the least score to the highest. Recordings of unknown languages, if there
    are any, are one class more: P_nontarget is 0.5 / T then (open set), else 0.5 / (T - 1) (closed set).

    Args:
        scores: (recordings, labels).
        classes: (recordings,) index of the right label, UNKNOWN_CLASS for none of them.
        bins: steps between thresholds.

    Raises:
        ValueError: another shape; a label without a recording, whose misses nobody knows; or no other class.
    """
    score, true = np.asarray(scores, np.float64), np.asarray(classes, np.int64)
    if score.ndim != 2 or true.shape != score.shape[:1]:
        raise ValueError(f"wants (recordings, labels) and (recordings,), got {score.shape} and {true.shape}")
    labels = score.shape[1]
    members = true[:, None] == [*range(labels), UNKNOWN_CLASS]  # (recordings, labels + 1)
    counts = members.sum(axis=0)
    if members.sum() != len(true) or not counts[:labels].all():
        raise ValueError(f"wants classes {UNKNOWN_CLASS} to {labels - 1}, each label at least once")
    others = labels - 1 + int(counts[-1] > 0)
    if not others:
        raise ValueError("wants recordings of at least two classes")
    shares = (members / np.maximum(counts, 1)).T
    lowest, step = score.min(), (score.max() - score.min()) / bins
    costs = []
    for number in range(bins + 1):
        accepted = shares @ (score >= lowest + number * step)  # (labels + 1, labels): class, label
        right = np.trace(accepted[:labels])
        costs.append(P_TARGET * (labels - right) + (1 - P_TARGET) / others * (accepted.sum() - right))
    return float(min(costs) / labels)


def reliability(sureness: ArrayLike, right: ArrayLike, bins: int = ECE_BINS) -> tuple[Classes, Reals, Reals]:
    """Of answers in equally wide bins of sureness: their number, mean sureness and share that is right.

    Args:
        sureness: (answers,) posterior of each, 0 to 1.
        right: (answers,) whether it was.
        bins: between 0 and 1; the upper edge belongs to a bin.

    Returns:
        (bins,) each; 0 where there is no answer.
    """
    sure, fine = np.asarray(sureness, np.float64), np.asarray(right, bool)
    bin_of = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    most = np.maximum(counts, 1)
    return counts, np.bincount(bin_of, sure, bins) / most, np.bincount(bin_of, fine, bins) / most


def ece(sureness: ArrayLike, right: ArrayLike, bins: int = ECE_BINS) -> float:
    """Expected calibration error: how far sureness is from the share that is right, on average.

    Arguments as `reliability`; at least one answer.
    """
    counts, sure, fine = reliability(sureness, right, bins)
    return float((counts * np.abs(sure - fine)).sum() / counts.sum())
