"""Pictures in TensorBoard's event files."""

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.figures.style import to_pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter

_COMPRESSION = 3  # zlib's; its usual 6 takes twice as long for 7% fewer bytes


def write_figure(writer: "SummaryWriter", tag: str, figure: "Figure") -> None:
    """Draw a figure and show it under a tag."""
    write_pixels(writer, tag, to_pixels(figure))


def write_pixels(writer: "SummaryWriter", tag: str, pixels: npt.NDArray[np.uint8]) -> None:
    """Show an image under a tag, as `SummaryWriter.add_image` does by way of float32 copies of four times its size.

    Args:
        writer: TensorBoard, open.
        tag: Of the image.
        pixels: uint8 [H, W, 3].
    """
    from tensorboard.compat.proto.summary_pb2 import Summary

    file = BytesIO()
    Image.fromarray(pixels).save(file, format="png", compress_level=_COMPRESSION)
    height, width, channels = pixels.shape
    image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=file.getvalue())
    summary = Summary(value=[Summary.Value(tag=tag, image=image)])
    writer._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]
