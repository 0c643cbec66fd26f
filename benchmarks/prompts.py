"""Do prompts that speak of JPEG help under JPEG? Every image is embedded once, and classified with each set of prompts.

    python -m benchmarks.prompts --root FOLDER --encoder RN50 --pretrained openai [--views original jpeg-50 ...]

Printed are precision by set of prompts and view, and the difference to the first set on the same images in points, with
Tango's 95% interval, pointwise; and the same of CLIP's own 80 prompts against those without "a jpeg corrupted photo".
"""

import argparse
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bench.clip.encoders import Encoder, load_encoder
from bench.clip.templates import read_templates
from bench.clip.text_classifier import text_classifier
from bench.clip.zero_shot import ZeroShotClassifier, class_logits
from bench.paper import TEMPLATE
from bench.runs.table import align
from bench.statistics.paired import drop_interval
from datamodules import ImageFolder
from datamodules.base import DegradedDataModule

VIEWS = ("original", "jpeg-50", "jpeg-25", "jpeg-10")
CORRUPTED = "a jpeg corrupted photo of a {}."

Right = dict[str, Tensor]
"""Whether each image is classified right, bool [N], by view."""


def prompt_sets() -> dict[str, Sequence[str]]:
    """Templates by what they are called; the first is what the others are held against.

    >>> [len(templates) for templates in prompt_sets().values()]
    [1, 1, 1, 80, 79]
    """
    every = read_templates("openai-imagenet")
    others = [template for template in every if template != CORRUPTED]
    alone = (TEMPLATE, "a photo of a {}.", CORRUPTED)
    return {template: [template] for template in alone} | {
        "CLIP's 80": every,
        f"CLIP's 80 without {CORRUPTED!r}": others,
    }


@torch.inference_mode()
def embedded(encoder: Encoder, data: DegradedDataModule) -> tuple[dict[str, Tensor], Tensor]:
    """Unit embeddings, float32 [N, D] by view, and labels, int64 [N], of all images of the test split."""
    data.geometry = encoder.geometry
    data.setup("test")
    classifier = ZeroShotClassifier(encoder, data.class_names)
    device = classifier.text.device
    parts: dict[str, list[Tensor]] = {view: [] for view in data.views}
    labels = []
    for batch in data.test_dataloader():
        for view, images in batch.to(device).views.items():
            parts[view].append(classifier.embed(images))
        labels.append(batch.labels.to(device))
    return {view: torch.cat(found) for view, found in parts.items()}, torch.cat(labels)


@torch.inference_mode()
def right(
    encoder: Encoder, class_names: Sequence[str], templates: Sequence[str], images: Mapping[str, Tensor], labels: Tensor
) -> Right:
    """Which images are classified right with some prompts."""
    text = text_classifier(encoder, class_names, templates)
    return {view: class_logits(encoder.model, of, text).argmax(1) == labels for view, of in images.items()}


def difference(one: Tensor, other: Tensor) -> str:
    """Precision of one minus that of the other on the same images, in points, with Tango's 95% interval.

    >>> difference(torch.tensor([True, True, False, False]), torch.tensor([True, False, False, False]))
    '+25.00 [-36.24, +69.94]'
    """
    lost, won, images = int((other & ~one).sum()), int((one & ~other).sum()), len(one)
    ends = drop_interval(lost, won, images)
    return f"{100 * (won - lost) / images:+.2f} [{-100 * ends.high:+.2f}, {-100 * ends.low:+.2f}]"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--pretrained")
    parser.add_argument("--views", nargs="+", default=list(VIEWS))
    parser.add_argument("--every", type=int, default=1, help="use every n-th image (default: 1)")
    parser.add_argument("--batch-size", type=int, default=200)
    parser.add_argument("--workers", type=int, help="loader processes")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    encoder = load_encoder(options.encoder, options.pretrained)
    data = ImageFolder(
        options.root, degradations=options.views, every=options.every, batch_size=options.batch_size,
        num_workers=options.workers,
    )  # fmt: skip
    images, labels = embedded(encoder, data)
    found = {
        name: right(encoder, data.class_names, templates, images, labels) for name, templates in prompt_sets().items()
    }
    names = list(found)
    print(f"{len(labels):,} images\n")
    rows = [[name, *(f"{of[view].double().mean():.4f}" for view in data.views)] for name, of in found.items()]
    print(align([["precision", *data.views], *rows]))
    pairs = [(name, names[0]) for name in names[1:]] + [(names[3], names[4])]
    differences = [
        [f"{one} - {other}", *(difference(found[one][view], found[other][view]) for view in data.views)]
        for one, other in pairs
    ]
    print("", align([["difference (points)", *data.views], *differences]), sep="\n")


if __name__ == "__main__":
    main()
