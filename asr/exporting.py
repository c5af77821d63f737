"""A trained recogniser as `export` wants it: a streaming encoder with CTC, and a decoder that writes."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.attention import blocked
from asr.decoder import Decoder, DecoderBlock
from asr.errors import error_rate
from asr.recipe import AsrRecipe
from asr.stbd import Stbd
from asr.task import load_network, split_of
from asr.text import NORMALISERS
from stapes.fbank import fbank
from stapes.model import Model
from stapes.samples import Frames, Samples
from stapes.scoring import judge
from stapes.spec import ModelSpec, StateSpec, WindowSpec
from training.audio import read_audio
from training.exportable import Exportable
from training.utterances import ManifestError, Recording, read_manifest

LONGEST_S = 60
"""Speech that goes on for so long is cut at its best pause."""
JUDGED = 200
"""Dev recordings that int8 is judged on."""
CALIBRATION_CLIPS = 100
PARITY_CLIPS = 4


class Streaming(nn.Module):
    """(frames of one hop, states) to CTC's posteriors, next states, and the decoder's keys and values."""

    def __init__(self, net: Stbd) -> None:
        super().__init__()
        self.net = net

    def forward(self, frames: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """See Stbd.stream; the memory is (batch, steps, blocks * 2 * heads * width / heads)."""
        net = self.net
        heard, *kept = net.stream(frames, *states)
        scores = net.ctc(heard).softmax(-1)
        if not net.spec.decoder.blocks:
            return (scores, *kept)
        source = net.decoder.source(heard)  # (blocks, 2, batch, heads, steps, width / heads)
        return (scores, *kept, source.permute(2, 4, 0, 1, 3, 5).flatten(2))


class Writing(nn.Module):
    """Tokens, past and memory to log-posteriors of what follows, as `stapes.reader` has it."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        spec = decoder.spec
        self.decoder = decoder
        self.shape = (spec.blocks, spec.heads, spec.width // spec.heads)

    def forward(self, tokens: Tensor, past: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One token more of each text, or several at once.

        Args:
            tokens: (texts, tokens).
            past: (blocks, 2, texts, heads, tokens so far, width / heads).
            memory: (blocks, 2, heads, steps, width / heads), the same for all texts.

        Returns:
            (texts, tokens, symbols), and the past with these tokens.
        """
        decoder, before = self.decoder, past.shape[4]
        at = before + torch.arange(tokens.shape[1], device=tokens.device)
        causal = blocked(torch.arange(before + tokens.shape[1], device=tokens.device) <= at[:, None])
        x = decoder.embed(tokens.unsqueeze(0), at)
        kept = []
        for block, mine, heard in zip(decoder.blocks, past.unbind(0), memory.unbind(0), strict=True):
            x, grown = cast("DecoderBlock", block).step(x, mine, heard.unsqueeze(1), None, causal)
            kept.append(grown)
        logits = F.linear(decoder.norm(x), decoder.embedding)[0]
        return logits.log_softmax(-1), torch.stack(kept)


def exportable(checkpoint: dict[str, Any], data: Path | None) -> Exportable:
    """Modules, spec and judges of a recogniser's checkpoint.

    The final text is the decoder's choice among CTC's texts, where there is a decoder ("rescore").

    Args:
        checkpoint: what training wrote to best.pt.
        data: folder of data sets, ../shared/data by default.

    Raises:
        RecipeError: the recipe in the checkpoint is not understood.
        TypeError: its network has no CTC, or hears whole recordings only.
        ManifestError: a data folder is missing.
    """
    net, recipe = load_network(checkpoint)
    encoder = recipe.network.encoder
    if not encoder.chunk or not recipe.network.ctc:
        raise TypeError("only a network with CTC that streams in chunks is exported")
    names = ("keys", "values", *["past"] * bool(encoder.convolution), "count")
    writes = recipe.network.decoder.blocks > 0
    spec = ModelSpec(
        name=recipe.name,
        task="asr",
        features=recipe.features,
        window=WindowSpec(
            frames=round(LONGEST_S * 1000 / recipe.features.hop_ms), hop=encoder.hop, mode="segment"
        ),
        labels=recipe.symbols,
        states=tuple(
            StateSpec(name, tuple(state.shape[1:]))
            for name, state in zip(names, net.encoder.start(1), strict=True)
        ),
        params={
            "step_frames": encoder.stack,
            "search": "rescore" if writes else "ctc",
            "directions": recipe.directions,
            "backwards": {"both": 0.5, "l2r": 0.0, "r2l": 1.0}[recipe.directions],
        },
        # without the symbols, which are the labels
        provenance={"recipe": {key: x for key, x in checkpoint["recipe"].items() if key != "symbols"}},
    )
    normalise = NORMALISERS[recipe.data.normaliser]
    rate = recipe.features.sample_rate

    @cache
    def dev() -> list[tuple[Recording, str]]:
        return list(_dev(recipe, data or Path("../shared/data")))

    def heard(most: int) -> Iterator[Samples]:
        for each, _ in dev()[:: max(1, len(dev()) // most)]:
            yield read_audio(each.audio, rate)

    def calibration() -> Iterator[Frames]:
        for samples in heard(CALIBRATION_CLIPS):
            yield fbank(samples, recipe.features)

    def right(model: Model) -> float:
        chosen = dev()[:: max(1, len(dev()) // JUDGED)]
        given = [
            normalise(str(judge(model, read_audio(each.audio, rate), rate)["text"])) for each, _ in chosen
        ]
        return 1 - error_rate([normalise(text) for _, text in chosen], given, recipe.data.unit)

    return Exportable(
        Streaming(net).eval(),
        spec,
        calibration,
        None,
        lambda: heard(PARITY_CLIPS),
        one_hop=True,
        second=Writing(net.decoder).eval() if writes else None,
        int8="dynamic",
        judge=right,
    )


def _dev(recipe: AsrRecipe, root: Path) -> Iterator[tuple[Recording, str]]:
    """The recipe's dev recordings and their texts."""
    for name, part in recipe.data.dev.items():
        folder = root / name
        if not folder.is_dir():
            raise ManifestError(f"there is no folder {folder}")
        for each in read_manifest(folder):
            if split_of(each, recipe.data.held.get(name, 0.0)) in part.splits and each.fields.get("text"):
                yield each, str(each.fields["text"])
