"""From any sample rate to the model's: a polyphase filter that carries its state from block to block.

Output n is the input, low-pass filtered, at the time n / target_hz: nothing is delayed and nothing is
lost at the ends, where the input is taken to be silent. The filter is a sinc under a Kaiser window
(Kaiser 1974): flat to 0.001 dB up to 90 % of the lower Nyquist frequency, 90 dB down from the whole
of it on. It reaches 58 samples of the lower rate to either side (3.6 ms at 16 kHz): so long, and one
group of outputs, push() holds output back.

Outputs are made in groups of a fixed size, each by one (1, inputs) @ (inputs, outputs) product. So BLAS
sees the same shapes, and gives the same bits, however the input is cut.
"""

import operator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

from stapes.samples import Samples, as_samples

_STOP_DB = 90.0
_PASS = 0.9
"""Upper edge of the pass band over the lower Nyquist frequency; the stop band begins at 1."""
_GROUP = 16
"""Most outputs of a product."""
_PRODUCT = 8192
"""Most weights of a product: OpenBLAS starts threads from 9216 on."""
_LARGEST = 1024
"""Either part of the ratio of the rates, which bounds the table of weights; 11.025 to 16 kHz is 640/441."""
_PIECE = 1 << 15
"""Most inputs worked on at a time, which bounds memory."""


