"""JPEG with quantisation tables of one's own."""

import re
from dataclasses import dataclass, field
from io import BytesIO
from typing import ClassVar, Self

from PIL import Image

from datamodules.degradations.base import Setting, in_range, malformed
from datamodules.degradations.formats import JPEG, Degraded, FileFormat
from datamodules.degradations.jpeg import buffer_for
from datamodules.degradations.quantisation import NAME, Quantisation, TableSet, known_tables, names_of_tables
from datamodules.errors import UserError


@dataclass(frozen=True)
class JpegTables:
    """A JPEG round trip by Pillow with given quantisation tables, and Huffman tables made for the image.

    Args:
        tables: Name of the tables.
        scale: Which of them, 1 to 100: about the bytes of the standard tables at that quality.
        known: The tables, where they are known: a name can be read without them, an image cannot be saved.

    >>> JpegTables.from_spec("jpeg-tables-mozjpeg3-50").known.at(50).luma[:4]
    (16, 16, 16, 18)
    """

    tables: str
    scale: int
    known: TableSet | None = field(default=None, compare=False, repr=False)

    head: ClassVar[str] = "jpeg-tables"
    formats: ClassVar[tuple[FileFormat, ...]] = (JPEG,)
    size_factor: ClassVar[float | None] = 1.0
    block_period: ClassVar[float | None] = JPEG.block

    @classmethod
    def form(cls) -> str:
        return "jpeg-tables-NAME-SCALE"

    @classmethod
    def from_spec(cls, spec: str) -> Self:
        """Read a name and a scale."""
        match = re.fullmatch(rf"jpeg-tables-({NAME})-([0-9]+)", spec)
        if match is None:
            raise malformed(spec, cls.form())
        scale = int(in_range(spec, "scale of JPEG tables", match[2], 1, 100))
        return cls(match[1], scale, known_tables(match[1]))

    @property
    def name(self) -> str:
        return f"{self.head}-{self.tables}-{self.scale}"

    @property
    def settings(self) -> tuple[Setting, ...]:
        return (Setting("quality", self.scale, f"{self.head}-{self.tables}"),)

    @property
    def halves_chroma(self) -> bool:
        """See `datamodules.degradations.base.halves_chroma`; False where the tables are not known."""
        return self.known is not None and self.known.at(self.scale).subsampling == "4:2:0"

    def require(self) -> TableSet:
        """The tables.

        Raises:
            UserError: They are not known, or lack this scale.
        """
        if self.known is None:
            raise UserError(
                f"no file of the tables {self.tables!r} was named: give it as `tables`, or choose from "
                f"{', '.join(names_of_tables())}",
                option="data.tables",
            )
        self.known.at(self.scale)
        return self.known

    def __call__(self, image: Image.Image) -> Degraded:
        return encode(image, self.require().at(self.scale))


def encode(image: Image.Image, quantisation: Quantisation) -> Degraded:
    """A JPEG round trip of an RGB image with given tables.

    Raises:
        ValueError: The image is too large for JPEG.
    """
    with buffer_for(image):
        return JPEG.round_trip(image, **quantisation.options())


def written(image: Image.Image, quantisation: Quantisation) -> bytes:
    """The file that `encode` measures and decodes."""
    buffer = BytesIO()
    with buffer_for(image):
        image.save(buffer, format=JPEG.key, **quantisation.options())
    return buffer.getvalue()
