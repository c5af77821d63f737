"""The settings of a recogniser, which travel in its file."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Final, Literal, Self, get_args

from stapes.spec import ModelSpec, SpecError
from stapes.tasks.beam import STARTS, BeamSpec, Directions
from stapes.tasks.symbols import SPECIALS

Search = Literal["ctc", "rescore", "beam"]

_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "step_frames": (1, 10_000),
    "prefixes": (1, 1000),
    "tokens": (1, 100_000),
    "least": (0, 1),
    "beam": (1, 1000),
    "alpha": (0, 100),
    "most_tokens": (1, 10_000),
    "backwards": (0, 1),
    "rescored": (1, 1000),
    "ctc_weight": (0, 1000),
    "lm_weight": (0, 100),
    "lm_bonus": (-100, 100),
    "hotword_bonus": (0, 100),
    "floor": (0, 1),
    "nbest": (1, 1000),
}


@dataclass(frozen=True, slots=True)
class AsrParams:
    """`ModelSpec.params` of a recogniser. Those with a default may be left out; no other key may be there."""

    step_frames: int
    """Frames of each step of scores."""
    search: Search = "ctc"
    """Who decides the final text: "ctc", the prefix beam search; "rescore", the decoder among its texts, in
    both directions; "beam", the decoder alone, by bidirectional beam search (hotwords then only change what
    is shown before)."""
    prefixes: int = 8
    """Texts that the prefix beam search keeps."""
    tokens: int = 20
    """Symbols of a step that it looks at..."""
    least: float = 1e-4
    """...if their posterior is at least this."""
    beam: int = 4
    """Hypotheses of the decoder's beam search, all directions together."""
    directions: Directions = "both"
    alpha: float = 0.6
    """Its length penalty; for this and the next two see `stapes.tasks.beam.BeamSpec`."""
    most_tokens: int = 200
    patient: bool = True
    backwards: float = 0.5
    """Rescoring: share of the direction from right to left."""
    rescored: int = 16
    """Rescoring: texts of CTC's that are judged, the best."""
    ctc_weight: float = 0.5
    """Rescoring: weight of CTC's log-probability beside the decoder's."""
    lm_weight: float = 0.4
    """Of the file's language model, if there is one, while CTC's texts are searched; 0: it is not asked."""
    lm_bonus: float = 0.4
    """For each symbol of these texts, in nats, where the language model is asked."""
    hotwords: tuple[str, ...] = ()
    """Phrases that are expected."""
    hotword_bonus: float = 0.5
    """For each character of a hotword, in nats."""
    floor: float = 0.0
    """A text less sure than this is none: the mean, over the steps at which CTC hears a symbol, of its
    posterior."""
    nbest: int = 5
    """Texts told with the final one, itself included."""

    @property
    def beam_spec(self) -> BeamSpec:
        """Settings of the decoder's search."""
        return BeamSpec(self.beam, self.directions, self.alpha, self.most_tokens, self.patient)

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        """The params of a model, checked.

        Raises:
            SpecError: a key that is missing or unknown, a value out of range, or too few labels.
        """
        known = {field.name: field for field in fields(cls)}
        raw = dict(spec.params)
        for key in raw:
            if key not in known:
                raise SpecError(
                    f"{spec.name}: unknown key 'params.{key}'; an asr model has {', '.join(known)}"
                )
        if "step_frames" not in raw:
            raise SpecError(f"{spec.name}: key 'params.step_frames' is missing")
        for key, (least, most) in _RANGES.items():
            value = raw.get(key, least)
            whole = known[key].type is int
            fine = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
            if not fine or not isfinite(value) or not least <= value <= most:
                raise SpecError(
                    f"{spec.name}: 'params.{key}' must be a {'whole ' * whole}number "
                    f"from {least} to {most}, got {value!r}"
                )
        choices = {"search": get_args(Search), "directions": get_args(Directions)}
        for key, options in choices.items():
            if raw.get(key, options[0]) not in options:
                raise SpecError(f"{spec.name}: 'params.{key}' must be one of {options}, got {raw[key]!r}")
        if not isinstance(raw.get("patient", True), bool):
            raise SpecError(f"{spec.name}: 'params.patient' must be true or false, got {raw['patient']!r}")
        raw["hotwords"] = _phrases(spec, raw.get("hotwords", ()))
        params = cls(**raw)
        if params.beam % len(STARTS[params.directions]):
            raise SpecError(f"{spec.name}: 'params.beam' {params.beam} does not divide into two directions")
        if len(spec.labels) <= SPECIALS:
            raise SpecError(
                f"{spec.name}: a recogniser has more than {SPECIALS} labels, got {len(spec.labels)}"
            )
        return params


def _phrases(spec: ModelSpec, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(x, str) and x.strip() for x in value):
        raise SpecError(f"{spec.name}: 'params.hotwords' must be a list of phrases, got {value!r}")
    return tuple(value)
