"""What a GPU makes of this project, in one command of less than eight minutes: `python -m benchmarks.gpu`.

Encoders have random weights (or those of --pretrained), images are real photographs (`benchmarks.pictures`) as PNG
files and thumbnails of them in memory, four views each. Printed are, for each encoder:

- end to end: `Trainer.test` from the second batch on, against the bare forward pass over prepared tensors of the same
  batches, in fp32 without TF32, in TF32 and in bf16; and the share of predictions that equal those of fp32;
- what binds: microseconds per view of the loader alone (the start of its processes included), the copy to the device,
  resize and forward pass, and the bookkeeping without an encoder;
- the first encoder compiled against uncompiled, with the seconds of the first batch;
- Integrated Gradients: gradients per second over those of the bare backward pass;

and for all: pixels in which the resize on the device differs from Pillow's, with and without TF32, and the same run on
all devices there are against one. What does not fit into --seconds any more is left out, and the program says so.
Without CUDA it runs on the CPU, where the figures mean little.
"""

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from bench.attribution.explainer import for_gradients
from bench.attribution.integrated_gradients import cross_entropy, integrated_gradients
from bench.attribution.quadrature import GaussLegendre
from bench.classification import classify_views
from bench.clip.encoders import load_encoder
from bench.clip.float32 import full_float32
from bench.clip.preprocess import Preprocess
from bench.clip.zero_shot import ZeroShotClassifier
from benchmarks.checkpoints import random_checkpoint
from benchmarks.commands import QUIET, timed_run
from benchmarks.device_runs import CLASSES, MODES, VIEWS, Plan, Thumbnails, mode, tested
from benchmarks.pictures import photographs
from benchmarks.timing import machine
from datamodules import ImageFolder
from datamodules.base import DegradedDataModule
from datamodules.geometry import Geometry
from datamodules.views import Batch

_DISTINCT = 32  # photographs; the others are links to them
_GRADIENTS = 16  # of an image, along its path


def end_to_end(encoder: str, pretrained: str, kinds: dict[str, DegradedDataModule], plan: Plan) -> None:
    """Print a row for each kind of image and precision."""
    clip = load_encoder(encoder, pretrained)
    model = clip.model.to(plan.device)
    inputs = torch.randn(plan.batch_size, 3, clip.image_size, clip.image_size, device=plan.device)
    print("  images        mode   views/s, test    bare   test over bare   predictions as in fp32", flush=True)
    exact: dict[str, Tensor] = {}
    for name in MODES if plan.device.type == "cuda" else ("fp32", "bf16"):
        with mode(name), torch.inference_mode(), torch.autocast(plan.device.type, torch.bfloat16, name == "bf16"):
            bare = plan.batch_size / plan.per_call(lambda: model.encode_image(inputs))  # type: ignore[operator]
        for kind, data in kinds.items():
            if plan.time_left(f"{kind} in {name}"):
                ran = tested(encoder, pretrained, data, name, plan, compile=False)
                same = (ran.predictions == exact.setdefault(kind, ran.predictions)).float().mean().item()
                rate = 1 / ran.per_view
                print(
                    f"  {kind:12s}  {name:4s} {rate:14,.0f} {bare:9,.0f} {rate / bare:12.2f} {same:20.4f}", flush=True
                )


def what_binds(encoder: str, pretrained: str, kinds: dict[str, DegradedDataModule], plan: Plan) -> None:
    """Print a row for each kind of image: where the time of a view goes, each stage by itself, in fp32."""
    print("  microseconds per view   loader     copy   resize and forward   bookkeeping   binds", flush=True)
    classifier = ZeroShotClassifier(load_encoder(encoder, pretrained), CLASSES).to(plan.device)
    for kind, data in kinds.items():
        data.setup("test")
        data.geometry = classifier.preprocess.geometry
        start, batches = time.perf_counter(), list[Batch]()
        for batch in data.test_dataloader():
            batches = [*batches, batch][:1]
        seconds, first = time.perf_counter() - start, batches[0]
        batch = first.pin_memory() if plan.device.type == "cuda" else first
        stages = {"loader": seconds / plan.images * len(first)}
        stages["copy"] = plan.per_call(lambda batch=batch: batch.to(plan.device))  # type: ignore[misc]
        stages |= _on_device(classifier, batch.to(plan.device), plan)
        views = len(first) * len(VIEWS)
        times = "  ".join(f"{1e6 * seconds / views:12.1f}" for seconds in stages.values())
        print(f"  {kind:17s} {times}     {max(stages, key=stages.__getitem__)}", flush=True)


def _on_device(classifier: ZeroShotClassifier, batch: Batch, plan: Plan) -> dict[str, float]:
    shape = len(batch), classifier.text.shape[1]
    known = torch.nn.functional.normalize(torch.randn(shape, device=batch.labels.device), dim=1)

    def keep_account() -> None:
        rows = classify_views(batch, lambda view, images: known, classifier.logits, with_fidelity=False)
        rows.on_host(list(batch.views))

    with torch.inference_mode(), mode("fp32"):
        return {
            "forward": plan.per_call(lambda: [classifier.embed(images) for images in batch.views.values()]),
            "bookkeeping": plan.per_call(keep_account),
        }


def compiled(encoder: str, pretrained: str, data: DegradedDataModule, plan: Plan) -> None:
    """Print a row for each precision."""
    for name in ("fp32", "bf16"):
        if plan.time_left(f"compiling in {name}"):
            plain, fast = (tested(encoder, pretrained, data, name, plan, compile=it) for it in (False, True))
            print(
                f"  compiled, {name}: {plain.per_view / fast.per_view:.2f} times as fast; first batch "
                f"{plain.first:.1f} s uncompiled, {fast.first:.1f} s compiled",
                flush=True,
            )


