"""From a checkpoint to a file of two graphs, and the device's searches against torch's, token for token."""

import json
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import asr.ctc
from asr.decoder import DecoderSpec
from asr.encoder import EncoderSpec
from asr.exporting import Streaming, Writing
from asr.recipe import AsrRecipe, DataSpec, Directions, Part
from asr.rescoring import RescoreSpec, rescore
from asr.search import BeamSpec, search
from asr.stbd import Stbd, StbdSpec
from export.errors import ParityError
from export.pipeline import export
from export.quantise import quantise_dynamically
from export.second_graph import pack, second_parity
from stapes.fbank import fbank
from stapes.model import Model
from stapes.onnxfile import SECOND_GRAPH, language_model, second_graph, stamp
from stapes.reader import MemoryReader
from stapes.scoring import judge
from stapes.spec import FbankSpec
from stapes.stream import Stream
from stapes.tasks import beam
from stapes.tasks.ctc import PrefixBeam
from stapes.tasks.hotwords import Hotwords
from tests.tools import tiny_ngrams
from tests.tools.signals import feed_in
from training.recipe import to_dict

torch.set_num_threads(1)
SYMBOLS = ("<pad>", "<unk>", "<l2r>", "</s>", "<r2l>", "▁a", "▁b", "c", "d", "▁ef")
HOP = 16


def _recipe() -> AsrRecipe:
    encoder = EncoderSpec(
        mels=20,
        stack=4,
        width=16,
        heads=2,
        inner=16,
        blocks=1,
        norm="pre",
        positions="rotary",
        convolution=3,
        chunk=4,
        left=6,
    )
    decoder = DecoderSpec(width=16, heads=2, inner=16, blocks=1, norm="pre")
    return AsrRecipe(
        name="tiny-asr",
        data=DataSpec(dev={"tones": Part(splits=("dev",))}),
        features=FbankSpec(mels=20),
        network=StbdSpec(encoder=encoder, decoder=decoder, ctc=True),
        symbols=SYMBOLS,
    )


@cache
def _network() -> Stbd:
    torch.manual_seed(3)
    net = Stbd(_recipe().network, len(SYMBOLS)).eval()
    net.normalise(torch.full((20,), -5.0), torch.full((20,), 4.0))
    with torch.no_grad():
        net.decoder.embedding.mul_(3)
        net.ctc.weight.mul_(4)
    return net


