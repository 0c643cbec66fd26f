"""Do other decoders read the same pixels from files that were written with tuned tables?

    python -m benchmarks.table_decoders FOLDER --tables a.json [--opencv FOLDER] [--djpeg FILE] [--chromium FILE]

Twenty images of the test split of an image folder, side by side in one picture, are saved with the tables of each
scale. What Pillow reads is compared with what OpenCV (`pip install --target FOLDER opencv-python-headless`), the djpeg
of libjpeg-turbo and a headless Chromium read. Decoders of one library and version agree; others may round otherwise.
"""

import argparse
import base64
import io
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.runs.table import align
from datamodules import ImageFolder
from datamodules.decoding import to_rgb
from datamodules.degradations.quantisation import read_tables
from datamodules.degradations.tables import written


def main(args: Sequence[str] | None = None) -> None:
    """Print a row per scale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--opencv", type=Path, help="folder to import cv2 from")
    parser.add_argument("--djpeg")
    parser.add_argument("--chromium")
    options = parser.parse_args(args)
    tables = read_tables(options.tables)
    data = ImageFolder(options.root, num_workers=0)
    data.setup("test")
    mosaic = Image.new("RGB", (160, 128))  # one picture of many, so that a page of a browser is opened once
    for number, place in enumerate(data.positions[:: max(1, len(data.positions) // 20)][:20]):
        mosaic.paste(to_rgb(data.chosen.load(place)).resize((32, 32)), (32 * (number % 5), 32 * (number // 5)))
    rows = [["scale", "subsampling", "tables", *_READERS]]
    for scale, found in sorted(tables.scales.items()):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "tuned.jpg"
            file.write_bytes(written(mosaic, found))
            with Image.open(file) as opened:
                reference = np.asarray(opened.convert("RGB")).astype(int)
            differing = []
            for reader in _READERS.values():
                pixels = reader(file, options)
                if pixels is None:
                    differing.append("not asked")
                    continue
                off = np.abs(pixels.astype(int) - reference)
                differing.append(
                    "equal" if not off.any() else f"{(off.max(2) > 0).mean():.1%} of pixels, at most {off.max()}"
                )
            rows.append([str(scale), found.subsampling, "1" if found.one_table else "2", *differing])
    print(align(rows))


def _opencv(file: Path, options: argparse.Namespace) -> npt.NDArray[np.uint8] | None:
    if options.opencv is None:
        return None
    sys.path.insert(0, str(options.opencv))
    import cv2  # type: ignore[import-not-found,unused-ignore]

    pixels: npt.NDArray[np.uint8] = cv2.imread(str(file))[..., ::-1]
    return pixels


def _djpeg(file: Path, options: argparse.Namespace) -> npt.NDArray[np.uint8] | None:
    if options.djpeg is None:
        return None
    done = subprocess.run([options.djpeg, "-ppm", str(file)], capture_output=True, check=True)
    return np.asarray(Image.open(io.BytesIO(done.stdout)).convert("RGB"))


def _chromium(file: Path, options: argparse.Namespace) -> npt.NDArray[np.uint8] | None:
    """A screenshot of a page that shows the file, a pixel of it per pixel of the screen."""
    if options.chromium is None:
        return None
    with Image.open(file) as opened:
        width, height = opened.size
    source = base64.b64encode(file.read_bytes()).decode()
    page = file.with_name("page.html")
    page.write_text(f'<body style="margin:0"><img style="display:block" src="data:image/jpeg;base64,{source}">')
    shot = file.with_name("shot.png")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"]
    flags += [
        "--force-color-profile=srgb",
        f"--window-size={max(width, 500)},{max(height, 400)}",
        f"--screenshot={shot}",
    ]
    subprocess.run([options.chromium, *flags, page.as_uri()], capture_output=True, check=True, timeout=120)
    with Image.open(shot) as picture:
        return np.asarray(picture.convert("RGB"))[:height, :width]


_READERS = {"OpenCV": _opencv, "djpeg": _djpeg, "Chromium": _chromium}


if __name__ == "__main__":
    main()