def gradients(encoder: str, pretrained: str, plan: Plan) -> None:
    """Print gradients per second of Integrated Gradients and of bare passes, forward and backward."""
    classifier = for_gradients(ZeroShotClassifier(load_encoder(encoder, pretrained), CLASSES).to(plan.device))
    loss, side = cross_entropy(classifier.pixel_logits), classifier.preprocess.geometry.size
    baseline = torch.rand(plan.batch_size, 3, side, side, device=plan.device)
    target = (baseline + 0.05 * torch.randn_like(baseline)).clamp(0, 1)
    labels = torch.arange(plan.batch_size, device=plan.device) % 2

    def bare() -> None:
        pixels = target.clone().requires_grad_()
        torch.autograd.grad(loss(pixels, labels).sum(), pixels)

    def ours() -> None:
        integrated_gradients(loss, baseline, target, labels, GaussLegendre(_GRADIENTS), plan.batch_size)

    with full_float32():
        theirs, own = plan.batch_size / plan.per_call(bare), _GRADIENTS * plan.batch_size / plan.per_call(ours)
    print(f"  gradients/s: {own:,.0f} of Integrated Gradients, {theirs:,.0f} bare: {own / theirs:.2f}", flush=True)


def resize(plan: Plan) -> None:
    """Print how many pixels of the device's resize are not Pillow's."""
    rng, wrong, pixels = np.random.default_rng(0), dict.fromkeys(("fp32", "TF32"), 0), 0
    for height, width in [(32, 32), (96, 96), (97, 131), (375, 500), (501, 333), (1411, 701)]:
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        images = torch.from_numpy(noise).permute(2, 0, 1)[None].to(plan.device)
        for shape in ("shortest", "squash"):
            fitted = pil_to_tensor(Geometry(224, shape).fit(Image.fromarray(noise))) / 255
            preprocess = Preprocess(224, (0.5,) * 3, (0.5,) * 3, shape).to(plan.device)
            pixels += fitted.numel()
            for name in wrong:
                with mode(name):
                    wrong[name] += int((preprocess.pixels(images)[0].cpu() != fitted).sum())
    told = ", ".join(f"{count} in {name}" for name, count in wrong.items())
    print(f"resize: values that differ from Pillow's: {told}, of {pixels:,}", flush=True)


def all_devices(encoder: str, pretrained: str, folder: Path) -> None:
    """Print how much faster a run is on all devices than on one, start-up included."""
    count = torch.cuda.device_count()
    if count < 2:
        print("several devices: there is one", flush=True)
        return
    seconds = {}
    for devices in (1, count):
        words = ["test", "--config", "configs/image_folder.yaml", f"--data.root={folder}", *QUIET]
        words += [f"--model.encoder={encoder}", f"--model.pretrained={pretrained}", f"--trainer.devices={devices}"]
        words += [f"--data.degradations=[{','.join(VIEWS)}]", f"--trainer.logger.init_args.save_dir={folder.parent}"]
        seconds[devices], _ = timed_run(words)
    print(f"several devices: {count} are {seconds[1] / seconds[count]:.2f} times as fast as one", flush=True)


def _write(pictures: Sequence[Image.Image], folder: Path, images: int) -> None:
    for number in range(images):
        place = folder / CLASSES[number % 2] / f"{number:06d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        first = number % (2 * (len(pictures) // 2))
        if number == first:
            pictures[number].save(place, compress_level=1)
        else:
            os.link(folder / CLASSES[first % 2] / f"{first:06d}.png", place)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", action="append", help="repeatable; default ViT-B/32 and ViT-L/14")
    parser.add_argument("--pretrained", action="append", help="file, one per encoder; default random weights")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--size", default="500x375", help="of the photographs, WIDTHxHEIGHT")
    parser.add_argument("--seconds", type=float, default=420, help="after which nothing more is begun")
    parser.add_argument("--second", type=float, default=1, help="that a loop is repeated for")
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args(arguments)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    width, height = map(int, options.size.split("x"))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    plan = Plan(
        options.images, options.batch_size, (width, height), device, options.second, time.monotonic() + options.seconds
    )
    card = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    print(f"{card}; {machine()}; {plan.images} images x {len(VIEWS)} views, batches of {plan.batch_size}", flush=True)
    resize(plan)
    with tempfile.TemporaryDirectory() as temporary:
        pictures = list(photographs(min(_DISTINCT, plan.images), *plan.size))
        _write(pictures, Path(temporary, "images"), plan.images)
        shared: dict[str, Any] = {"degradations": VIEWS, "batch_size": plan.batch_size}
        kinds: dict[str, DegradedDataModule] = {
            "thumbnails": Thumbnails(pictures, plan.images, **shared),
            "photographs": ImageFolder(Path(temporary, "images"), **shared),
        }
        encoders = options.encoder or ["ViT-B/32", "ViT-L/14"]
        for place, encoder in enumerate(encoders):
            if plan.time_left(encoder):
                random = options.pretrained is None
                given = str(random_checkpoint(encoder, Path(temporary))) if random else options.pretrained[place]
                print(f"\n{encoder}", flush=True)
                end_to_end(encoder, given, kinds, plan)
                what_binds(encoder, given, kinds, plan)
                gradients(encoder, given, plan)
                if place == 0:
                    if not options.no_compile:
                        compiled(encoder, given, kinds["thumbnails"], plan)
                    all_devices(encoder, given, Path(temporary, "images"))


if __name__ == "__main__":
    main()
