"""Log-mel filter banks as Kaldi computes them: whole and online through one code path.

A frame's features are a function of its own samples alone, to the bit: not of the block it came in, nor
of its place in the stream. Two things take care of that. All sums over a frame (mean, FFT, mel) are done
row by row: BLAS rounds differently for different row counts, so the mel product is a stack of
(1, bins) @ (bins, mels) products and never one (frames, bins) product. The rest is element by element.

Edges are snipped and nothing is dithered. Parity with kaldi-native-fbank and torchaudio, both against
this: mean error below 1e-4, largest below 5e-2 (the logarithm of energies near rounding noise).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from stapes.samples import Frames, Samples, as_samples
from stapes.spec import FbankSpec

_CHUNK = 32
"""Frames worked on at a time: their spectra stay in the cache, and memory does not grow with the input."""
_BAND = 4096
"""Most weights of one mel product. A filter touches few FFT bins, so narrow bands of filters skip most
zeros; and OpenBLAS starts threads only from 9216 weights on."""


def frame_count(n_samples: int, spec: FbankSpec) -> int:
    """Frames that `n_samples` samples give; a frame that would run over the end is not made."""
    if n_samples < spec.frame_samples:
        return 0
    return 1 + (n_samples - spec.frame_samples) // spec.hop_samples


def window(spec: FbankSpec) -> NDArray[np.float64]:
    """The (frame_samples,) window, as Kaldi's feature-window.cc: symmetric, without the scale."""
    n = spec.frame_samples
    if n == 1:
        return np.ones(1)
    cosine = np.cos(2 * np.pi * np.arange(n) / (n - 1))
    if spec.window == "hamming":
        return np.asarray(0.54 - 0.46 * cosine)
    hann = 0.5 - 0.5 * cosine
    return np.asarray(hann**0.85 if spec.window == "povey" else hann)


