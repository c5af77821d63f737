"""A network with what it needs only while it learns."""

from typing import Any

import torch
from torch import Tensor, nn

from dialect_id.head import CosineHead
from dialect_id.network import DialectNet
from dialect_id.recipe import DialectRecipe
from training.recipe import build


class Student(nn.Module):
    """All that the loss reads, by one call of forward: other methods are hidden while DDP wraps a module."""

    def __init__(
        self,
        net: DialectNet,
        embedding: int,
        teacher_width: int = 0,
        *,
        hops: bool = False,
        steps: int = 0,
    ) -> None:
        """Wraps a network.

        Args:
            net: whose forward is classifier(dropout(embed(…))).
            embedding: width of what its `embed` gives.
            teacher_width: of the teacher's frames; 0: none are learnt.
            hops: whether the guesses after each hop are learnt too.
            steps: channels of the last block's steps, if the teacher's frames are learnt from them; else 0.
        """
        super().__init__()
        self.net, self.hops = net, hops
        self.to_teacher = nn.Linear(embedding, teacher_width) if teacher_width else None
        self.to_frames = nn.Linear(steps, teacher_width) if steps else None

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...] | Tensor:
        """Logits of (batch, frames, mels).

        In training (logits (batch, hops or 1, labels), the embedding as a teacher's frame (batch, width or
        0), the last block's steps as a teacher's frames (batch, steps or 0, width)); in evaluation the
        network's own (batch, labels).
        """
        net = self.net
        if not self.training:
            return torch.as_tensor(net(frames, lengths))
        told = frames[:, :0]
        if self.to_frames:
            embeddings, steps = net.hops_and_steps(frames, lengths)
            embeddings = embeddings if self.hops else embeddings[:, -1:]
            told = self.to_frames(steps)
        elif self.hops:
            embeddings = net.embed_hops(frames, lengths)
        else:
            embeddings = net.embed(frames, lengths)[:, None]
        logits = net.classifier(net.dropout(embeddings))
        last = embeddings[:, -1]
        return logits, self.to_teacher(last) if self.to_teacher else last[:, :0], told


def make_network(recipe: DialectRecipe, labels: int) -> DialectNet:
    """A network by a recipe, with random weights."""
    network = DialectNet(recipe.network, recipe.features.mels, labels)
    if recipe.head.kind == "cosine":
        network.add_module("classifier", CosineHead(recipe.network.embedding, labels, recipe.head))
    return network


def load_network(checkpoint: dict[str, Any]) -> tuple[DialectNet, DialectRecipe, tuple[str, ...]]:
    """The network of a checkpoint, in eval mode, the recipe that it was trained by, and its labels.

    Raises:
        RecipeError: the checkpoint's recipe has unknown keys.
        KeyError: no labels in its provenance.
        RuntimeError: weights that do not fit the recipe's network.
    """
    recipe = build(DialectRecipe, checkpoint["recipe"])
    labels = tuple(checkpoint["provenance"]["labels"])
    network = make_network(recipe, len(labels))
    prefix = "net."
    weights = {
        key.removeprefix(prefix): value
        for key, value in checkpoint["model"].items()
        if key.startswith(prefix)
    }
    network.load_state_dict(weights)
    return network.eval(), recipe, labels
