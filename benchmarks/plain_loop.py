"""The script that one would write without this project, the peer of `benchmarks.photographs`.

    python -m benchmarks.plain_loop FOLDER --encoder ViT-B-32-quickgelu --pretrained FILE --output out.json

It degrades with Pillow in the workers of a DataLoader, applies open_clip's own transform to every view, classifies
batches of 32 images with open_clip's model, and writes the predicted classes by view, images in the order of their
sorted paths. Views are "original" and "jpeg-QUALITY".
"""

import argparse
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.paper import TEMPLATE
from datamodules.cores import usable_cores


class Views(Dataset[tuple[Tensor, int]]):
    """Inputs of the encoder, float32 [views, 3, S, S], and the label, of each image below class folders."""

    def __init__(self, folder: Path, views: list[str], transform: Any) -> None:
        self.classes = sorted(child.name for child in folder.iterdir())
        self.files = [file for name in self.classes for file in sorted((folder / name).iterdir())]
        self.views, self.transform = views, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.files[index]) as file:
            image = file.convert("RGB")
        inputs = [self.transform(self.degraded(image, view)) for view in self.views]
        return torch.stack(inputs), self.classes.index(self.files[index].parent.name)

    @staticmethod
    def degraded(image: Image.Image, view: str) -> Image.Image:
        if view == "original":
            return image
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=int(view.removeprefix("jpeg-")))
        return Image.open(buffer).convert("RGB")


def main() -> None:
    """Classify a folder."""
    import open_clip

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", required=True, help="open_clip's name")
    parser.add_argument("--pretrained", required=True, help="file")
    parser.add_argument("--views", nargs="+", default=["original", "jpeg-75", "jpeg-50", "jpeg-25"])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, _, transform = open_clip.create_model_and_transforms(options.encoder, options.pretrained, device=device)
    model.eval()
    data = Views(options.folder, options.views, transform)
    loader = DataLoader(data, options.batch_size, num_workers=options.workers, pin_memory=device == "cuda")
    prompts = open_clip.get_tokenizer(options.encoder)([TEMPLATE.format(name) for name in data.classes])
    predictions: list[list[int]] = [[] for _ in options.views]
    right = torch.zeros(len(options.views))
    with torch.no_grad():
        text = model.encode_text(prompts.to(device), normalize=True)
        for images, labels in loader:
            inputs = images.to(device, non_blocking=True).flatten(0, 1)
            logits = model.logit_scale.exp() * model.encode_image(inputs, normalize=True) @ text.T
            chosen = logits.argmax(1).cpu().view(len(images), -1)
            right += (chosen == labels[:, None]).sum(0)
            for place, column in enumerate(chosen.T.tolist()):
                predictions[place] += column
    for view, count in zip(options.views, right.tolist(), strict=True):
        print(f"{view}: {count / len(data):.4f}")
    options.output.write_text(json.dumps(dict(zip(options.views, predictions, strict=True))))


if __name__ == "__main__":
    main()