def output_count(n_samples: int, source_hz: int, target_hz: int) -> int:
    """Samples at `target_hz` that `n_samples` at `source_hz` give in all.

    They stand for the times n / target_hz that lie before the end of the input.
    """
    up, down = _ratio(source_hz, target_hz)
    return -(-n_samples * up // down)


def resample(samples: Samples, source_hz: int, target_hz: int) -> Samples:
    """A whole signal at another rate: what a `Resampler` gives for it.

    Args:
        samples: (samples,) float32 at `source_hz`; float64 is rounded.
        source_hz: its rate, a whole number of Hz.
        target_hz: the rate wanted.

    Returns:
        (output_count(samples, source_hz, target_hz),) float32.

    Raises:
        TypeError: samples that are not floating point, rates that are not whole numbers.
        ValueError: more than one axis; rates below 1, or in no ratio of small whole numbers.
    """
    resampler = Resampler(source_hz, target_hz)
    return np.concatenate((resampler.push(samples), resampler.flush()))


def low_pass(up: int, down: int) -> NDArray[np.float64]:
    """The odd, symmetric filter at `up` times the source rate, with a sum of `up`."""
    slowest = max(up, down)  # one sample of the slower side, in samples of the filter
    width = (1 - _PASS) / 2  # of the transition band, over the lower rate
    half = ceil((_STOP_DB - 7.95) / (14.36 * width) / 2 * slowest)
    at = np.arange(-half, half + 1)
    taps = np.sinc(at * (1 + _PASS) / 2 / slowest) * np.kaiser(2 * half + 1, 0.1102 * (_STOP_DB - 8.7))
    return np.asarray(taps * (up / taps.sum()))


class Resampler:
    """Samples of one rate in, samples of another out, in blocks of any length.

    Between calls it holds the few milliseconds of input that later outputs need. Not-finite samples
    spoil the outputs within a few milliseconds of them and no others.
    """

    def __init__(self, source_hz: int, target_hz: int) -> None:
        self.source_hz, self.target_hz = source_hz, target_hz
        self._plan = _plan(*_ratio(source_hz, target_hz))
        self.reset()

    def reset(self) -> None:
        """Forgets everything: the next sample is the first of a stream."""
        self._held = np.zeros(self._plan.lead, np.float32)
        self._start = 0  # where _held begins, in inputs since `lead` before the first
        self._taken = 0  # inputs so far
        self._groups = 0  # groups of outputs made so far
        self._finished = False

    def push(self, samples: Samples) -> Samples:
        """Takes the next block and gives the outputs that it completes.

        Args:
            samples: (samples,) float32 at `source_hz`, any length; float64 is rounded.

        Returns:
            (outputs,) float32 at `target_hz`, possibly none. After N inputs the number of outputs so far
            depends on N only.

        Raises:
            TypeError: samples that are not floating point.
            ValueError: more than one axis.
            RuntimeError: the stream was flushed and not reset.
        """
        if self._finished:
            raise RuntimeError("push() after flush(): call reset() to begin a new stream")
        block = as_samples(samples)
        self._taken += block.size
        if self._plan.up == self._plan.down:
            return block.copy()
        return self._filter(block)

    def flush(self) -> Samples:
        """Ends the stream and gives the outputs that were held back, as if silence followed."""
        self._finished = True
        plan = self._plan
        wanted = output_count(self._taken, self.source_hz, self.target_hz) - self._groups * plan.group
        if plan.up == plan.down or wanted == 0:
            return np.zeros(0, np.float32)
        inputs = plan.inputs + (wanted + plan.group) * plan.down // plan.up + 1
        return self._filter(np.zeros(inputs, np.float32))[:wanted]

    def _filter(self, block: Samples) -> Samples:
        plan, first = self._plan, self._groups
        ready = plan.ready(self._start + self._held.size + block.size)
        out = np.empty((ready - first, plan.group), np.float32)
        for at in range(0, block.size, _PIECE):
            x = np.concatenate((self._held, block[at : at + _PIECE]))
            begin, end = self._groups, plan.ready(self._start + x.size)
            for group in range(begin, min(end, begin + len(plan.weights))):
                rows = out[group - first : end - first : len(plan.weights)]
                inputs: Samples = np.ndarray(
                    (len(rows), 1, plan.inputs),
                    np.float32,
                    x,
                    offset=4 * (plan.position(group) - self._start),
                    strides=(4 * plan.period, 4, 4),
                )
                with np.errstate(over="ignore", invalid="ignore"):
                    np.matmul(inputs, plan.weights[group % len(plan.weights)], out=rows[:, None])
            self._groups = end
            drop = min(plan.position(end) - self._start, x.size)
            self._held = x[drop:].copy()
            self._start += drop
        return out.reshape(-1)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything that depends on the ratio only. Inputs count from `lead` before the stream's first."""

    up: int
    down: int
    half: int
    """The filter's reach to either side, in samples at `up` times the source rate."""
    group: int
    """Outputs of a product."""
    inputs: int
    """Inputs of a product."""
    period: int
    """Inputs after which the weights come round again."""
    weights: tuple[Samples, ...]
    """(inputs, group) for each group of a period."""

    @property
    def lead(self) -> int:
        """Silent inputs before the first one that its output needs."""
        return self.half // self.up

    def position(self, group: int) -> int:
        """First input of a group."""
        return self.lead - (self.half - group * self.group * self.down) // self.up

    def ready(self, n: int) -> int:
        """Groups of which all inputs are among the first `n`: those with position(group) + inputs <= n."""
        last = (self.half + (n - self.inputs - self.lead) * self.up) // (self.group * self.down)
        return max(0, last + 1)


@lru_cache(maxsize=8)
def _plan(up: int, down: int) -> _Plan:
    taps = low_pass(up, down)
    half = taps.size // 2
    group = _GROUP
    while group > 1 and group * _inputs(up, down, half, group) > _PRODUCT:
        group //= 2
    inputs = _inputs(up, down, half, group)
    groups = up // gcd(up, group)
    weights = []
    for i in range(groups):
        begin = -((half - i * group * down) // up)
        # Output n is the sum over inputs k of x[k] taps[n down - k up].
        at = (i * group + np.arange(group)) * down - (begin + np.arange(inputs)[:, None]) * up
        weights.append(
            np.where(np.abs(at) <= half, taps[np.clip(at + half, 0, 2 * half)], 0).astype(np.float32)
        )
    return _Plan(up, down, half, group, inputs, groups * group * down // up, tuple(weights))


def _inputs(up: int, down: int, half: int, group: int) -> int:
    """Inputs that `group` outputs in a row can touch, wherever they begin."""
    return (2 * half + (group - 1) * down) // up + 1


def _ratio(source_hz: int, target_hz: int) -> tuple[int, int]:
    try:
        source, target = operator.index(source_hz), operator.index(target_hz)
    except TypeError:
        raise TypeError(f"rates must be whole numbers of Hz, got {source_hz!r} and {target_hz!r}") from None
    if source < 1 or target < 1:
        raise ValueError(f"rates must be positive, got {source} Hz and {target} Hz")
    common = gcd(source, target)
    up, down = target // common, source // common
    if max(up, down) > _LARGEST:
        raise ValueError(
            f"cannot resample {source} Hz to {target} Hz: a part of the ratio {up}/{down} is over {_LARGEST}"
        )
    return up, down
