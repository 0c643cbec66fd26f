"""The restoration that an option names."""

import re
from dataclasses import dataclass
from pathlib import Path

from bench.clip.zero_shot import Restorer
from bench.restoration.deblocking import Deblocking
from bench.restoration.files import read_restoration
from bench.runs.provenance import Companion
from datamodules.errors import UserError


@dataclass(frozen=True)
class NamedRestoration:
    """A restoration.

    Attributes:
        said: What results say about it.
        restorer: What restores.
    """

    said: Companion
    restorer: Restorer


def read_named(restoration: str) -> NamedRestoration:
    """The restoration that is meant by `deblock-QUALITY`, or by a file.

    Raises:
        UserError: There is none, or it is unusable.

    >>> read_named("deblock-25").said.describe()
    {'restoration': 'deblock-25'}
    """
    if known := re.fullmatch(r"deblock-(\d{1,3})", restoration):
        return NamedRestoration(Companion("restoration", restoration), Deblocking(int(known[1])))
    if restoration.startswith("deblock") and not Path(restoration).suffix:
        raise UserError(
            f"`restoration` {restoration} lacks the quality that the filter has to be told: write deblock-25",
            option="model.restoration",
        )
    path = Path(restoration).expanduser()
    network, sha256 = read_restoration(path)
    return NamedRestoration(Companion("restoration", path.name, sha256), network)
