"""The restoration that an option names."""

import re
from dataclasses import dataclass
from pathlib import Path

from bench.clip.zero_shot import Restorer
from bench.restoration.deblocking import Deblocking
from bench.restoration.files import read_restoration
from bench.runs.provenance import RESTORATION, RESTORATION_SHA256
from datamodules.errors import UserError


@dataclass(frozen=True)
class NamedRestoration:
    """A restoration, and what results say about it.

    Attributes:
        name: As a file is called, without folders, or as the option names it.
        restorer: What restores.
        sha256: Of the file; None where it is none.
    """

    name: str
    restorer: Restorer
    sha256: str | None = None

    def describe(self) -> dict[str, str]:
        """What a result record says about it beside what it says about the encoder, JSON-able."""
        return {RESTORATION: self.name} | ({} if self.sha256 is None else {RESTORATION_SHA256: self.sha256})


def read_named(restoration: str) -> NamedRestoration:
    """The restoration that is meant by `deblock-QUALITY`, or by a file.

    Raises:
        UserError: There is none, or it is unusable.

    >>> read_named("deblock-25").describe()
    {'restoration': 'deblock-25'}
    """
    if known := re.fullmatch(r"deblock-(\d{1,3})", restoration):
        return NamedRestoration(restoration, Deblocking(int(known[1])))
    if restoration.startswith("deblock") and not Path(restoration).suffix:
        raise UserError(
            f"`restoration` {restoration} lacks the quality that the filter has to be told: write deblock-25",
            option="model.restoration",
        )
    path = Path(restoration).expanduser()
    network, sha256 = read_restoration(path)
    return NamedRestoration(path.name, network, sha256)
