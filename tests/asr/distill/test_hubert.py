"""HuBERT from disk: random weights of the real shape under three names, and fairseq's golden features."""

import os
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asr.distill.hubert import convert, load_hubert
from asr.distill.teachers import EncoderTeacher, load_teacher
from tests.tools.needs import package
from training.audio import read_audio
from training.ctranslate2 import WeightsError


def _random(layers: int, width: int) -> Any:
    """torchaudio's HuBERT of some size, with weights drawn faster than it does."""
    models = package("torchaudio", "its HuBERT is the oracle").models
    rest = {"encoder_pos_conv_groups": 16, "encoder_dropout": 0.0, "encoder_attention_dropout": 0.0}
    with torch.device("meta"):
        model = models.hubert_base() if width == 768 else models.wav2vec2_model(
            extractor_mode="group_norm", extractor_conv_layer_config=None, extractor_conv_bias=False,
            encoder_embed_dim=width, encoder_projection_dropout=0.0, encoder_pos_conv_kernel=128,
            encoder_num_layers=layers, encoder_num_heads=width // 64, encoder_ff_interm_features=2 * width,
            encoder_ff_interm_dropout=0.0, encoder_layer_norm_first=False, encoder_layer_drop=0.0,
            aux_num_out=None, **rest,
        )  # fmt: skip
    model = model.to_empty(device="cpu").eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.uniform_(-0.06, 0.06, generator=generator)
    return model


@pytest.fixture(scope="module")
def theirs() -> Any:
    return _random(2, 128)


@dataclass
class Configuration:
    """Stands for the objects that fairseq stores beside the weights."""

    normalize: bool = False


def _fairseq(state: dict[str, Tensor]) -> dict[str, Tensor]:
    pairs = [
        (r"encoder\.feature_projection\.layer_norm", "layer_norm"),
        (r"encoder\.feature_projection\.projection", "post_extract_proj"),
        (r"encoder\.transformer\.pos_conv_embed\.conv", "encoder.pos_conv.0"),
        (r"parametrizations\.weight\.original0", "weight_g"),
        (r"parametrizations\.weight\.original1", "weight_v"),
        (r"conv_layers\.(\d)\.conv\.", r"conv_layers.\1.0."),
        (r"conv_layers\.0\.layer_norm\.", "conv_layers.0.2."),
        (r"attention\.", "self_attn."),
        (r"(\d)\.layer_norm\.", r"\1.self_attn_layer_norm."),
        (r"feed_forward\.intermediate_dense", "fc1"),
        (r"feed_forward\.output_dense", "fc2"),
        (r"encoder\.transformer\.", "encoder."),
    ]
    out = OrderedDict()
    for name, value in state.items():
        for pattern, replacement in pairs:
            name = re.sub(pattern, replacement, name)  # noqa: PLW2901
        out[name] = value
    return out


@pytest.mark.parametrize(("layers", "width"), [(2, 128), (12, 768)])
def test_every_layer_is_torchaudios(layers: int, width: int) -> None:
    """Of a small one and, on weights of the real shape, of HuBERT Base."""
    theirs = _random(layers, width)
    encoder, units = convert(theirs.state_dict())
    waves = torch.randn(2, 3_000, generator=torch.Generator().manual_seed(1)) * 0.1
    with torch.no_grad():
        wanted, _ = theirs.extract_features(waves)
    assert units is None
    assert (encoder.spec.layers, encoder.spec.width) == (layers, width)
    given = EncoderTeacher(encoder, "").features(waves, range(1, layers + 1))
    for ours, layer in zip(given, wanted, strict=True):
        torch.testing.assert_close(ours, layer, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["transformers", "fairseq", "fairseq with objects"])
def test_other_names_and_files(theirs: Any, kind: str, tmp_path: Path) -> None:
    state = theirs.state_dict()
    wanted = convert(state)[0].state_dict()
    embeddings, weight, bias = torch.randn(504, 256), torch.randn(256, 128), torch.randn(256)
    if kind == "transformers":
        saved: Any = {
            f"hubert.{name.replace('encoder.transformer.', 'encoder.')}": v for name, v in state.items()
        }
        saved = {
            name.replace("encoder.feature_projection", "feature_projection"): v for name, v in saved.items()
        }
    else:
        model = _fairseq(state) | {"mask_emb": torch.zeros(128), "label_embs_concat": embeddings}
        saved = {"model": model | {"final_proj.weight": weight, "final_proj.bias": bias}}
        if kind == "fairseq with objects":
            saved["cfg"] = {"task": Configuration(), "paths": [Path("/nowhere")]}
    torch.save(saved, tmp_path / "hubert.pt")
    encoder, units = load_hubert(tmp_path / "hubert.pt")
    for name, value in wanted.items():
        torch.testing.assert_close(encoder.state_dict()[name], value, rtol=0, atol=0)
    if kind == "transformers":
        assert units is None
    else:
        assert units is not None
        frame = torch.randn(1, 1, 128)
        cosine = torch.cosine_similarity(frame @ weight.T + bias, embeddings, -1)
        torch.testing.assert_close(units(frame)[0, 0], cosine[0] / 0.1, atol=1e-4, rtol=1e-4)


def test_what_is_no_hubert_is_refused(theirs: Any, tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(2)}}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="no HuBERT"):
        load_hubert(tmp_path / "other.pt")
    state = theirs.state_dict()
    state.pop("encoder.transformer.layers.1.final_layer_norm.weight")
    with pytest.raises(WeightsError, match=r"layers\.1\.last_norm"):
        convert(state)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_hubert(tmp_path / "gone.pt")
    with pytest.raises(ValueError, match="no teacher is called 'parrot'"):
        load_teacher("parrot")


def test_golden_features_of_fairseq() -> None:
    """Layer 9 of HuBERT Base on a clip of LibriSpeech, out of fairseq's sdist (examples/hubert/tests)."""
    weights, golden = os.environ.get("STAPES_HUBERT"), os.environ.get("STAPES_HUBERT_GOLDEN")
    if not weights or not golden:
        pytest.skip("STAPES_HUBERT (checkpoint) and STAPES_HUBERT_GOLDEN (folder) are not set")
    folder = Path(golden)
    wave = torch.from_numpy(read_audio(next(folder.glob("*.flac")), 16_000))[None]
    teacher, _ = load_teacher(f"hubert:{weights}")
    (features,) = teacher.features(wave, (9,))
    np.testing.assert_allclose(features[0], np.load(folder / "sample.base.L9.npy"), atol=1e-2)
