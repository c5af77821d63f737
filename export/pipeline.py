"""The steps from a checkpoint to a model file, in order. A file appears only if all of them passed."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from export import checkpoint as checkpoints
from export.errors import ExportError, ParityError
from export.parity import RandomParity, RealParity, pieces, random_parity, real_parity, runner
from export.provenance import with_provenance
from export.quantise import Quantised, mean_difference, quantise, quantise_dynamically, refuse_drop
from export.second_graph import memory_shape, pack, second_parity, second_to_onnx
from export.simplify import operators, simplify
from export.torch_to_onnx import OPSET, to_onnx
from stapes import onnxfile
from stapes.fbank import fbank
from stapes.model import Model
from stapes.samples import Samples
from stapes.stream import Stream
from training.atomic import replacing
from training.exportable import Exportable
from training.inside import put_inside

Say = Callable[[str], None]
CUTTING = 1237
"""Samples of a block: no multiple of anything."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was written."""

    path: Path
    size: int
    """In bytes."""
    opset: int
    operators: dict[str, int]
    nodes_before: int
    """Graph nodes as torch's exporter left them."""
    nodes_after: int
    random: RandomParity
    real: RealParity
    quantised: Quantised | None = None
    """What int8 costs, where it was asked for."""
    second: float | None = None
    """Largest difference of the second graph's log-posteriors on random input, where there is one."""


def export(
    source: Path,
    target: Path,
    data: Path | None = None,
    int8: bool = False,
    say: Say = lambda _: None,
    *,
    teacher: str = "",
    language: Path | None = None,
) -> Report:
    """Turns a checkpoint into a checked and stamped model file.

    Args:
        source: a checkpoint of one of the tasks.
        target: where the file is to be, ending in .onnx. An older one is replaced only by a good one.
        data: folder of recordings, None for the task's usual place.
        int8: quantise, if the dev accuracy allows it.
        say: is told of each step.
        teacher: where a student's teacher's weights are, to judge int8 by it.
        language: a language model for the same labels, from `python -m asr language-model`.

    Raises:
        ExportError: the checkpoint, its graph, or the int8 accuracy is not good enough; the message says why.
        OSError: the checkpoint cannot be read or the target not be written.
    """
    if target.suffix != ".onnx":
        raise ExportError(f"the model file must end in .onnx, got {target.name!r}")
    checkpoint = checkpoints.read(source)
    found = checkpoints.exportable(checkpoint, data, teacher)
    clips = list(found.clips())
    if not clips:
        raise ExportError("no real audio to check parity on: give the data folder with --data")
    with replacing(target) as draft, tempfile.TemporaryDirectory() as work:
        draft.touch()  # a folder that cannot be written is told before the long work
        folder = Path(work)
        module, spec = found.module, found.spec
        two = found.second is not None
        graph = to_onnx(module, spec, found.one_hop, two)
        before = sum(operators(graph).values())
        simplify(graph)
        after = sum(operators(graph).values())
        say(f"exported {spec.name!r}, task {spec.task}: {before} nodes, {after} after simplification")
        plain, stamped = folder / "plain.onnx", folder / "float.onnx"
        ir.save(graph, plain)
        second = _second(found, folder)
        onnxfile.stamp(_joined(plain, folder / "second.onnx", two), stamped, spec)
        model = Model.load(stamped)
        random = random_parity(module, spec, stamped, memory=two)
        real = _worst(real_parity(module, each, clips) for each in (model, *_variants(found, model)))
        say(f"parity on random features: {random.whole:.1e} whole, {random.chunked:.1e} hop by hop")
        say(f"parity on {real.clips} recordings, {real.steps} steps, through stapes: {real.scores:.1e}")
        figures: dict[str, Any] = {"opset": OPSET, "parity": {"random": asdict(random), "real": asdict(real)}}
        if second is not None:
            say(f"parity of the second graph: {second:.1e}")
            figures["parity"]["second"] = second
        quantised = None
        if int8:
            quantised, plain, model = _quantise(found, plain, model, clips, folder)
            whole, small = 100 * quantised.accuracy_float, 100 * quantised.accuracy
            say(f"dev {found.measure} {whole:.2f} % float, {small:.2f} % int8")
            say(f"int8 scores differ by {quantised.difference:.1e} on average")
            figures["int8"] = asdict(quantised)
        joined = _joined(plain, folder / f"second{'_int8' * int8}.onnx", two)
        if language is not None:
            put_inside(joined, onnxfile.LANGUAGE_MODEL, language.read_bytes(), folder / "whole.onnx")
            joined = folder / "whole.onnx"
        onnxfile.stamp(joined, draft, with_provenance(spec, checkpoint, figures))
        check_final(Model.load(draft), model, clips)
        kinds = operators(ir.load(plain))
        size = draft.stat().st_size
        return Report(target, size, OPSET, kinds, before, after, random, real, quantised, second)


