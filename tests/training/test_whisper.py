"""Whisper as a teacher: its front end against torch and scipy, its weights' readers, its stored features."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from torch.nn import functional as F

from training.ctranslate2 import WeightsError, parse
from training.utterances import read_manifest
from training.whisper import LANGUAGES, START, Whisper, WhisperTeacher, frame_count
from training.whisper_cache import Cached, CacheSpec, main, teacher_frames, write_features
from training.whisper_mel import WhisperMel, slaney_filters
from training.whisper_weights import Sizes, load_weights

SIZES = Sizes(mels=80, width=64, layers=2, decoder_layers=1, heads=1, vocabulary=51865)


@pytest.fixture(scope="module")
def network() -> Whisper:
    torch.manual_seed(0)
    network = Whisper(SIZES)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    return network


def _packed(arrays: dict[str, Tensor], aliases: dict[str, str]) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    out = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    for name, value in arrays.items():
        data = value.half().numpy().tobytes()
        out += text(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        out += struct.pack("<BI", 4, len(data)) + data
    out += struct.pack("<I", len(aliases))
    return out + b"".join(text(name) + text(target) for name, target in aliases.items())


def _ctranslate2(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names back to CTranslate2's, written out by hand."""
    out = {}
    for name, value in state.items():
        ct2 = name.replace(".", "/").replace("layers/", "layer_")
        ct2 = ct2.replace("/cross/", "/attention#/").replace("/attention/", "/self_attention/")
        ct2 = ct2.replace("attention#", "attention")
        for ours, theirs in (
            ("qkv", "linear_0"), ("query", "linear_0"), ("key_value", "linear_1"), ("up", "linear_0"),
            ("down", "linear_1"), ("tokens", "embeddings/weight"),
            ("positions", "position_encodings/encodings"),
        ):  # fmt: skip
            ct2 = ct2.replace(f"/{ours}", f"/{theirs}")
        ct2 = ct2.replace("/out/", "/linear_2/" if ".cross." in name else "/linear_1/")
        if "norm" in ct2:
            ct2 = ct2.replace("/norm", "/layer_norm").replace("weight", "gamma").replace("bias", "beta")
        out[ct2] = value
    return out


def _openai(state: dict[str, Tensor]) -> dict[str, Tensor]:
    out = {}
    names = {"ffn.norm": "mlp_ln", "ffn.up": "mlp.0", "ffn.down": "mlp.2", "attention.norm": "attn_ln"}
    names |= {"attention.out": "attn.out", "cross.norm": "cross_attn_ln", "cross.query": "cross_attn.query"}
    names |= {"cross.out": "cross_attn.out"}
    for name, value in state.items():
        part, *middle, end = name.split(".")
        if end == "tokens":
            out["decoder.token_embedding.weight"] = value
        elif end == "positions":
            out[f"{part}.positional_embedding"] = value
        elif middle[0] == "layers":
            kind, prefix = ".".join(middle[2:]), f"{part}.blocks.{middle[1]}"
            if kind in names:
                out[f"{prefix}.{names[kind]}.{end}"] = value
                continue
            fused = ("query", "key", "value") if kind == "attention.qkv" else ("key", "value")
            block = "attn" if kind == "attention.qkv" else "cross_attn"
            for each, piece in zip(fused, value.chunk(len(fused)), strict=True):
                if (each, end) != ("key", "bias"):
                    out[f"{prefix}.{block}.{each}.{end}"] = piece
        else:
            norm = "ln_post" if part == "encoder" else "ln"
            out[f"{part}.{norm if middle[0] == 'norm' else middle[0]}.{end}"] = value
    return out


def test_both_kinds_of_files_give_the_same_network(network: Whisper, tmp_path: Path) -> None:
    state = {name: value.half().float() for name, value in network.state_dict().items()}
    for name, value in state.items():  # OpenAI's keys have no bias
        if name.endswith(("qkv.bias", "key_value.bias")):
            value[-2 * SIZES.width : -SIZES.width] = 0
    data = _packed(_ctranslate2(state), {"decoder/projection/weight": "decoder/embeddings/weight"})
    for part, piece in (("b/model.bin.part2", data[1000:]), ("a/model.bin.part1", data[:1000])):
        (tmp_path / "parts" / part).parent.mkdir(parents=True)
        (tmp_path / "parts" / part).write_bytes(piece)
    (tmp_path / "openai").mkdir()
    torch.save({"dims": {}, "model_state_dict": _openai(state)}, tmp_path / "openai/model.pt")
    for folder in ("parts", "openai"):
        sizes, weights = load_weights(tmp_path / folder)
        assert sizes == SIZES
        assert weights.keys() == state.keys()
        for name, value in state.items():
            torch.testing.assert_close(weights[name], value, rtol=0, atol=0)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"neither model\.bin"):
        load_weights(tmp_path)
    data = _packed({"a": torch.ones(4)}, {})
    with pytest.raises(WeightsError, match=f"ends at byte {len(data) - 5}"):
        parse(data[:-5])
    with pytest.raises(WeightsError, match="version 77"):
        parse(struct.pack("<I", 77) + data[4:])
    (tmp_path / "model.bin").write_bytes(data.replace(b"WhisperSpec", b"ParrotsSpec"))
    with pytest.raises(WeightsError, match="ParrotsSpec"):
        load_weights(tmp_path)


