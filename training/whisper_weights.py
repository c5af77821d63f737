"""Whisper's weights from disk under this project's names: CTranslate2 files and OpenAI's own checkpoints."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from training.ctranslate2 import WeightsError, read_model


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a Whisper checkpoint's shapes say."""

    mels: int
    width: int
    layers: int
    decoder_layers: int
    heads: int
    vocabulary: int
    positions: int = 1500
    """Frames of 20 ms."""


def load_weights(folder: Path) -> tuple[Sizes, dict[str, Tensor]]:
    """Weights for `training.whisper.Whisper`, in float32.

    Args:
        folder: with a CTranslate2 model (model.bin, or its parts) or one OpenAI checkpoint (*.pt).

    Raises:
        WeightsError: neither, both, or another model.
    """
    checkpoints = sorted(folder.rglob("*.pt"))
    if len(checkpoints) == 1:
        raw = torch.load(checkpoints[0], map_location="cpu", weights_only=True)
        named = _from_openai(raw["model_state_dict"])
    elif checkpoints:
        raise WeightsError(f"{folder} holds {len(checkpoints)} .pt files, wants one")
    else:
        kind, arrays = read_model(folder)
        if kind != "WhisperSpec":
            raise WeightsError(f"{folder} holds a {kind}, wants a WhisperSpec")
        named = _from_ctranslate2(arrays)
    weights = {name: value.float() for name, value in named.items()}
    width, mels = weights["encoder.conv1.weight"].shape[:2]
    return Sizes(
        mels=mels,
        width=width,
        layers=_layers(weights, "encoder"),
        decoder_layers=_layers(weights, "decoder"),
        heads=width // 64,  # in all of Whisper's sizes
        vocabulary=len(weights["decoder.tokens"]),
        positions=len(weights["encoder.positions"]),
    ), weights


def _layers(weights: dict[str, Tensor], part: str) -> int:
    return len({name.split(".")[2] for name in weights if name.startswith(f"{part}.layers.")})


_CT2 = {
    "self_attention/layer_norm": "attention.norm",
    "self_attention/linear_0": "attention.qkv",
    "self_attention/linear_1": "attention.out",
    "attention/layer_norm": "cross.norm",
    "attention/linear_0": "cross.query",
    "attention/linear_1": "cross.key_value",
    "attention/linear_2": "cross.out",
    "ffn/layer_norm": "ffn.norm",
    "ffn/linear_0": "ffn.up",
    "ffn/linear_1": "ffn.down",
}


def _from_ctranslate2(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    out = {}
    ends = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}
    for name, value in arrays.items():
        part, *middle, end = name.split("/")
        if middle == ["embeddings"]:
            out["decoder.tokens"] = value
        elif middle == ["position_encodings"]:
            out[f"{part}.positions"] = value
        elif end in ends and middle != ["projection"]:  # that is the embeddings again
            if middle[0].startswith("layer_") and middle[0] != "layer_norm":
                number = middle[0].removeprefix("layer_")
                inner = f"layers.{number}.{_CT2['/'.join(middle[1:])]}"
            else:
                inner = "norm" if middle == ["layer_norm"] else middle[0]
            out[f"{part}.{inner}.{ends[end]}"] = value
    return out


_OPENAI = {
    "attn_ln": "attention.norm",
    "attn.out": "attention.out",
    "cross_attn_ln": "cross.norm",
    "cross_attn.query": "cross.query",
    "cross_attn.out": "cross.out",
    "mlp_ln": "ffn.norm",
    "mlp.0": "ffn.up",
    "mlp.2": "ffn.down",
}


def _from_openai(state: dict[str, Tensor]) -> dict[str, Tensor]:
    out = {"decoder.tokens": state["decoder.token_embedding.weight"]}
    for part in ("encoder", "decoder"):
        out[f"{part}.positions"] = state[f"{part}.positional_embedding"]
    for name, value in state.items():
        part, *middle, end = name.split(".")
        if not middle:
            continue
        if middle[0] == "blocks":
            prefix, inner = f"{part}.layers.{middle[1]}", ".".join(middle[2:])
            if inner in _OPENAI:
                out[f"{prefix}.{_OPENAI[inner]}.{end}"] = value
        elif middle[0] in ("conv1", "conv2"):
            out[f"{part}.{middle[0]}.{end}"] = value
        elif middle[0] in ("ln", "ln_post"):
            out[f"{part}.norm.{end}"] = value
    for name in [name for name in state if name.endswith(".key.weight")]:
        kind = name.removesuffix(".key.weight")
        part, _, number, attention = kind.split(".")
        weights = [state[f"{kind}.{each}.weight"] for each in ("query", "key", "value")]
        bias, value_bias = state[f"{kind}.query.bias"], state[f"{kind}.value.bias"]
        biases = [bias, torch.zeros_like(bias), value_bias]  # keys have none: it would cancel in the softmax
        first, inner = (0, "attention.qkv") if attention == "attn" else (1, "cross.key_value")
        out[f"{part}.layers.{number}.{inner}.weight"] = torch.cat(weights[first:])
        out[f"{part}.layers.{number}.{inner}.bias"] = torch.cat(biases[first:])
    return out