def _sound(seed: int, seconds: float = 1.5) -> np.ndarray:
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    hz = np.repeat(generator.uniform(200, 4000, 10), -(-time.size // 10))[: time.size]
    return (0.3 * np.sin(2 * np.pi * hz * time) + 0.01 * generator.normal(size=time.size)).astype(np.float32)


GRAMS = {(symbol,): (-2.0, 0.0) for symbol in range(len(SYMBOLS))}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asr")
    tones = folder / "data/tones"
    tones.mkdir(parents=True)
    lines = []
    for number in range(2):
        soundfile.write(tones / f"{number}.wav", _sound(number), 16_000)
        lines.append({"audio": f"{number}.wav", "split": "dev", "text": "a b"})
    (tones / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    checkpoint = {
        "task": "asr",
        "recipe": to_dict(_recipe()),
        "model": _network().state_dict(),
        "metrics": {"accuracy": 0.0, "error//home/me/tones": 1.0},
        "provenance": {"data": ["/home/me/tones"], "hours": {"/home/me/tones": 0.1}},
    }
    torch.save(checkpoint, folder / "best.pt")
    (folder / "asr.lm").write_bytes(tiny_ngrams.write(GRAMS, SYMBOLS))
    report = export(folder / "best.pt", folder / "asr.onnx", folder / "data", language=folder / "asr.lm")
    assert report.second is not None
    assert report.second < 1e-4
    assert report.random.whole < 1e-4
    return folder / "asr.onnx"


@cache
def _heard(path: Path, seed: int) -> tuple[MemoryReader, torch.Tensor, np.ndarray]:
    """The reader, torch's memory, and CTC's posteriors of the same sound."""
    model = Model.load(path)
    frames = fbank(_sound(seed), model.spec.features)
    frames = frames[: len(frames) // HOP * HOP]
    scores = np.concatenate([model(frames[at : at + HOP]) for at in range(0, len(frames), HOP)])
    with torch.inference_mode():
        memory, _ = _network().encode(torch.from_numpy(frames[None]), torch.tensor([len(frames)]))
    assert model.reader is not None
    model.reader.read(0, len(scores))
    assert memory.shape[1] == len(scores)
    return model.reader, memory, scores


def test_the_language_model_travels_in_the_file(exported: Path) -> None:
    assert language_model(exported.read_bytes()) == tiny_ngrams.write(GRAMS, SYMBOLS)
    model = Model.load(exported)
    assert model.language is not None
    np.testing.assert_allclose(model.language.rows(model.language.start), -2)


def test_streamed_scores_are_those_of_the_whole(exported: Path) -> None:
    _, memory, scores = _heard(exported, 5)
    with torch.inference_mode():
        wanted = _network().ctc(memory).softmax(-1)[0].numpy()
    np.testing.assert_allclose(scores, wanted, atol=1e-4)


def test_the_reader_unfolds_the_memory_of_several_blocks() -> None:
    """Without onnxruntime: what Streaming folds, the reader hands to Writing as the decoder had it."""
    torch.manual_seed(5)
    spec = _recipe().network
    net = Stbd(replace(spec, decoder=replace(spec.decoder, blocks=3)), len(SYMBOLS)).eval()
    frames = torch.randn(1, HOP, 20)
    tokens, past = torch.tensor([[2, 5, 6], [4, 6, 5]]), net.decoder.start(2)
    handed = []

    class Graph:
        path, shape, session = Path("none"), Writing(net.decoder).shape, None

        def run(self, _: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            handed.append(torch.from_numpy(feeds["memory"]))
            following = Writing(net.decoder)(torch.from_numpy(feeds["tokens"]), past, handed[-1])
            return [each.numpy() for each in following]

    graph = Graph()
    graph.session = graph  # type: ignore[assignment]
    with torch.inference_mode():
        _, *_, folded = Streaming(net)(frames, *net.encoder.start(1))
        memory, _ = net.encode(frames, torch.tensor([HOP]))
        reader = MemoryReader(graph, len(SYMBOLS))  # type: ignore[arg-type]
        reader.hear(folded[0].numpy())
        reader.read(0, folded.shape[1])
        scores, grown = reader.write(tokens.numpy(), None)
        wanted = net.decoder(tokens[None], memory, None)[0].log_softmax(-1)
        source = net.decoder.source(memory)[:, :, 0]
    torch.testing.assert_close(handed[0], source, atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(scores, wanted, atol=1e-4)
    assert grown.shape == (3, 2, 2, 2, 3, 8)


@pytest.mark.parametrize("directions", ["both", "l2r", "r2l"])
@pytest.mark.parametrize("size", [2, 8])
@pytest.mark.parametrize("patient", [False, True])
def test_beam_search_equals_torch_token_for_token(
    exported: Path, directions: Directions, size: int, patient: bool
) -> None:
    net = _network()
    for seed in range(2):
        reader, memory, scores = _heard(exported, seed)
        spec = BeamSpec(size, directions, most_tokens=20, patient=patient)
        wanted = search(net.decoder, memory, torch.tensor([memory.shape[1]]), spec)[0]
        mine = beam.BeamSpec(size, directions, most_tokens=20, patient=patient)
        found = beam.search(reader, len(scores), mine)
        assert [ids for ids, _ in found] == [each.ids for each in wanted]
        assert [score for _, score in found] == pytest.approx([each.score for each in wanted], abs=1e-3)


def test_rescoring_equals_torch(exported: Path) -> None:
    reader, memory, scores = _heard(exported, 1)
    logs = np.log(scores)
    texts = asr.ctc.beam_search(logs, beam=6, tokens=len(SYMBOLS))
    wanted = rescore(_network().decoder, memory, texts, RescoreSpec(backwards=0.3, ctc=0.4))
    found = beam.rescore(reader, texts, backwards=0.3, ctc=0.4)
    assert [ids for ids, _ in found] == [ids for ids, _ in wanted]
    assert [score for _, score in found] == pytest.approx([score for _, score in wanted], abs=1e-3)


def test_prefix_search_equals_that_of_training(exported: Path) -> None:
    _, _, scores = _heard(exported, 2)
    prefixes = PrefixBeam(SYMBOLS, Hotwords((), SYMBOLS, 0.0), beam=6, tokens=5, least=0)
    for row in np.log(scores.astype(np.float64)):
        prefixes.push(row)
    wanted = asr.ctc.beam_search(np.log(scores), beam=6, tokens=5)
    assert [ids for ids, _ in prefixes.found()] == [ids for ids, _ in wanted]
    assert [log for _, log in prefixes.found()] == pytest.approx([log for _, log in wanted], abs=1e-3)


def test_cost_of_a_token_does_not_grow(exported: Path) -> None:
    """Each call of the search has one new token a text, and the past only grows by it."""
    reader, _, scores = _heard(exported, 0)
    shapes: list[tuple[int, ...]] = []

    class Watched:
        read, forget = reader.read, reader.forget

        def write(self, tokens: np.ndarray, past: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
            shapes.append(tokens.shape)
            return reader.write(tokens, past)

    beam.search(Watched(), len(scores), beam.BeamSpec(4, most_tokens=10))
    assert set(shapes) == {(4, 1)}


def test_the_file_streams_and_judges_clips(exported: Path) -> None:
    model = Model.load(exported)
    assert model.spec.params["search"] == "rescore"
    assert model.spec.provenance["export"]["parity"]["second"] < 1e-4
    told = model.spec.provenance
    assert "symbols" not in told["recipe"]
    assert "/home" not in json.dumps(told)
    assert (told["data"], told["hours"]) == (["tones"], {"tones": 0.1})
    assert told["metrics"] == {"accuracy": 0.0, "error/tones": 1.0}
    result = judge(model, _sound(0))
    assert result["text"]
    for way in ("ctc", "beam"):
        assert "text" in judge(model.fork(search=way), _sound(0))
    padded = np.concatenate([np.zeros(16_000, np.float32), _sound(0), np.zeros(16_000, np.float32)])
    assert feed_in(Stream(model), padded, []) == feed_in(Stream(model), padded, [999] * 60)


@pytest.fixture(scope="module")
def graphs(exported: Path) -> tuple[Path, Path]:
    second = exported.parent / "second.onnx"
    inner = second_graph(exported.read_bytes())
    assert inner is not None
    second.write_bytes(inner)
    return exported, second


def test_int8_is_near_and_packs_again(graphs: tuple[Path, Path], tmp_path: Path) -> None:
    import onnx_ir as ir

    first = ir.load(graphs[0])
    del first.graph.initializers[SECOND_GRAPH]
    ir.save(first, tmp_path / "first.onnx")
    quantise_dynamically(tmp_path / "first.onnx", tmp_path / "first8.onnx")
    quantise_dynamically(graphs[1], tmp_path / "second8.onnx")
    pack(tmp_path / "first8.onnx", tmp_path / "second8.onnx", tmp_path / "both.onnx")
    model = Model.load(graphs[0])
    stamp(tmp_path / "both.onnx", tmp_path / "both.onnx", replace(model.spec, name="small"))
    _, _, scores = _heard(graphs[0], 0)
    reader, _, near = _heard(tmp_path / "both.onnx", 0)
    assert 0 < np.abs(scores - near).mean() < 0.03
    assert beam.search(reader, len(near), beam.BeamSpec(4))
    assert (tmp_path / "first8.onnx").read_bytes().count(b"MatMulInteger")


def test_parity_sees_one_changed_weight(graphs: tuple[Path, Path]) -> None:
    net = deepcopy(_network())
    writing = Writing(net.decoder)
    assert second_parity(writing, writing.shape, len(SYMBOLS), graphs[1]) < 1e-4
    with torch.no_grad():
        net.decoder.embedding[5, 0] += 0.05
    with pytest.raises(ParityError, match="differ by"):
        second_parity(writing, writing.shape, len(SYMBOLS), graphs[1])
