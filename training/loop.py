"""The training loop; read `fit` from top to bottom.

A run that was interrupted and resumed equals one that was not, to the bit on a CPU: last.pt holds the
weights, their average, the optimizer, the place in the epoch and the generators' states, and
`Task.batches` repeats itself for the same epoch.
"""

import json
import math
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from training.atomic import replacing
from training.average import Average, keep
from training.checkpoint import generators, random_states, read, refuse_other, restore_random_states, save
from training.curves import draw
from training.loopspec import LoopSpec, Loss, Task
from training.optimizer import learning_rate, make_optimizer
from training.recipe import to_toml

DRAW_SECONDS = 30
"""Least time between two pictures of the curves: one takes longer than a small epoch."""

__all__ = ["LoopSpec", "Loss", "Task", "fit"]


def fit(task: Task, spec: LoopSpec, out_dir: Path | str, resume: bool = True) -> dict[str, Any]:  # noqa: PLR0912, PLR0915
    """Trains a model, or goes on with what an interrupted call left in `out_dir`.

    `out_dir` then holds recipe.toml, metrics.json, curves.png, last.pt (to resume) and best.pt: the dict
    `{"task", "recipe", "model", "metrics", "provenance"}`, which `torch.load(..., weights_only=True)` reads.

    Args:
        task: data, model and loss.
        spec: how to train.
        out_dir: created if need be; its files are replaced atomically.
        resume: False starts anew over an old run.

    Returns:
        The content of metrics.json: "metric", "history" (a row an epoch), "best" and "final" (rows of it),
        the same in every process.

    Raises:
        RecipeError: `out_dir` holds a run with another recipe.
        CheckpointError: its last.pt is damaged.
        FloatingPointError: the loss is not finite.
    """
    out = Path(out_dir)
    if spec.threads:
        torch.set_num_threads(spec.threads)
    strategy = "ddp" if spec.devices > 1 else "auto"
    fabric = Fabric(
        accelerator=spec.accelerator, strategy=strategy, devices=spec.devices, precision=_precision(spec)
    )
    fabric.launch()  # with several devices this command is started again for each further process
    with fabric.rank_zero_first():  # caches are built once
        task.prepare(fabric.device)
    steps = task.steps_per_epoch
    recipe = {**task.recipe, "loop": asdict(spec)}

    torch.manual_seed(spec.seed)  # the same first weights in every process
    module = task.model()
    model, optimizer = fabric.setup(module, make_optimizer(module, spec))
    average = Average(module, spec.ema_decay) if spec.ema_decay else None
    kept = average.module if average else module
    torch.manual_seed(spec.seed + 1_000_003 * (1 + fabric.global_rank))  # other noise in each

    epoch, step, spent = 0, 0, 0.0
    sums: dict[str, Tensor] = {}
    history: list[dict[str, Any]] = []
    if resume and (out / "last.pt").exists():
        state = read(out / "last.pt")
        refuse_other(out, state["recipe"], recipe)
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        fabric.strategy.precision.load_state_dict(state["precision"])
        if average:
            average.load_state_dict(state["average"])
        epoch, step, spent, history = state["epoch"], state["step"], state["spent_s"], state["history"]
        sums = {key: value.to(fabric.device) for key, value in state["sums"].items()}
        restore_random_states(fabric, state["random"])
    elif fabric.is_global_zero:
        shutil.rmtree(out / "kept", ignore_errors=True)  # an older run's epochs are no rivals of this one's
    if fabric.is_global_zero:
        with replacing(out / "recipe.toml") as draft:
            draft.write_text(to_toml(recipe), encoding="utf-8")
    started = saved = drawn = time.monotonic()

    def save_last() -> None:
        means = _mean(fabric, sums)
        if "loss" in means:
            _refuse_infinite(float(means["loss"]), epoch)  # a run could not go on from such weights
        state = {
            "recipe": recipe,
            "module": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "precision": fabric.strategy.precision.state_dict(),
            "average": average.state_dict() if average else None,
            "epoch": epoch,
            "step": step,
            "spent_s": spent + time.monotonic() - started,
            "history": history,
            "sums": means,
            "random": random_states(fabric),
        }
        if fabric.is_global_zero:
            save(out / "last.pt", state)

    bar = tqdm(
        desc=out.name,
        total=spec.epochs * steps,
        initial=epoch * steps + step,
        unit="step",
        mininterval=0.5 if sys.stderr.isatty() else 30,  # a log file wants few lines
        disable=not fabric.is_global_zero,
    )
    while epoch < spec.epochs:
        model.train()
        batches = task.batches(epoch, fabric.global_rank, fabric.world_size)
        for batch in _part(batches, step, steps, fabric.device):
            rate = learning_rate(spec, epoch * steps + step, steps)
            scalars = _step(fabric, task, model, optimizer, batch=batch, rate=rate, clip_norm=spec.clip_norm)
            if average:
                average.update(module)
            sums = {key: sums.get(key, 0) + value for key, value in scalars.items()}
            step += 1
            bar.update()
            if step % spec.log_steps == 0:
                bar.set_postfix(
                    epoch=epoch + 1, loss=f"{float(sums['loss']) / step:.4f}", lr=f"{rate:.1e}", refresh=False
                )
                if fabric.broadcast(time.monotonic() - saved) > 60 * spec.checkpoint_minutes:
                    save_last()
                    saved = time.monotonic()

        row: dict[str, Any] = {"epoch": epoch + 1, "lr": learning_rate(spec, (epoch + 1) * steps - 1, steps)}
        row |= {key: float(value) / steps for key, value in _mean(fabric, sums).items()}
        _refuse_infinite(row["loss"], epoch)
        epoch, step, sums = epoch + 1, 0, {}
        if epoch % spec.evaluate_epochs == 0 or epoch == spec.epochs:
            row["dev"] = fabric.broadcast(_evaluate(task, kept) if fabric.is_global_zero else None)
        history.append(row)
        if fabric.is_global_zero:
            metrics = _metrics(history, task.metric)
            weights = kept.state_dict()
            improved = metrics.get("best") is row
            if "dev" in row and spec.keep_best > 1:
                score = row["dev"][task.metric]
                improved, weights = keep(out / "kept", weights, epoch, score, spec.keep_best)
            if improved:
                run = {
                    "seed": spec.seed,
                    "epoch": epoch,
                    "steps": epoch * steps,
                    "torch": str(torch.__version__),
                }
                best = {
                    "task": task.name,
                    "recipe": recipe,
                    "model": weights,
                    "metrics": metrics["best"]["dev"],
                }
                save(out / "best.pt", best | {"provenance": {**task.provenance, "run": run}})
            with replacing(out / "metrics.json") as draft:
                draft.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
            if epoch == spec.epochs or time.monotonic() - drawn > DRAW_SECONDS:
                draw(history, task.metric, out / "curves.png")
                drawn = time.monotonic()
        save_last()
        saved = time.monotonic()
    bar.close()
    fabric.barrier()
    return _metrics(history, task.metric)


