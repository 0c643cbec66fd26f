"""Degradations: what happens to an image at its native size before any encoder sees it.

A degradation's specification is its name everywhere (YAML, metric keys, columns, TensorBoard tags, file names):
`original`, `jpeg-75`, `jpeg-75-444`, `webp-50`, `resize-0.5+jpeg-50`. Each has one name, of letters, digits and `-.+`.
"""

from datamodules.degradations.base import ORIGINAL, Degradation, Kind, OneNumber, Original, Setting
from datamodules.degradations.formats import Degraded, FileFormat
from datamodules.degradations.jpeg import Jpeg
from datamodules.degradations.quantisation import load_tables
from datamodules.degradations.registry import register, registered
from datamodules.degradations.specs import (
    MOST_VIEWS,
    Chain,
    codec_versions,
    curves,
    degrade,
    framing,
    is_cropped,
    parse,
    parse_all,
    quality_of,
    table_hashes,
)

DEFAULT_DEGRADATIONS = (ORIGINAL, "jpeg-75", "jpeg-50", "jpeg-25")
"""The views of Chen, Namboodiri and Padget (2023)."""

__all__ = [
    "DEFAULT_DEGRADATIONS",
    "MOST_VIEWS",
    "ORIGINAL",
    "Chain",
    "Degradation",
    "Degraded",
    "FileFormat",
    "Jpeg",
    "Kind",
    "OneNumber",
    "Original",
    "Setting",
    "codec_versions",
    "curves",
    "degrade",
    "framing",
    "is_cropped",
    "load_tables",
    "parse",
    "parse_all",
    "quality_of",
    "register",
    "registered",
    "table_hashes",
]
