"""How models are called in a report, and what makes two of them the same."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.paper import PRETRAINED, canonical_encoder
from bench.report.tables import HASH_DIGITS, short
from bench.report.tuned import Tuned, tell_apart, tuned_digest
from bench.runs.provenance import COMPANION_HASHES, ModelRecord

_NOT_THE_MODEL = {
    *("encoder", "architecture", "pretrained", "parameters", "open_clip"),  # spelling, or implied by weights
    *("compiled", "compile"),  # how fast
    "fidelity",  # of the views
}


def identity(model: ModelRecord) -> dict[str, Any]:
    """Whatever tells that two runs were of different models: JSON-able."""
    told = {key: value for key, value in model.to_json().items() if key not in _NOT_THE_MODEL}
    if not model.weights_sha256:
        told["pretrained"] = model.pretrained
    for kind, digest in COMPANION_HASHES.items():
        if digest in told:
            told.pop(kind, None)  # how its file is called
    return {"encoder": canonical_encoder(model.encoder), **told}


def key_of(value: Mapping[str, Any]) -> str:
    """Equal for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, default=str)


def labels(models: Sequence[ModelRecord], fits: Mapping[str, Tuned]) -> list[str]:
    """A label per model, all of them different where the models are.

    Its encoder, its weights unless OpenAI's, and what else tells it from others of that label: of a tuned one how it
    was tuned; of any other, and where that says nothing, what records say.

    Args:
        models: Each once.
        fits: Tuned encoders by SHA-256 of their weights.
    """
    told = [model_name(model) for model in models]
    tuned = [place for place, model in enumerate(models) if tuned_digest(model) in fits]
    kept = [fits[tuned_digest(models[place])] for place in tuned]
    settings = [
        {
            "kind.name": fit.kind,
            **fit.settings,
            "seed": str(fit.record.seed),
            "seed_everything": str(fit.record.seed_everything),
        }
        for fit in kept
    ]
    for place, label in zip(tuned, tell_apart([told[place] for place in tuned], settings), strict=True):
        told[place] = label
    for label, times in Counter(told).items():
        same = [place for place, other in enumerate(told) if other == label] if times > 1 else []
        identities = [identity(models[place]) for place in same]
        keys = [k for k in sorted(set().union(*identities)) if len({key_of({k: i.get(k)}) for i in identities}) > 1]
        for place, own in zip(same, identities, strict=True):
            told[place] = ", ".join([label, *(f"{key} {_brief(key, own.get(key))}" for key in keys)])
    again = Counter(told)  # long values are shortened alike
    digests = [sha256(key_of(identity(model)).encode()).hexdigest()[:HASH_DIGITS] for model in models]
    return [f"{label}, {own}" if again[label] > 1 else label for label, own in zip(told, digests, strict=True)]


def _brief(key: str, value: Any) -> str:
    return str(value)[:HASH_DIGITS] if key in ("weights_sha256", *COMPANION_HASHES.values()) else short(value)


def model_name(model: ModelRecord) -> str:
    """Its encoder, its weights unless they are OpenAI's, and what restores images before it."""
    encoder, weights = canonical_encoder(model.encoder), model.pretrained
    stem = Path(weights).stem if "/" in weights else weights
    name = encoder if stem in (PRETRAINED, encoder) or weights == model.encoder else f"{encoder} ({stem})"
    companion = model.companion
    return name if companion is None else replace(companion, name=Path(companion.name).stem).said_of(name)
