"""Tar shards against the same images in a folder, and against clip-benchmark: `python -m benchmarks.tar_shards`.

Rendered images of the demo as PNG, in a folder and in shards of CLIP_benchmark's layout, the demo's encoder, two views.
`images.csv` of the two runs is compared, and the predictions of the original with those that clip-benchmark, reading
the same shards with webdataset, makes with its own classifier. `--images N`, 1,000 unless given.
"""

import argparse
import io
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.utils.data import DataLoader

from bench.clip.encoders import load_encoder
from benchmarks.commands import QUIET, timed_run
from benchmarks.evaluation import transform_of
from benchmarks.timing import machine
from datamodules.synthetic import Synthetic

_DEMO = Path(__file__).parents[1] / "configs/models/demo-rn"
_TEMPLATE = "This is an image of a {}."
_PER_SHARD = 300


def write(root: Path, images: int) -> tuple[Path, Path]:
    """The same images as a folder of class folders and as shards."""
    data = Synthetic(limit=images, num_workers=0, degradations=[])
    data.setup("test")
    source, classes = data.chosen, data.class_names
    folder, shards = root / "folder", root / "shards"
    (shards / "test").mkdir(parents=True)
    places = sorted((classes[source.label(index)], index) for index in range(images))
    numbered = {name: sorted(classes).index(name) for name in classes}
    for start in range(0, images, _PER_SHARD):
        with tarfile.open(shards / f"test/{start // _PER_SHARD}.tar", "w") as archive:
            for name, index in places[start : start + _PER_SHARD]:
                image, key = source.load(index), f"{name}/{index:05d}"
                png = _encoded(image, format="PNG")
                (folder / name).mkdir(parents=True, exist_ok=True)
                (folder / f"{key}.png").write_bytes(png)
                _add(archive, f"{key}.png", png)
                _add(archive, f"{key}.cls", str(numbered[name]).encode())
    (shards / "test/nshards.txt").write_text(str(-(-images // _PER_SHARD)))
    (shards / "classnames.txt").write_text("\n".join(sorted(classes)))
    (shards / "zeroshot_classification_templates.txt").write_text(_TEMPLATE.replace("{}", "{c}"))
    return folder, shards


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    images = parser.parse_args().images
    print(machine())
    with tempfile.TemporaryDirectory() as place:
        folder, shards = write(Path(place), images)
        encoder = ["--model.encoder", f"{_DEMO}.json", "--model.pretrained", f"{_DEMO}.safetensors"]
        common = [*encoder, "--data.degradations", "[jpeg-50]", "--trainer.logger.save_dir", f"{place}/runs", *QUIET]
        tables = {}
        for config, root in (("image_folder", folder), ("tar_shards", shards)):
            seconds, _ = timed_run(["test", "--config", config, "--data.root", str(root), *common])
            tables[config] = next(Path(place, "runs", config).rglob("images.csv")).read_bytes()
            print(f"{config}: {seconds:.1f} s, {images} images")
        print(f"images.csv of the two equal: {tables['image_folder'] == tables['tar_shards']}")
        ours = pd.read_csv(io.BytesIO(tables["tar_shards"]))
        ours = ours[ours["view"] == "original"].sort_values("index")["prediction"].tolist()
        theirs = _peer(shards)
        if theirs is not None:
            names = (shards / "classnames.txt").read_text().splitlines()
            labels = [name if isinstance(ours[0], str) else number for number, name in enumerate(names)]
            equal = sum(mine == labels[yours] for mine, yours in zip(ours, theirs, strict=True))
            print(f"predictions equal to clip-benchmark's on the same shards: {equal} of {images}")


def _peer(shards: Path) -> list[int] | None:
    """Predicted classes of clip-benchmark, in the order of the shards."""
    try:
        from clip_benchmark.datasets.builder import build_dataset
        from clip_benchmark.metrics import zeroshot_classification as peer
    except ImportError as error:
        print(f"clip-benchmark and webdataset are not installed and left out ({error})")
        return None
    encoder = load_encoder(f"{_DEMO}.json", f"{_DEMO}.safetensors")
    data: Any = build_dataset("wds/shards", root=str(shards), transform=transform_of(encoder), split="test")
    classifier = peer.zero_shot_classifier(
        encoder.model, encoder.tokenizer, data.classes, data.templates, "cpu", amp=False
    )
    loader: DataLoader[Any] = DataLoader(data.batched(64), batch_size=None)
    logits, _ = peer.run_classification(encoder.model, classifier, loader, "cpu", amp=False)
    found: list[int] = torch.as_tensor(logits).argmax(1).tolist()
    return found


def _encoded(image: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


if __name__ == "__main__":
    main()
