"""HuBERT checkpoints from disk: torchaudio's, fairseq's and transformers' names into ours."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from asr.distill.units import Units
from training.ctranslate2 import WeightsError
from training.encoder.network import Encoder
from training.encoder.spec import HUBERT_BASE, EncoderSpec

_NAMES = [
    # ours, and what it is called elsewhere; the number of a layer is carried over
    (r"front.convolutions.#.weight", r"feature_extractor.conv_layers.#.(?:conv|0).weight"),
    (r"front.group_norm.@", r"feature_extractor.conv_layers.0.(?:layer_norm|2).@"),
    (r"front.norm.@", r"(?:(?:encoder.)?feature_projection.)?layer_norm.@"),
    (r"front.project.@", r"(?:(?:encoder.)?feature_projection.projection|post_extract_proj).@"),
    (
        r"position.gain",
        r"{t}(?:pos_conv.0|pos_conv_embed.conv).(?:weight_g|parametrizations.weight.original0)",
    ),
    (
        r"position.direction",
        r"{t}(?:pos_conv.0|pos_conv_embed.conv).(?:weight_v|parametrizations.weight.original1)",
    ),
    (r"position.bias", r"{t}(?:pos_conv.0|pos_conv_embed.conv).bias"),
    (r"norm.@", r"{t}layer_norm.@"),
    (r"layers.#.query.@", r"{t}layers.#.(?:attention|self_attn).q_proj.@"),
    (r"layers.#.key.@", r"{t}layers.#.(?:attention|self_attn).k_proj.@"),
    (r"layers.#.value.@", r"{t}layers.#.(?:attention|self_attn).v_proj.@"),
    (r"layers.#.out.@", r"{t}layers.#.(?:attention|self_attn).out_proj.@"),
    (r"layers.#.norm.@", r"{t}layers.#.(?:self_attn_)?layer_norm.@"),
    (r"layers.#.up.@", r"{t}layers.#.(?:feed_forward.intermediate_dense|fc1).@"),
    (r"layers.#.down.@", r"{t}layers.#.(?:feed_forward.output_dense|fc2).@"),
    (r"layers.#.last_norm.@", r"{t}layers.#.final_layer_norm.@"),
]


def _pattern(theirs: str) -> re.Pattern[str]:
    for dot, regex in ((".", r"\."), ("{t}", r"encoder\.(?:transformer\.)?")):
        theirs = theirs.replace(dot, regex)
    return re.compile(theirs.replace("#", r"(?P<number>\d+)").replace("@", r"(?P<end>weight|bias)"))


_RULES = [(ours, _pattern(theirs)) for ours, theirs in _NAMES]


def load_hubert(path: Path | str) -> tuple[Encoder, Units | None]:
    """An encoder, in eval mode, and its units, which only fairseq's checkpoints hold.

    Args:
        path: a file of torch.save: torchaudio's or transformers' state dict, or a checkpoint of fairseq.

    Raises:
        WeightsError: no HuBERT of the base kind (group norm, post-norm), with what is missing.
    """
    return convert(_read(Path(path)))


def convert(state: Mapping[str, Tensor]) -> tuple[Encoder, Units | None]:
    """`load_hubert` of a state dict."""
    # transformers' names of a model with a head begin with "hubert."
    state = {name.removeprefix("hubert."): value for name, value in state.items()}
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        ours = _ours(name)
        if ours:
            found[ours] = value.float()
    try:
        spec = _spec(found)
        for layer in range(spec.layers):
            for end in ("weight", "bias"):
                parts = [found.pop(f"layers.{layer}.{part}.{end}") for part in ("query", "key", "value")]
                found[f"layers.{layer}.query_key_value.{end}"] = torch.cat(parts)
    except KeyError as error:
        raise WeightsError(f"no HuBERT: {error} is missing") from None
    with torch.device("meta"):
        encoder = Encoder(spec)
    try:
        encoder.load_state_dict(found, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"no HuBERT of the base kind: {error}") from None
    units = None
    if "label_embs_concat" in state and "final_proj.weight" in state:
        embeddings = state["label_embs_concat"].float()
        units = Units.of(embeddings, state["final_proj.weight"].float(), state["final_proj.bias"].float())
    return encoder.eval().requires_grad_(False), units


def _ours(name: str) -> str | None:
    for ours, pattern in _RULES:
        match = pattern.fullmatch(name)
        if match:
            groups = match.groupdict()
            return ours.replace("#", groups.get("number") or "").replace("@", groups.get("end") or "")
    return None


def _spec(found: Mapping[str, Tensor]) -> EncoderSpec:
    layers = {name.split(".")[1] for name in found if name.startswith("layers.")}
    width, per_group, kernel = found["position.direction"].shape
    return EncoderSpec(
        front="waveform",
        layers=len(layers),
        width=width,
        inner=len(found["layers.0.up.weight"]),
        heads=HUBERT_BASE.heads if width % 64 else width // 64,
        dropout=0.0,
        position_kernel=kernel,
        position_groups=width // per_group,
    )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # fairseq stores its configuration as objects beside the weights
        raw = torch.load(path, map_location="cpu", weights_only=False, pickle_module=_TENSORS_ONLY)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error}") from None
    state = raw.get("model", raw.get("state_dict", raw))
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


class _Dropped:
    """Stands for an object of a class that is not wanted."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """Drops it."""


class _Unpickler(pickle.Unpickler):
    """Knows tensors and containers; everything else becomes nothing, and no code of the file is run."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2")}
        allowed |= {("torch._utils", "_rebuild_parameter")}
        if (module, name) in allowed or (module == "torch" and name.endswith("Storage")):
            return super().find_class(module, name)
        return _Dropped


def _load(file: Any, **settings: Any) -> Any:
    return _Unpickler(file, **settings).load()


_TENSORS_ONLY: Any = SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__="tensors_only")
