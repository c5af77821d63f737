"""The log-mel front end against Kaldi's own code, torchaudio, and the definition written out."""

import json
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stapes.fbank import FbankStream, fbank, frame_count, mel_weights
from stapes.samples import Frames, Samples
from stapes.spec import FbankSpec
from tests.tools import needs

MEAN, LARGEST = 1e-4, 5e-2
LENGTHS = [0, 1, 399, 400, 401, 559, 560, 16_000, 16_001, 23_457]
SPECS = [
    FbankSpec(),
    FbankSpec(mels=23, window="hamming", scale=32768.0),
    FbankSpec(mels=80, scale=32768.0),
    FbankSpec(mels=80, window="hann"),
    FbankSpec(mels=40, window="hamming", remove_dc=False),
    FbankSpec(preemphasis=0.0, window="hamming"),
    FbankSpec(sample_rate=8_000, mels=40, high_hz=4_000.0),
    FbankSpec(sample_rate=8_000, mels=23, high_hz=3_800.0, low_hz=64.0, window="hann", scale=32768.0),
    FbankSpec(frame_ms=20.0, hop_ms=20.0, mels=80, low_hz=0.0),
]
NAMES = [f"{s.sample_rate // 1000}k-{s.mels}-{s.window}-{s.scale:g}-{i}" for i, s in enumerate(SPECS)]


def signal(n: int, seed: int = 0) -> Samples:
    """Noise whose level wanders over 60 dB, on an offset, with a tone."""
    rng = np.random.default_rng(seed)
    level = 10 ** (-1.5 + 1.5 * np.sin(np.arange(n) / 3_000))
    x = 0.2 * level * rng.standard_normal(n) + 0.05 + 0.1 * np.sin(np.arange(n) * 0.3)
    return x.clip(-1, 1).astype(np.float32)


def close(ours: Frames, theirs: Frames) -> None:
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    if ours.size:
        error = np.abs(ours - theirs)
        assert error.mean() < MEAN
        assert error.max() < LARGEST


def kaldi(x: Samples, spec: FbankSpec) -> Frames:
    knf = needs.package("kaldi_native_fbank", "compare with")
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = spec.sample_rate
    options.frame_opts.frame_length_ms = spec.frame_ms
    options.frame_opts.frame_shift_ms = spec.hop_ms
    options.frame_opts.dither = 0
    options.frame_opts.preemph_coeff = spec.preemphasis
    options.frame_opts.remove_dc_offset = spec.remove_dc
    options.frame_opts.window_type = {"hann": "hanning"}.get(spec.window, spec.window)
    options.mel_opts.num_bins = spec.mels
    options.mel_opts.low_freq = spec.low_hz
    options.mel_opts.high_freq = spec.high_hz
    online = knf.OnlineFbank(options)
    online.accept_waveform(spec.sample_rate, x * np.float32(spec.scale))
    online.input_finished()
    frames = [online.get_frame(i) for i in range(online.num_frames_ready)]
    return np.array(frames, np.float32).reshape(len(frames), spec.mels)


def torchaudio(x: Samples, spec: FbankSpec) -> Frames:
    torch = needs.package("torch", "compare with")
    compliance = needs.package("torchaudio.compliance.kaldi", "compare with")
    frames = compliance.fbank(
        torch.from_numpy(x[None] * np.float32(spec.scale)),
        sample_frequency=spec.sample_rate,
        frame_length=spec.frame_ms,
        frame_shift=spec.hop_ms,
        dither=0.0,
        preemphasis_coefficient=spec.preemphasis,
        remove_dc_offset=spec.remove_dc,
        window_type={"hann": "hanning"}.get(spec.window, spec.window),
        num_mel_bins=spec.mels,
        low_freq=spec.low_hz,
        high_freq=spec.high_hz,
    )
    result: Frames = frames.numpy().reshape(-1, spec.mels)
    return result