def _step(
    fabric: Fabric, task: Task, model: nn.Module, optimizer: Any, *, batch: Any, rate: float, clip_norm: float
) -> dict[str, Tensor]:
    """One optimizer step; returns the scalars to log, detached, in float64, still on the device."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]
    result = task.loss(model, fabric.to_device(batch))
    loss, extra = result if isinstance(result, tuple) else (result, {})
    fabric.backward(loss)
    if clip_norm:
        # float16 gradients may overflow: the scaler then skips the step, which is no error
        fabric.clip_gradients(model, optimizer, max_norm=clip_norm, error_if_nonfinite=False)
    optimizer.step()
    optimizer.zero_grad()
    return {key: value.detach().double() for key, value in {"loss": loss, **extra}.items()}


def _part(batches: Iterable[Any], first: int, end: int, device: torch.device) -> Iterator[Any]:
    """Batches `first` up to `end`. Those before are drawn and dropped, which leaves the generators alone."""
    held = [(generator, generator.get_state()) for generator in generators(device)]
    count = 0
    for count, batch in enumerate(batches, 1):
        if count == first:
            for generator, state in held:
                generator.set_state(state)
        if count > first:
            yield batch
        if count == end:
            return
    raise ValueError(f"the task promised {end} batches an epoch and gave {count}")


def _refuse_infinite(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} in epoch {epoch + 1}")


def _evaluate(task: Task, module: nn.Module) -> dict[str, float]:
    module.eval()
    with torch.no_grad():
        return {key: float(value) for key, value in task.evaluate(module).items()}


def _mean(fabric: Fabric, sums: dict[str, Tensor]) -> dict[str, Tensor]:
    """The sums of all processes, averaged (a collective call, on copies: it works in place)."""
    return {
        key: cast("Tensor", fabric.all_reduce(value.clone(), reduce_op="mean")) for key, value in sums.items()
    }


def _metrics(history: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    evaluated = [row for row in history if "dev" in row]
    best = {"best": max(evaluated, key=lambda row: row["dev"][metric])} if evaluated else {}
    return {"metric": metric, "history": history, **best, "final": history[-1]}


def _precision(spec: LoopSpec) -> Any:
    if spec.precision != "auto":
        return spec.precision
    if spec.accelerator == "cpu" or not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
