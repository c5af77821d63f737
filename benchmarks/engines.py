"""One recogniser over some recordings, in an environment of its own: started by `side_by_side.run`.

Runs with the standard library, numpy and the engine alone. Arguments: engine, model's path or "", a folder
with 0.npy, 1.npy … (int16 at 16 kHz), "text" or "language". Prints a JSON line for each recording ("number",
"text", or "language" with the posterior of each), then one of all: seconds of sound, seconds spent by the
clock ("wall") and by the processor ("cpu"), loading and a first recording, heard twice, not counted.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Answer = dict[str, Any]
RATE = 16_000


def _float(samples: Samples) -> NDArray[np.float32]:
    return samples.astype(np.float32) / np.float32(32768)


def stapes(model: str, _: str) -> Callable[[Samples], Answer]:
    """A model of ours, on whole clips."""
    from stapes.model import Model
    from stapes.scoring import judge

    loaded = Model.load(model)

    def hear(samples: Samples) -> Answer:
        result = judge(loaded, _float(samples))
        if "text" in result:
            return {"text": result["text"]}
        return {"language": result["label"], "posteriors": result["scores"]}

    return hear


def pocketsphinx(model: str, _: str) -> Callable[[Samples], Answer]:
    """PocketSphinx with its own settings; model: a folder of hidden Markov model, or "" for the wheel's."""
    from pocketsphinx import Decoder

    decoder = Decoder(loglevel="FATAL", samprate=RATE, **({"hmm": model} if model else {}))

    def hear(samples: Samples) -> Answer:
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), no_search=False, full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return {"text": found.hypstr if found else ""}

    return hear


def vosk(model: str, _: str) -> Callable[[Samples], Answer]:
    """Vosk; model: the unpacked folder with am, conf, graph, ivector. Fed 100 ms at a time."""
    from vosk import KaldiRecognizer, Model, SetLogLevel

    SetLogLevel(-1)
    loaded = Model(model)

    def hear(samples: Samples) -> Answer:
        recogniser = KaldiRecognizer(loaded, RATE)
        parts = (samples[at : at + RATE // 10] for at in range(0, len(samples), RATE // 10))
        ended = [recogniser.Result() for part in parts if recogniser.AcceptWaveform(part.tobytes())]
        texts = [json.loads(each)["text"] for each in (*ended, recogniser.FinalResult())]
        return {"text": " ".join(filter(None, texts))}

    return hear


def whisper(model: str, answer: str) -> Callable[[Samples], Answer]:
    """Whisper through faster-whisper with its own settings (a beam of 5); model: a CTranslate2 folder.

    The language of a text is given, English; that of a recording is asked of its first 30 s.
    """
    from faster_whisper import WhisperModel

    loaded = WhisperModel(
        model, device="cpu", compute_type="float32", cpu_threads=1, num_workers=1, local_files_only=True
    )

    def text(samples: Samples) -> Answer:
        segments, _ = loaded.transcribe(_float(samples), language="en")
        return {"text": "".join(segment.text for segment in segments)}

    def language(samples: Samples) -> Answer:
        best, _, posteriors = loaded.detect_language(_float(samples))
        return {"language": best, "posteriors": dict(posteriors)}

    return text if answer == "text" else language


def whisper_onnx(model: str, _: str) -> Callable[[Samples], Answer]:
    """The languages of a quantised Whisper in ONNX; model: the folder with onnx/ and added_tokens.json.

    Asked as OpenAI's own detection asks: 30 s, the rest zeros; the decoder's first step, its logits of the
    languages alone. Their tokens stand between those that start a transcript and ask for a translation.
    """
    import onnxruntime
    from faster_whisper.feature_extractor import FeatureExtractor

    folder, options = Path(model), onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    encoder, decoder = (
        onnxruntime.InferenceSession(folder / "onnx" / f"{part}_quantized.onnx", options)
        for part in ("encoder_model", "decoder_model_merged")
    )
    tokens: dict[str, int] = json.loads((folder / "added_tokens.json").read_text())
    start = tokens["<|startoftranscript|>"]
    languages = {name[2:-2]: at for name, at in tokens.items() if start < at < tokens["<|translate|>"]}
    empty = {
        each.name: np.zeros((1, each.shape[1], 0, each.shape[3]), np.float32)
        for each in decoder.get_inputs()
        if each.name.startswith("past_key_values")
    }
    mel = FeatureExtractor()

    def hear(samples: Samples) -> Answer:
        whole = np.zeros(30 * RATE, np.float32)
        whole[: len(samples)] = _float(samples[: len(whole)])
        heard = mel(whole, padding=0)[None, :, : len(whole) // mel.hop_length]
        hidden = encoder.run(["last_hidden_state"], {"input_features": heard})[0]
        given = {"input_ids": np.array([[start]]), "encoder_hidden_states": hidden}
        logits = decoder.run(["logits"], given | empty | {"use_cache_branch": np.array([False])})[0][0, -1]
        told = np.exp(logits[list(languages.values())] - logits.max())
        posteriors = dict(zip(languages, (told / told.sum()).tolist(), strict=True))
        return {"language": max(posteriors, key=posteriors.__getitem__), "posteriors": posteriors}

    return hear


def moonshine(model: str, _: str) -> Callable[[Samples], Answer]:
    """Moonshine tiny through moonshine-voice, on whole clips; model: a folder, or "" for the wheel's.

    Its speech detector is off: it remembers the clip before, and hears a word ("You") where a clip begins.
    """
    from moonshine_voice import ModelArch, get_model_path
    from moonshine_voice.transcriber import Transcriber

    path = model or str(get_model_path("tiny-en"))
    loaded = Transcriber(path, ModelArch.TINY, options={"vad_threshold": "0.0"})

    def hear(samples: Samples) -> Answer:
        lines = loaded.transcribe_without_streaming(_float(samples).tolist(), RATE).lines
        return {"text": " ".join(line.text for line in lines)}

    return hear


ENGINES = {
    engine.__name__: engine for engine in (stapes, pocketsphinx, vosk, whisper, whisper_onnx, moonshine)
}


def main() -> None:
    """See the module."""
    name, model, folder, answer = sys.argv[1:]
    hear = ENGINES[name](model, answer)
    clips = sorted(Path(folder).glob("*.npy"), key=lambda path: int(path.stem))
    hear(np.load(clips[0]))
    wall = cpu = sound = 0.0
    for path in clips:
        samples: Samples = np.load(path)
        began, busy = time.perf_counter(), time.process_time()
        said = hear(samples)
        wall += time.perf_counter() - began
        cpu += time.process_time() - busy
        sound += len(samples) / RATE
        print(json.dumps({"number": int(path.stem)} | said), flush=True)
    print(json.dumps({"sound": sound, "wall": wall, "cpu": cpu}))


if __name__ == "__main__":
    main()
