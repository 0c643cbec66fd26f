"""Tables of an encoder for a range of sizes, from images without labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench.attribution.explainer import for_gradients
from bench.attribution.sensitivity import sensitivity
from bench.clip.zero_shot import ZeroShotClassifier
from bench.runs.provenance import software
from bench.tables.journal import TablesJournal
from bench.tables.measuring import Distortion, TuningImages
from bench.tables.search import Candidate, Found, Workplace, search
from bench.tables.shapes import Doubles
from bench.tables.usage import STANDARD, cjpeg_text, pillow_snippet
from datamodules.degradations import parse
from datamodules.degradations.quantisation import SUBSAMPLINGS, TableSet, family
from datamodules.pixels import planes, to_tensor

_SENSITIVITY_IMAGES = 300
_TRIAL_SHARE = 3
_METHOD = 1
"""Changed whenever the same settings give other tables, so that no journal of the old ones is taken up."""


@dataclass(frozen=True)
class Settings:
    """What decides about the tables, besides encoder and images.

    Attributes:
        scales: Qualities of the standard tables whose bytes are allowed.
        generations: Of the search; 0 leaves power laws.
        distortion: What is held small.
        subsamplings: Those that are tried.
        shared: Whether one table for luma and chroma is tried.
        seed: Of labels drawn and of the search.
    """

    scales: tuple[int, ...]
    generations: int = 4
    distortion: Distortion = "prediction"
    subsamplings: tuple[str, ...] = SUBSAMPLINGS
    shared: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Pictures:
    """Images with their labels, and where they are from.

    Attributes:
        tuning: RGB images to search on.
        held_out: Others, on which the tables are measured once.
        labels: Of the tuning images, then of those held out.
        origin: JSON-able.
    """

    tuning: Sequence[Image.Image]
    held_out: Sequence[Image.Image]
    labels: Sequence[int]
    origin: Mapping[str, Any]


def tune(
    classifier: ZeroShotClassifier,
    described: Mapping[str, Any],
    pictures: Pictures,
    settings: Settings,
    output: Path,
    name: str,
    tick: Callable[[], Any],
) -> TableSet:
    """Search tables for every scale, from the largest to the smallest, which begins where the one before ended.

    Args:
        classifier: The encoder with its class prompts.
        described: What the card says about the encoder.
        pictures: The images.
        settings: Everything else that decides.
        output: The file that is to be written, beside which the journal of an unfinished search is kept.
        name: Of the tables.
        tick: Called after each measurement.

    Raises:
        UserError: The journal is that of a search with other settings.
    """
    subject = {"method": _METHOD, "encoder": described, "data": pictures.origin, "settings": asdict(settings)}
    journal = TablesJournal(output.with_name(f".{output.name}.journal"), subject)
    classifier, count = for_gradients(classifier), len(pictures.tuning)  # once, for all that measure
    labels = pictures.labels
    images = TuningImages(classifier, pictures.tuning, labels[:count], settings.distortion)
    few = max(1, count // _TRIAL_SHARE)
    trial = TuningImages(classifier, pictures.tuning[:few], labels[:few], settings.distortion)
    sensitivities = {
        kind: _sensitivity(classifier, pictures.tuning, kind, settings.seed, journal) for kind in settings.subsamplings
    }
    work = Workplace(images, trial, sensitivities, journal, settings.shared, settings.seed, tick)
    found: dict[int, Found] = {}
    before: Candidate | None = None
    for scale in sorted(settings.scales, reverse=True):
        [most] = journal.ask(f"{scale}/most", 1, partial(_bytes_of_standard, images, scale))
        found[scale] = search(work, scale, most, settings.generations, before)
        before = found[scale].best
    held_out = TuningImages(classifier, pictures.held_out, labels[count:], settings.distortion)
    scales = {scale: one.best.tables for scale, one in found.items()}
    card = {
        "encoder": dict(described),
        "data": dict(pictures.origin),
        "settings": asdict(settings),
        "software": software([parse(f"jpeg-tables-{STANDARD}-50")]).to_json(),
        "images": {"tuning": count, "held_out": len(held_out)},
        "scales": {str(scale): _account(scale, one, images, held_out) for scale, one in found.items()},
        "use": {
            "pillow": pillow_snippet(max(scales), output.name),
            "cjpeg": {str(scale): cjpeg_text(tables) for scale, tables in scales.items()},
        },
    }
    journal.delete()
    return TableSet(name, scales, card)


def _account(scale: int, found: Found, images: TuningImages, held_out: TuningImages) -> dict[str, Any]:
    """What the card says of a scale: the allowed bytes, and of three tables what they came to here and elsewhere."""
    standard = family(STANDARD).at(scale)
    account: dict[str, Any] = {"bytes_allowed": found.most}
    for name, tables, measured in (
        ("standard", standard, images.measure(standard)),
        ("power_law", found.law.tables, found.law.measured),
        ("tuned", found.best.tables, found.best.measured),
    ):
        account[name] = {"tuning": asdict(measured), "held_out": asdict(held_out.measure(tables))}
    law = found.law
    account["power_law"] |= {
        "exponent": float(law.parameters[0]),
        "one_table": law.kind.shared,
        "subsampling": law.kind.subsampling,
        "luma": list(law.tables.luma),
        "chroma": list(law.tables.chroma),
    }
    return account


def _sensitivity(
    classifier: ZeroShotClassifier, images: Sequence[Image.Image], subsampling: str, seed: int, journal: TablesJournal
) -> Doubles:
    """float64 [128], luma first, chroma the mean of Cb and Cr."""

    def measure() -> list[float]:
        device = classifier.text.device
        pixels = (to_tensor(planes(image)) for image in images[:_SENSITIVITY_IMAGES])
        batches = ([one.to(device)] for one in pixels)
        if len({image.size for image in images[:_SENSITIVITY_IMAGES]}) == 1:
            batches = iter([torch.stack([one for [one] in batches])])  # type: ignore[assignment]
        luma, blue, red = sensitivity(classifier, batches, seed, subsampling == "4:2:0").mean.numpy()
        return [*luma.ravel().tolist(), *((blue + red) / 2).ravel().tolist()]

    return np.array(journal.ask(f"sensitivity/{subsampling}", 128, measure), dtype=np.float64)


def _bytes_of_standard(images: TuningImages, scale: int) -> list[float]:
    return [images.encoded_bytes(family(STANDARD).at(scale))]