def _second(found: Exportable, folder: Path) -> float | None:
    """Writes second.onnx, if there is a second graph; gives its parity."""
    if found.second is None:
        return None
    shape, labels, path = memory_shape(found.second), len(found.spec.labels), folder / "second.onnx"
    graph = second_to_onnx(found.second, shape, labels)
    simplify(graph)
    ir.save(graph, path)
    return second_parity(found.second, shape, labels, path)


def _variants(found: Exportable, model: Model) -> Iterator[Model]:
    """The model with other params."""
    for params in found.variants:
        yield model.fork(**params)


def _worst(checked: Iterable[RealParity]) -> RealParity:
    return max(checked, key=lambda each: each.scores)


def _joined(first: Path, second: Path, two: bool) -> Path:
    """A file of both graphs, or the first one's if that is all."""
    if not two:
        return first
    joined = first.with_name(f"{first.stem}_{second.stem}.onnx")
    pack(first, second, joined)
    return joined


def _accuracy(found: Exportable, model: Model) -> float:
    """By the task's own measure.

    Raises:
        ExportError: the task has none.
    """
    if found.judge is not None:
        return found.judge(model)
    if found.accuracy is None:
        raise ExportError("the task has no measure to judge int8 by")
    return found.accuracy(runner(model))


def _quantise(
    found: Exportable, plain: Path, model: Model, clips: list[Samples], folder: Path
) -> tuple[Quantised, Path, Model]:
    """The int8 file of a float one, judged and loaded."""
    target, stamped = folder / "int8.onnx", folder / "int8_stamped.onnx"
    if found.int8 == "static":
        calls = quantise(plain, target, found.spec, found.calibration())
    else:
        calls = 0
        quantise_dynamically(plain, target)
    if found.second is not None:
        quantise_dynamically(folder / "second.onnx", folder / "second_int8.onnx")
    joined = _joined(target, folder / "second_int8.onnx", found.second is not None)
    onnxfile.stamp(joined, stamped, found.spec)
    small = Model.load(stamped)
    before, after = (_accuracy(found, each) for each in (model, small))
    drop = refuse_drop(before, after, found.measure)
    difference = mean_difference(model, small, clips)
    return Quantised(before, after, drop, difference, calls, found.measure), target, small


def check_final(final: Model, checked: Model, clips: list[Samples]) -> None:
    """The stamped file scores as the one that was checked, and its events do not depend on the cutting.

    Raises:
        ParityError: either is not so.
    """
    stream = Stream(final)
    for number, samples in enumerate(clips, 1):
        features = fbank(samples, final.spec.features)
        if pieces(features, final.spec) and not np.array_equal(
            runner(final)(features), runner(checked)(features)
        ):
            raise ParityError(
                f"clip {number}: the file that was written scores differently from the one checked"
            )
        events = []
        for block in (max(1, len(samples)), CUTTING):
            stream.reset()
            found = [
                event
                for at in range(0, len(samples), block)
                for event in stream.feed(samples[at : at + block])
            ]
            events.append(found + stream.close())
        if events[0] != events[1]:
            raise ParityError(f"clip {number}: cut into blocks of {CUTTING} samples, it gives other events")
