"""Whisper (arXiv 2212.04356) as a teacher: its encoder's features, and its posterior over languages.

The architecture written anew; weights come from disk (training.whisper_weights) and are never part of a
checkpoint. Unlike the original, the encoder takes clips shorter than 30 s as they are: their positions are
the first ones, and nothing is computed for silence.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.ctranslate2 import WeightsError
from training.whisper_mel import FFT, HOP, RATE, WhisperMel
from training.whisper_weights import Sizes, load_weights

WINDOW = 30 * RATE
"""Samples that Whisper was trained on, and the most it takes."""
START = 50258
"""<|startoftranscript|> of the multilingual vocabulary; the languages follow it."""
_CODES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no "
    "th ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw "
    "gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl "
    "mg as tt haw ln ha ba jw su"
)
LANGUAGES = tuple(_CODES.split())
"""Whisper's codes, in the order of its tokens: ISO 639-1 but for "haw" and "jw" (Javanese)."""


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (_split(part, self.heads) for part in self.qkv(self.norm(x)).chunk(3, -1))
        heard = self.out(_joined(F.scaled_dot_product_attention(query, key, value)))
        return torch.as_tensor(x + heard)


class _CrossAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        query = _split(self.query(self.norm(x)), self.heads)
        key, value = (_split(part, self.heads) for part in self.key_value(memory).chunk(2, -1))
        heard = self.out(_joined(F.scaled_dot_product_attention(query, key, value)))
        return torch.as_tensor(x + heard)


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(x + self.down(F.gelu(self.up(self.norm(x)))))


class _EncoderLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = _SelfAttention(width, heads)
        self.ffn = _FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.ffn(self.attention(x)))


class _DecoderLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = _SelfAttention(width, heads)
        self.cross = _CrossAttention(width, heads)
        self.ffn = _FeedForward(width)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        return torch.as_tensor(self.ffn(self.cross(self.attention(x), memory)))


class WhisperEncoder(nn.Module):
    """(batch, mels, frames) to (batch, ceil(frames / 2), width): pre-norm blocks on two convolutions."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(sizes.mels, sizes.width, 3, padding=1)
        self.conv2 = nn.Conv1d(sizes.width, sizes.width, 3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.zeros(sizes.positions, sizes.width))
        self.layers = nn.ModuleList(_EncoderLayer(sizes.width, sizes.heads) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, mel: Tensor) -> list[Tensor]:
        """What the convolutions heard, then each block's output, the last one normalised."""
        heard = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = heard + self.positions[: heard.shape[1]]
        states = [heard]
        for layer in self.layers:
            x = layer(x)
            states.append(x)
        states[-1] = self.norm(x)
        return states


class WhisperDecoder(nn.Module):
    """The decoder's first step, which is all that naming the language takes: its history is one token."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.zeros(sizes.vocabulary, sizes.width))
        self.positions = nn.Parameter(torch.zeros(448, sizes.width))
        self.layers = nn.ModuleList(
            _DecoderLayer(sizes.width, sizes.heads) for _ in range(sizes.decoder_layers)
        )
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, memory: Tensor) -> Tensor:
        """(batch, vocabulary) logits of what follows <|startoftranscript|>."""
        x = (self.tokens[START] + self.positions[0]).expand(len(memory), 1, -1)
        for layer in self.layers:
            x = layer(x, memory)
        return torch.as_tensor(self.norm(x)[:, 0] @ self.tokens.T)


class Whisper(nn.Module):
    """Encoder and decoder of a checkpoint's sizes."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = WhisperEncoder(sizes)
        self.decoder = WhisperDecoder(sizes)


class WhisperTeacher:
    """A frozen Whisper that gives features and language posteriors of clips."""

    def __init__(self, network: Whisper, dtype: torch.dtype = torch.float32) -> None:
        self.network = network.eval().requires_grad_(False).to(dtype)
        self.mel = WhisperMel(network.sizes.mels)
        self.dtype = dtype

    @classmethod
    def load(cls, folder: Path | str, dtype: torch.dtype = torch.bfloat16) -> Self:
        """A teacher from weights on disk.

        Args:
            folder: see `training.whisper_weights.load_weights`.
            dtype: to compute in; bfloat16 is several times faster on processors that know it.

        Raises:
            WeightsError: no Whisper is there.
        """
        sizes, weights = load_weights(Path(folder))
        network = Whisper(sizes)
        network.load_state_dict(weights)
        return cls(network, dtype)

    @property
    def name(self) -> str:
        """Which Whisper it is, by its sizes."""
        return f"Whisper, {self.depth} × {self.width}"

    @property
    def width(self) -> int:
        """Of a feature."""
        return self.network.sizes.width

    @property
    def depth(self) -> int:
        """Transformer layers."""
        return self.network.sizes.layers

    @torch.no_grad()
    def features(
        self, waves: Tensor, layers: Sequence[int] = (-1,), *, normalised: bool = True
    ) -> tuple[Tensor, ...]:
        """Hidden states of the encoder.

        Args:
            waves: (batch, samples) float32 in [-1, 1] at 16 kHz, at most 30 s, of one length.
            layers: 0 is the convolutions' output before positions are added, k the k-th block's output;
                negative ones count from the end.
            normalised: bring each frame to mean 0 and variance 1 over its channels. Pre-norm blocks add to
                one sum, a few channels of which grow into the hundreds; no loss should hear these alone.

        Returns:
            (batch, frames, width) float32 for each layer. Frame t is centred on sample 320 t, and there are
            `frame_count(samples)` of them.

        Raises:
            ValueError: clips too short or too long.
        """
        states = self._encode(waves)
        chosen = [states[layer].float() for layer in layers]
        return tuple(F.layer_norm(x, x.shape[-1:]) for x in chosen) if normalised else tuple(chosen)

    @torch.no_grad()
    def languages(self, waves: Tensor, window: int = WINDOW) -> tuple[Tensor, tuple[str, ...]]:
        """(batch, 99) posteriors of `LANGUAGES`, and these codes.

        Args:
            waves: (batch, samples) at 16 kHz; what is longer than the window is cut off.
            window: samples to which clips are filled up with silence, as Whisper was trained: 30 s.

        Raises:
            WeightsError: an English-only model.
        """
        if self.network.sizes.vocabulary != 51865:
            raise WeightsError(f"{self.network.sizes.vocabulary} tokens: no multilingual Whisper")
        waves = waves[:, :window]
        memory = self._encode(F.pad(waves, (0, window - waves.shape[1])))[-1]
        logits = self.network.decoder(memory).float()
        return logits[:, START + 1 : START + 1 + len(LANGUAGES)].softmax(-1), LANGUAGES

    def _encode(self, waves: Tensor) -> list[Tensor]:
        if waves.ndim != 2 or not FFT <= waves.shape[1] <= WINDOW:
            raise ValueError(f"wants (batch, {FFT} to {WINDOW} samples), got {tuple(waves.shape)}")
        states: list[Tensor] = self.network.encoder(self.mel(waves).to(self.dtype))
        return states


def frame_count(samples: int) -> int:
    """Features, 20 ms apart, of a clip."""
    return -(-(samples // HOP) // 2)


def _split(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads).transpose(1, 2)


def _joined(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(-2)
