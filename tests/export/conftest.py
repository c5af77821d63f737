"""Small modules of every kind that a task may export, and a task made of them."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from export.simplify import operators, simplify
from export.torch_to_onnx import to_onnx
from stapes.fbank import fbank
from stapes.samples import Frames, Samples
from stapes.spec import FbankSpec, ModelSpec, StateSpec, WindowSpec
from training.exportable import Exportable, Runner

FEATURES = FbankSpec(mels=8)
LABELS = ("_silence_", "yes", "no")
PARAMS = {
    "thresholds": {"yes": 0.5, "no": 0.5},
    "smooth_hops": 1,
    "refractory_ms": 500,
    "background": ["_silence_"],
}


class Stateful(nn.Module):
    """A causal convolution, batch normalisation, and a window of nodes over it: one score each 4 frames."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 16, 3, bias=False)
        self.norm = nn.BatchNorm1d(16)
        self.classifier = nn.Linear(16 * 2, 3)

    def forward(self, frames: Tensor, history: Tensor, window: Tensor) -> tuple[Tensor, ...]:
        joined = torch.cat((history, (frames + 5) / 4), dim=1)
        nodes = torch.relu(self.norm(self.conv(joined.transpose(1, 2)))).transpose(1, 2)
        seen = torch.cat((window, nodes), dim=1)
        starts = torch.arange(frames.shape[1] // 4) * 4
        pooled = (
            seen[:, starts[:, None] + torch.arange(8)].unflatten(2, (2, 4)).mean(3)
        )  # (batch, hops, 2, 16)
        return torch.softmax(self.classifier(pooled.flatten(2, 3)), dim=-1), joined[:, -2:], seen[:, -4:]


class Sliding(nn.Module):
    """Two convolutions and a mean over the window: one score."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 6, 1),
            nn.BatchNorm2d(6),
        )
        self.classifier = nn.Linear(6, 3)

    def forward(self, frames: Tensor) -> tuple[Tensor]:
        maps = self.layers(((frames + 5) / 4).unsqueeze(1))
        return (torch.softmax(self.classifier(maps.mean((2, 3))), dim=-1).unsqueeze(1),)


class Segment(nn.Module):
    """Self-attention over all frames: one score a frame."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.classifier = nn.Linear(8, 3)

    def forward(self, frames: Tensor) -> tuple[Tensor]:
        x = self.norm(frames)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return (torch.softmax(self.classifier(x), dim=-1),)


class Deceitful(Stateful):
    """Computes something else while it is exported."""

    def forward(self, frames: Tensor, history: Tensor, window: Tensor) -> tuple[Tensor, ...]:
        scores, *states = super().forward(frames, history, window)
        return (scores * 0.99 if torch.compiler.is_exporting() else scores, *states)


STATEFUL = ModelSpec(
    name="small",
    task="kws",
    features=FEATURES,
    window=WindowSpec(frames=8, hop=4, mode="stateful"),
    labels=LABELS,
    states=(StateSpec("history", (2, 8)), StateSpec("window", (4, 16))),
    params=PARAMS,
)
SPEECH = replace(STATEFUL, window=WindowSpec(frames=50, hop=4, mode="segment"))
SLIDING = replace(STATEFUL, window=WindowSpec(frames=20, hop=4), states=())
SEGMENT = replace(STATEFUL, window=WindowSpec(frames=50, hop=1, mode="segment"), states=())


def built(kind: type[nn.Module], seed: int = 0) -> nn.Module:
    """A module in eval mode whose batch normalisation does something."""
    torch.manual_seed(seed)
    module = kind()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean = torch.randn(layer.num_features)
            layer.running_var = torch.rand(layer.num_features) + 0.5
    return module.eval()


def clips(count: int = 3) -> list[Samples]:
    """Tones in noise, loud and soft by turns."""
    generator = np.random.default_rng(0)
    time = np.arange(16_000) / 16_000
    made = []
    for number in range(count):
        tone = np.sin(2 * np.pi * generator.uniform(200, 3000) * time) * np.sin(2 * np.pi * 3 * time + number)
        made.append((0.3 * tone + 0.01 * generator.normal(size=16_000)).astype(np.float32))
    return made


@dataclass
class Task:
    """What the fake `kws.exporting` gives; tests change it before they export."""

    module: Callable[[], nn.Module] = lambda: built(Stateful)
    spec: ModelSpec = STATEFUL
    calibration_gain: float = 1.0
    clips: Callable[[], list[Samples]] = clips

    def exportable(self, checkpoint: dict[str, object], data: Path | None) -> Exportable:
        del data
        module = self.module()
        module.load_state_dict(checkpoint["model"])  # type: ignore[arg-type]
        features = [fbank(samples, FEATURES)[:96] for samples in clips(8)]
        truths = [_torch_scores(module, frames) for frames in features]

        def accuracy(runner: Runner) -> float:
            guesses = np.concatenate([runner(frames).argmax(-1) for frames in features])
            best = np.sort(np.concatenate(truths), axis=-1)
            clear = best[:, -1] - best[:, -2] > 0.05  # ties are nobody's error
            return float((guesses == np.concatenate(truths).argmax(-1))[clear].mean())

        heard = [np.float32(self.calibration_gain) * frames for frames in features]
        return Exportable(module, self.spec, lambda: heard, accuracy, self.clips)


def _torch_scores(module: nn.Module, frames: Frames) -> Frames:
    with torch.inference_mode():
        scores: Tensor = module(torch.from_numpy(frames[None]), torch.zeros(1, 2, 8), torch.zeros(1, 4, 16))[
            0
        ]
    return scores[0].numpy()


Exported = tuple[nn.Module, ModelSpec, Path, dict[str, int], dict[str, int]]


@pytest.fixture(scope="session")
def small() -> ModuleType:
    """The names of this file, for tests: they cannot import it."""
    return sys.modules[__name__]


@pytest.fixture(scope="session", params=["Stateful", "Sliding", "Segment"])
def exported(
    request: pytest.FixtureRequest, small: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """A module, its spec, a folder with before.onnx and after.onnx, and the operators of both."""
    module = small.built(getattr(small, request.param))
    spec = getattr(small, request.param.upper())
    folder = tmp_path_factory.mktemp(request.param)
    graph = to_onnx(module, spec)
    ir.save(graph, folder / "before.onnx")
    before = operators(graph)
    simplify(graph)
    ir.save(graph, folder / "after.onnx")
    return module, spec, folder, before, operators(graph)


@pytest.fixture
def task() -> Iterator[Task]:
    """A task that `export` finds under the name "kws"."""
    made = Task()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "kws.exporting", SimpleNamespace(exportable=made.exportable))
        yield made


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of that task."""
    path = tmp_path / "best.pt"
    torch.save(
        {
            "task": "kws",
            "recipe": {"network": {"kind": "small"}, "loop": {"epochs": 1}},
            "model": built(Stateful).state_dict(),
            "metrics": {"accuracy": 0.5},
            "provenance": {"data": ["tones"]},
        },
        path,
    )
    return path