def test_mel_filters_and_levels() -> None:
    filters = slaney_filters(80)
    # Slaney: 200/3 Hz a mel up to 15 mel = 1 kHz, then 27 mel a factor of 6.4; 82 edges up to 8 kHz
    top = 15 + 27 * np.log(8) / np.log(6.4)
    mel = np.arange(82) * top / 81
    edges = np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((np.maximum(mel, 15) - 15) / 27))
    hz = np.arange(201) * 40.0
    for number in (0, 5, 30, 79):
        left, centre, right = edges[number : number + 3]
        wanted = np.interp(hz, [left, centre, right], [0, 2 / (right - left), 0], left=0, right=0)
        np.testing.assert_allclose(filters[number], wanted, atol=1e-9)
    wave = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0)) * 0.1
    levels = WhisperMel()(wave)
    assert levels.shape == (1, 80, 100)
    # frame 50 by hand: 400 samples around sample 8000, periodic Hann
    piece = wave[0, 7800:8200].numpy() * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400))
    energy = np.log10(filters @ np.abs(np.fft.rfft(piece)) ** 2)
    np.testing.assert_allclose(levels[0, :, 50], (energy + 4) / 4, atol=1e-4)
    silence = WhisperMel()(F.pad(wave, (0, 16_000)))  # eight powers of ten under the loudest, not below
    torch.testing.assert_close(silence.min(), silence.max() - 2.0)


def test_features_of_a_batch_are_those_of_each_clip(network: Whisper) -> None:
    teacher = WhisperTeacher(network)
    waves = torch.randn(3, 8_123, generator=torch.Generator().manual_seed(1)) * 0.1
    first, last = teacher.features(waves, (0, -1), normalised=False)
    assert first.shape == last.shape == (3, frame_count(8_123), 64)
    torch.testing.assert_close(
        teacher.features(waves[1:2], normalised=False)[0], last[1:2], atol=1e-5, rtol=1e-5
    )
    normal = teacher.features(waves)[0]
    torch.testing.assert_close(normal.mean(-1), torch.zeros(normal.shape[:2]), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.var(-1, correction=0), torch.ones(normal.shape[:2]), atol=1e-2, rtol=0)
    with pytest.raises(ValueError, match="480001"):
        teacher.features(torch.zeros(1, 480_001))
    with pytest.raises(ValueError, match=r"wants \(batch, 400 to 480000 samples\), got \(1, 399\)"):
        teacher.features(torch.zeros(1, 399))


def test_language_posterior_is_the_first_steps(network: Whisper) -> None:
    teacher = WhisperTeacher(network)
    waves = torch.randn(2, 4_000, generator=torch.Generator().manual_seed(2))
    posterior, codes = teacher.languages(waves, 8_000)
    assert codes == LANGUAGES
    assert len(set(codes)) == 99
    torch.testing.assert_close(posterior.sum(1), torch.ones(2))
    # torch's own decoder layer with the same weights
    layer = torch.nn.TransformerDecoderLayer(
        64, 1, 256, 0.0, F.gelu, batch_first=True, norm_first=True
    ).eval()
    ours = network.decoder.layers[0].state_dict()
    cross = torch.cat([ours["cross.query.weight"], ours["cross.key_value.weight"]])
    cross_bias = torch.cat([ours["cross.query.bias"], ours["cross.key_value.bias"]])
    theirs = {"multihead_attn.in_proj_weight": cross, "multihead_attn.in_proj_bias": cross_bias}
    for end in ("weight", "bias"):
        theirs[f"self_attn.in_proj_{end}"] = ours[f"attention.qkv.{end}"]
        theirs[f"self_attn.out_proj.{end}"] = ours[f"attention.out.{end}"]
        theirs[f"multihead_attn.out_proj.{end}"] = ours[f"cross.out.{end}"]
        theirs[f"linear1.{end}"], theirs[f"linear2.{end}"] = ours[f"ffn.up.{end}"], ours[f"ffn.down.{end}"]
        for number, part in enumerate(("attention", "cross", "ffn"), 1):
            theirs[f"norm{number}.{end}"] = ours[f"{part}.norm.{end}"]
    layer.load_state_dict(theirs)
    memory = teacher.features(F.pad(waves, (0, 4_000)), normalised=False)[0]
    with torch.no_grad():
        step = layer((network.decoder.tokens[START] + network.decoder.positions[0]).expand(2, 1, 64), memory)
        logits = network.decoder.norm(step[:, 0]) @ network.decoder.tokens[START + 1 : START + 100].T
    torch.testing.assert_close(posterior, logits.softmax(-1), atol=1e-6, rtol=1e-4)


