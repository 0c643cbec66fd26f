"""The kinds of degradation that there are: this project's own, and those that users register."""

import re
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import TypeVar

from datamodules.degradations.base import Degradation, Kind, Original
from datamodules.degradations.codecs import Avif, Heic, Jpeg2000Psnr, Jpeg2000Ratio, JpegXl, LosslessWebP, WebP
from datamodules.degradations.geometry import Crop, Resize
from datamodules.degradations.jpeg import Cifar10CJpeg, ImageNetCJpeg, Jpeg
from datamodules.degradations.published import PublishedCorruption
from datamodules.degradations.references import Blur, DownUp, Noise
from datamodules.degradations.tables import JpegTables
from datamodules.errors import UserError

AnyKind = TypeVar("AnyKind", bound=type[Kind])

ENTRY_POINTS = "datamodules.degradations"
"""Group of entry points by which an installed package brings degradations to every process."""

_BUILT_IN: dict[str, type[Kind]] = {
    kind.head: kind
    for kind in (
        Original,
        Jpeg,
        JpegTables,
        Cifar10CJpeg,
        ImageNetCJpeg,
        WebP,
        LosslessWebP,
        Avif,
        Jpeg2000Ratio,
        Jpeg2000Psnr,
        JpegXl,
        Heic,
        Resize,
        Crop,
        DownUp,
        Blur,
        Noise,
        PublishedCorruption,
    )
}
_registered: dict[str, type[Kind]] = {}


def register(kind: AnyKind) -> AnyKind:
    """Make a kind of degradation known by its name, wherever views are named: to be used as a class decorator.

    A class of the same name in the same module takes the place of an earlier one, as when a notebook's cell runs again.

    Raises:
        UserError: The head holds other characters than letters, digits, `-` and `.`, or is another kind's.
    """
    head = kind.head
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", head) is None:
        raise UserError(f"degradation head {head!r} cannot be part of a file name: use letters, digits, - and .")
    other = _BUILT_IN.get(head) or _registered.get(head)
    if other is not None and (other.__module__, other.__qualname__) != (kind.__module__, kind.__qualname__):
        raise UserError(
            f"degradation head {head!r} is that of {other.__qualname__}: choose another for {kind.__qualname__}"
        )
    _registered[head] = kind
    return kind


def registered() -> tuple[type[Kind], ...]:
    """The kinds that users have registered in this process; a fresh one has to be told."""
    return tuple(_registered.values())


def parse_link(spec: str) -> Degradation:
    """Turn the specification of one kind, not of a chain, into its degradation; numbers may be written in any way.

    Packages that bring kinds are asked where no known kind begins as this specification does.

    Raises:
        UserError: There is no such kind, a parameter is out of range, or such a package cannot be imported.
    """
    fitting = _matching(spec)
    if not fitting:
        _load_entry_points()
        fitting = _matching(spec)
    if not fitting:
        bare = spec.lower().rstrip("-.0123456789")
        close = get_close_matches(bare, [kind.head for kind in all_kinds()], n=1)
        hint = f" (is it {close[0]}?)" if close else ""
        forms = ", ".join(kind.form() for kind in all_kinds())
        raise UserError(f"unknown degradation {spec!r}{hint}: choose from {forms}, or several joined by +")
    return max(fitting, key=lambda kind: len(kind.head)).from_spec(spec)


def all_kinds() -> list[type[Kind]]:
    """Every kind that is known, this project's own first."""
    return [*_BUILT_IN.values(), *_registered.values()]


def _matching(spec: str) -> list[type[Kind]]:
    return [kind for kind in all_kinds() if spec == kind.head or spec.startswith(f"{kind.head}-")]


@cache
def _load_entry_points() -> None:
    for point in entry_points(group=ENTRY_POINTS):
        try:
            register(point.load())
        except UserError:
            raise
        except Exception as error:  # whatever a package's own code raises
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(
                f"the entry point {point.value!r} cannot be loaded ({reason}): mend or remove it"
            ) from error