def mel_weights(spec: FbankSpec) -> NDArray[np.float64]:
    """The (fft_size // 2, mels) triangular filters over the power spectrum without its Nyquist bin.

    As Kaldi's mel-computations.cc: triangles in mel, mel = 1127 ln(1 + hz / 700), peaks of 1.
    """
    bins = np.arange(spec.fft_size // 2) * spec.sample_rate / spec.fft_size
    edges = np.linspace(_mel(spec.low_hz), _mel(spec.high_hz), spec.mels + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    at = _mel(bins)[:, None]
    up, down = (at - left) / (centre - left), (right - at) / (right - centre)
    return np.maximum(0.0, np.minimum(up, down))


def _mel(hz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log1p(np.asarray(hz) / 700.0))


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything that depends on the spec only."""

    window: Samples
    """(frame_samples,) with the scale folded in."""
    starts_above_zero: bool
    """Whether the window lets a frame's first sample through."""
    minus_preemphasis: np.float32
    keep: np.float32
    """Part of a constant that preemphasis lets through: 1 - preemphasis."""
    mean_scale: np.float32
    """From the sum of a frame to the part of its mean that preemphasis lets through."""
    floor: np.float32
    bands: tuple[tuple[slice, slice, Samples], ...]
    """FFT bins, mel channels, and the (bins, channels) weights between them."""


@lru_cache(maxsize=16)
def _plan(spec: FbankSpec) -> _Plan:
    weights = mel_weights(spec).astype(np.float32)
    bands: list[tuple[slice, slice, Samples]] = []
    start = 0
    while start < spec.mels:
        stop = start + 1
        bins = _used_bins(weights[:, start:stop])
        while stop < spec.mels:
            wider = _used_bins(weights[:, start : stop + 1])
            if (wider.stop - wider.start) * (stop + 1 - start) > _BAND:
                break
            stop, bins = stop + 1, wider
        bands.append((bins, slice(start, stop), np.ascontiguousarray(weights[bins, start:stop])))
        start = stop
    scaled = (window(spec) * spec.scale).astype(np.float32)
    keep = 1 - spec.preemphasis
    return _Plan(
        window=scaled,
        starts_above_zero=bool(scaled[0] != 0),
        minus_preemphasis=np.float32(-spec.preemphasis),
        keep=np.float32(keep),
        mean_scale=np.float32(keep / spec.frame_samples),
        floor=np.float32(spec.floor),
        bands=tuple(bands),
    )


def _used_bins(weights: Frames) -> slice:
    used = np.flatnonzero(weights.any(axis=1))
    return slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 1)


class FbankStream:
    """Samples in, frames out, in blocks of any length.

    Holds fewer samples than one frame between calls. Not-finite samples spoil the frames that they
    are in and no others; `Stream` replaces them before they come here.
    """

    def __init__(self, spec: FbankSpec) -> None:
        self.spec = spec
        self._plan = _plan(spec)
        size = (_CHUNK - 1) * spec.hop_samples + spec.frame_samples
        self._buffer = np.zeros(size, np.float32)
        self._emphasised = np.zeros(size, np.float32)
        self._shaped = np.zeros((_CHUNK, spec.frame_samples), np.float32)
        self._power = _aligned(_CHUNK, spec.fft_size // 2 + 1)
        self._frames = _overlapping(self._buffer, spec)
        self._emphasised_frames = _overlapping(self._emphasised, spec)
        self._held = 0
        self._finished = False

    def reset(self) -> None:
        """Forgets everything: the next sample is the first of a stream."""
        self._held = 0
        self._finished = False

    def accept(self, samples: Samples) -> Frames:
        """Takes the next block and gives the frames that it completes.

        Args:
            samples: (samples,) float32 in [-1, 1] at the spec's rate, any length; float64 is rounded.

        Returns:
            (frames, mels) float32, often with no frames.

        Raises:
            TypeError: samples that are not floating point.
            ValueError: more than one axis.
            RuntimeError: the stream was finished and not reset.
        """
        if self._finished:
            raise RuntimeError("accept() after finish(): call reset() to begin a new stream")
        block = as_samples(samples)
        spec, buffer, taken, made = self.spec, self._buffer, 0, 0
        frames = np.empty((frame_count(self._held + block.size, spec), spec.mels), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            while taken < block.size:
                more = min(buffer.size - self._held, block.size - taken)
                end = self._held + more
                buffer[self._held : end] = block[taken : taken + more]
                taken += more
                n = frame_count(end, spec)
                if n:
                    self._energies(end, frames[made : made + n])
                    made += n
                    buffer[: end - n * spec.hop_samples] = buffer[n * spec.hop_samples : end]
                self._held = end - n * spec.hop_samples
            if made:
                np.maximum(frames, self._plan.floor, out=frames)
                np.log(frames, out=frames)
        return frames

    def finish(self) -> Frames:
        """Ends the stream. Edges are snipped, so what is left gives no frame: (0, mels)."""
        self._finished = True
        self._held = 0
        return np.empty((0, self.spec.mels), np.float32)

    def _energies(self, end: int, out: Frames) -> None:
        """Mel energies (frames, mels) of the first `end` samples of the buffer, written to `out`."""
        plan, n = self._plan, len(out)
        x, emphasised = self._buffer[:end], self._emphasised[:end]
        # Kaldi takes the mean off each frame, then preemphasises it, x[i] - a x[i-1]. Preemphasis is linear:
        # done once for the overlapping frames, (1 - a) of each mean remains to be taken off.
        np.multiply(x[:-1], plan.minus_preemphasis, out=emphasised[1:])
        np.add(emphasised[1:], x[1:], out=emphasised[1:])
        shaped, frames = self._shaped[:n], self._frames[:n]
        if self.spec.remove_dc:
            mean = np.add.reduce(frames, axis=1, keepdims=True)
            mean *= plan.mean_scale
            np.subtract(self._emphasised_frames[:n], mean, out=shaped)
        else:
            mean = np.zeros((1, 1), np.float32)
            shaped[:] = self._emphasised_frames[:n]
        # A frame's first sample has none before it: Kaldi lets it stand in for that one.
        shaped[:, :1] = frames[:, :1] * plan.keep - mean if plan.starts_above_zero else 0
        shaped *= plan.window
        spectrum = np.fft.rfft(shaped, self.spec.fft_size).astype(np.complex64, copy=False)
        parts = spectrum.view(np.float32)  # real, imaginary, real, …
        parts *= parts
        power = np.add(parts[:, ::2], parts[:, 1::2], out=self._power[:n])
        for bins, channels, weights in plan.bands:
            np.matmul(power[:, None, bins], weights, out=out[:, None, channels])


def _aligned(rows: int, columns: int) -> Samples:
    """Zeros whose rows all begin at a multiple of 64 bytes: some BLAS round by where their input lies."""
    stride = -(-columns // 16) * 16
    room = np.zeros(rows * stride + 16, np.float32)
    begin = -(room.ctypes.data // 4) % 16
    return room[begin : begin + rows * stride].reshape(rows, stride)[:, :columns]


def _overlapping(buffer: Samples, spec: FbankSpec) -> Samples:
    """A (chunk, frame_samples) view of a buffer."""
    return as_strided(buffer, (_CHUNK, spec.frame_samples), (spec.hop_samples * 4, 4))


def fbank(samples: Samples, spec: FbankSpec) -> Frames:
    """Log-mel features of a whole signal: what a fresh `FbankStream` gives for it.

    Args:
        samples: (samples,) float32 in [-1, 1] at the spec's rate; float64 is rounded.
        spec: the front end.

    Returns:
        (frames, mels) float32.

    Raises:
        TypeError: samples that are not floating point.
        ValueError: more than one axis.
    """
    return FbankStream(spec).accept(samples)