def definition(x: Samples, spec: FbankSpec) -> Frames:
    """Kaldi's steps one frame at a time, in float64."""
    n = spec.frame_samples
    cosine = np.cos(2 * np.pi * np.arange(n) / (n - 1))
    hann, hamming = 0.5 - 0.5 * cosine, 0.54 - 0.46 * cosine
    shape = {"povey": hann**0.85, "hann": hann, "hamming": hamming}
    rows = []
    for start in range(0, len(x) - n + 1, spec.hop_samples):
        frame = x[start : start + n].astype(np.float64) * spec.scale
        if spec.remove_dc:
            frame = frame - frame.mean()
        frame = frame - spec.preemphasis * np.concatenate((frame[:1], frame[:-1]))
        power = np.abs(np.fft.rfft(frame * shape[spec.window], spec.fft_size)) ** 2
        rows.append(np.log(np.maximum(filters(spec) @ power, spec.floor)))
    return np.array(rows, np.float32).reshape(len(rows), spec.mels)


@lru_cache
def filters(spec: FbankSpec) -> NDArray[np.float64]:
    """(mels, fft_size // 2 + 1), by loops, from mel-computations.cc."""

    def mel(hz: float) -> float:
        return 1127.0 * float(np.log(1.0 + hz / 700.0))

    step = (mel(spec.high_hz) - mel(spec.low_hz)) / (spec.mels + 1)
    weights = np.zeros((spec.mels, spec.fft_size // 2 + 1))
    for m in range(spec.mels):
        left = mel(spec.low_hz) + m * step
        for k in range(spec.fft_size // 2):
            at = mel(k * spec.sample_rate / spec.fft_size) - left
            if 0 < at < 2 * step:
                weights[m, k] = at / step if at <= step else (2 * step - at) / step
    return weights


@pytest.mark.parametrize("oracle", [kaldi, torchaudio, definition])
@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
def test_equals_oracle(spec: FbankSpec, oracle: type) -> None:
    for length in LENGTHS:
        if oracle is torchaudio and length < spec.frame_samples:
            continue  # it refuses signals shorter than a frame
        x = signal(length, seed=length)
        close(fbank(x, spec), oracle(x, spec))


@pytest.mark.parametrize("spec", [FbankSpec(), FbankSpec(mels=80, scale=32768.0)], ids=["40", "80"])
@pytest.mark.parametrize("oracle", [kaldi, torchaudio])
@pytest.mark.parametrize("corpus", ["an4", "coffee_orders", "noise"])
def test_equals_oracle_on_real_audio(corpus: str, oracle: type, spec: FbankSpec, shared_data: Path) -> None:
    soundfile = needs.package("soundfile", "read real audio")
    lines = (shared_data / corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    for line in lines[:: len(lines) // 4]:
        path = shared_data / corpus / json.loads(line)["audio"]
        x, rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert rate == 16_000
        close(fbank(x[:, 0], spec), oracle(np.ascontiguousarray(x[:, 0]), spec))


def test_silence_is_the_floor() -> None:
    spec = FbankSpec(floor=1e-5)
    frames = fbank(np.zeros(16_000, np.float32), spec)
    np.testing.assert_array_equal(frames, np.log(np.float32(1e-5)))


def test_filters_equal_the_loops() -> None:
    for spec in SPECS:
        np.testing.assert_allclose(mel_weights(spec).T, filters(spec)[:, :-1], atol=1e-11)


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
def test_frame_count_is_what_comes(spec: FbankSpec) -> None:
    for n in LENGTHS:
        brute = len(range(0, n - spec.frame_samples + 1, spec.hop_samples))
        assert frame_count(n, spec) == len(fbank(signal(n), spec)) == brute


@settings(deadline=None, max_examples=60)
@given(
    cuts=st.lists(st.integers(0, 9_000), max_size=25),
    n=st.integers(0, 9_000),
    spec=st.sampled_from(SPECS),
)
def test_any_cutting_gives_the_same_bits(cuts: list[int], n: int, spec: FbankSpec) -> None:
    x = signal(n)
    stream = FbankStream(spec)
    edges = [0, *sorted(min(c, n) for c in cuts), n]
    pieces = [stream.accept(x[a:b]) for a, b in pairwise(edges)]
    pieces.append(stream.finish())
    np.testing.assert_array_equal(np.concatenate(pieces), fbank(x, spec))


@pytest.mark.parametrize("block", [1, 7, 160, 512, 1_600, 16_000])
@pytest.mark.parametrize("mels", [23, 40, 80])
def test_equal_blocks_give_the_same_bits(block: int, mels: int) -> None:
    spec, x = FbankSpec(mels=mels), signal(12_345)
    stream = FbankStream(spec)
    online = np.concatenate([stream.accept(x[i : i + block]) for i in range(0, len(x), block)])
    np.testing.assert_array_equal(online, fbank(x, spec))


@settings(deadline=None, max_examples=30)
@given(shift=st.integers(0, 200), mels=st.sampled_from([23, 40, 80]))
def test_a_frame_does_not_know_its_place(shift: int, mels: int) -> None:
    """Nothing drifts: the same samples give the same bits whatever came before them."""
    spec = FbankSpec(mels=mels)
    x = signal(8_000)
    before = signal(shift * spec.hop_samples, seed=1)
    np.testing.assert_array_equal(fbank(np.concatenate((before, x)), spec)[shift:], fbank(x, spec))


def test_reset_begins_a_new_stream() -> None:
    stream = FbankStream(FbankSpec())
    stream.accept(signal(12_345, seed=3))
    stream.reset()
    x = signal(4_000)
    np.testing.assert_array_equal(stream.accept(x), fbank(x, FbankSpec()))
    assert stream.finish().shape == (0, 40)
    with pytest.raises(RuntimeError, match="reset"):
        stream.accept(x)
    stream.reset()
    np.testing.assert_array_equal(stream.accept(x), fbank(x, FbankSpec()))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("at", [7_999, 8_000, 8_001, 8_079])
def test_bad_samples_spoil_their_own_frames_only(bad: float, at: int) -> None:
    x = signal(16_000)
    spoilt = x.copy()
    spoilt[at] = bad
    a, b = fbank(x, FbankSpec()), fbank(spoilt, FbankSpec())
    touched = [i for i in range(len(a)) if i * 160 <= at < i * 160 + 400]
    np.testing.assert_array_equal(np.delete(a, touched, 0), np.delete(b, touched, 0))
    stream = FbankStream(FbankSpec())
    online = np.concatenate([stream.accept(spoilt[i : i + 480]) for i in range(0, 16_000, 480)])
    np.testing.assert_array_equal(online, b)


def test_samples_are_not_written_to_and_any_layout_is_read() -> None:
    x = signal(4_000)
    x.flags.writeable = False
    wanted = fbank(x, FbankSpec())
    np.testing.assert_array_equal(fbank(np.repeat(x, 2)[::2], FbankSpec()), wanted)
    np.testing.assert_array_equal(fbank(x.astype(np.float64), FbankSpec()), wanted)
    np.testing.assert_array_equal(fbank(x.astype(">f4"), FbankSpec()), wanted)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8, np.bool_, np.float16, np.complex64])
def test_other_dtypes_are_refused_by_name(dtype: type) -> None:
    with pytest.raises(TypeError, match=np.dtype(dtype).name):
        fbank(np.zeros(800, dtype), FbankSpec())


@pytest.mark.parametrize("shape", [(), (1, 800), (800, 2)])
def test_other_shapes_are_refused_with_numbers(shape: tuple[int, ...]) -> None:
    stream = FbankStream(FbankSpec())
    with pytest.raises(ValueError, match=r"shape \(" + ", ".join(map(str, shape))):
        stream.accept(np.zeros(shape, np.float32))
    x = signal(2_000)
    np.testing.assert_array_equal(stream.accept(x), fbank(x, FbankSpec()))
