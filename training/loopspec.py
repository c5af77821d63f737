"""What the training loop is told (LoopSpec) and what it asks of a task (Task)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from training.recipe import RecipeError

Loss = Tensor | tuple[Tensor, Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class LoopSpec:
    """How to train: the "loop" table of a recipe."""

    epochs: int = 50
    batch: int = 128
    """Clips of one step and one process; the task reads it, the loop does not."""
    lr: float = 0.01
    """Peak learning rate; it is not scaled by `devices`."""
    shares: dict[str, float] = field(default_factory=dict)
    """Of `lr`, by the beginning of weights' names: below 1 for what another task has taught already. Where
    two beginnings fit, the later one in the table counts."""
    schedule: Literal["cosine", "constant", "noam"] = "cosine"
    """noam: falls with the root of the step, from the peak at the end of the warm-up."""
    warmup_epochs: float = 1.0
    """Linear rise from zero before the schedule."""
    warmup_steps: int = 0
    """The same in optimizer steps, instead of epochs if not 0."""
    optimizer: Literal["sgd", "adamw", "muon"] = "adamw"
    """muon: for the matrices and kernels of layers, AdamW for the rest (training.muon)."""
    momentum: float = 0.9
    """Of SGD (Nesterov); for AdamW its beta1; Muon keeps its own 0.95."""
    beta2: float = 0.999
    """Of AdamW."""
    epsilon: float = 1e-8
    """Of AdamW."""
    weight_decay: float = 0.01
    """On weights only: never on norms, biases or other vectors."""
    clip_norm: float = 5.0
    """Gradients are scaled down to this norm; 0 turns it off."""
    ema_decay: float = 0.999
    """Of the averaged weights that are evaluated and kept; 0 keeps the plain weights."""
    keep_best: int = 1
    """best.pt is the mean of the weights of this many best epochs; its figures are the best epoch's own."""
    evaluate_epochs: int = 1
    """Epochs between two evaluations; the last epoch always has one."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """auto: 32-true on a CPU, bf16-mixed on a GPU that knows it, else 16-mixed."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    """Processes on this machine, each with its own device (DDP when more than one)."""
    seed: int = 0
    threads: int = 0
    """CPU threads of each process; 0 leaves torch's choice."""
    checkpoint_minutes: float = 10.0
    """last.pt is also written within an epoch, this often; it is always written after one."""
    log_steps: int = 20
    """Steps between two updates of the progress bar; last.pt may be written there."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "devices", "evaluate_epochs", "log_steps", "keep_best"):
            if getattr(self, name) < 1:
                raise RecipeError(f"loop.{name} must be at least 1, got {getattr(self, name)}")
        signless = (
            "warmup_epochs",
            "warmup_steps",
            "weight_decay",
            "clip_norm",
            "threads",
            "checkpoint_minutes",
        )
        for name in signless:
            if not getattr(self, name) >= 0:
                raise RecipeError(f"loop.{name} must not be negative, got {getattr(self, name)}")
        for name in ("momentum", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise RecipeError(f"loop.{name} must lie in [0, 1), got {getattr(self, name)}")
        for name, share in self.shares.items():
            if not share > 0:
                raise RecipeError(f"loop.shares: that of {name!r} must be positive, got {share}")
        if not self.lr > 0:
            raise RecipeError(f"loop.lr must be positive, got {self.lr}")


class Task(Protocol):
    """What is trained; the loop reads these members and writes none."""

    @property
    def name(self) -> str:
        """The checkpoint's "task", such as "kws"."""

    @property
    def recipe(self) -> dict[str, Any]:
        """The resolved recipe (recipe.to_dict); the loop sets its "loop" table to the LoopSpec."""

    @property
    def provenance(self) -> dict[str, Any]:
        """Data, licences, commit: plain values for the checkpoint."""

    @property
    def metric(self) -> str:
        """The key of `evaluate` to maximise."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch, the same in every process; read after `prepare`."""

    def prepare(self, device: torch.device) -> None:
        """Called once in each process, before all below: open files, move data."""

    def model(self) -> nn.Module:
        """A new model with random weights, drawn from torch's global generator."""

    def batches(self, epoch: int, rank: int, world: int) -> Iterable[Any]:
        """At least `steps_per_epoch` batches for process `rank` of `world`, as nested tensors.

        The loop moves them to the device. Random choices depend on the arguments and the task's seed alone,
        so that a resumed run can draw the same batches again.
        """

    def loss(self, model: nn.Module, batch: Any) -> Loss:
        """A scalar to minimise, or that and further scalars to log.

        Only `model(...)` may be called, no other method: DDP and mixed precision wrap the call. Random
        choices here come from torch's global generators.
        """

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on the dev part; called without gradients, with the float32 model in eval mode."""