def test_stored_features_survive_an_interruption(network: Whisper, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number, samples in enumerate((4_000, 4_000, 100, 6_400, 4_000)):
        soundfile.write(tmp_path / f"{number}.wav", rng.uniform(-0.3, 0.3, samples), 16_000)
        rows.append({"audio": f"{number}.wav", "split": "train"})
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recordings, spec = read_manifest(tmp_path), CacheSpec((0, -1), rate_ms=40, languages_s=1)

    class Breaks(WhisperTeacher):
        left = 1

        def languages(self, waves: Tensor, window: int = 0) -> tuple[Tensor, tuple[str, ...]]:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            return super().languages(waves, window)

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        write_features(recordings, out, Breaks(network), spec)
    with (out / "draft.frames").open("ab") as torn, (out / "draft.jsonl").open("a") as line:
        torn.write(b"half a frame")
        line.write('{"key": "3.wa')
    teacher = WhisperTeacher(network)
    with pytest.raises(ValueError, match="other features"):
        write_features(recordings, out, teacher, CacheSpec())
    for _ in range(2):  # the second call finds all done
        write_features(recordings, out, teacher, spec)
    stored = Cached.open(out)
    posteriors = np.load(out / "posteriors.npy")
    assert json.loads((out / "classes.json").read_text()) == list(LANGUAGES)
    assert sorted(stored.index) == [row["audio"] for row in rows]
    assert not list(out.glob("draft*"))
    for number, key in enumerate(stored.index):
        wave = torch.from_numpy(soundfile.read(tmp_path / key, dtype="float32")[0])[None]
        wanted = teacher_frames(teacher, wave, spec)[0]
        np.testing.assert_allclose(stored[key], wanted, atol=5e-3)
        np.testing.assert_allclose(posteriors[number], teacher.languages(wave, 16_000)[0][0], atol=1e-6)


def test_a_long_clip_is_heard_in_parts(network: Whisper) -> None:
    teacher = WhisperTeacher(network)
    wave = torch.randn(1, 480_000 + 16_000, generator=torch.Generator().manual_seed(3)) * 0.1
    whole = teacher_frames(teacher, wave, CacheSpec())
    assert whole.shape == (1, 1550, 64)
    torch.testing.assert_close(whole[:, 1500:], teacher.features(wave[:, 480_000:])[0])


def test_what_is_missing_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(tmp_path / "none"), str(tmp_path / "out"), "--whisper", str(tmp_path)]
    assert main(command) == 1
    assert capsys.readouterr().err.startswith("python -m training.whisper_cache: ")
    (tmp_path / "manifest.jsonl").write_text('{"audio": "a.wav", "split": "train"}\n')
    assert main([str(tmp_path), *command[1:], "--rate-ms", "30"]) == 1
    assert "wants a multiple of 20" in capsys.readouterr().err


def test_real_whisper_names_languages() -> None:
    folder, data = os.environ.get("STAPES_WHISPER"), os.environ.get("STAPES_LANGUAGES")
    if not folder or not data:
        pytest.skip("STAPES_WHISPER (weights) and STAPES_LANGUAGES (recordings) are not set")
    from training.audio import read_audio

    recordings = [each for each in read_manifest(Path(data)) if each.split == "test"][::13][:24]
    teacher = WhisperTeacher.load(folder)
    right = 0
    for each in recordings:
        posterior, codes = teacher.languages(torch.from_numpy(read_audio(each.audio, 16_000))[None], 160_000)
        right += codes[int(posterior.argmax())] == each.fields["language"]
    assert right >= 0.75 * len(recordings)
