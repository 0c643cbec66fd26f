"""The names of the sources of published figures; nothing heavy is imported for them."""

from collections.abc import Sequence
from difflib import get_close_matches

from datamodules.errors import UserError

NAMES = ("paper", "openclip", "cifar10-c", "cifar100-c", "imagenet-c", "imagenet-testbed")
"""Names of all sources of published figures, as `--against` takes them."""


def require_names(names: Sequence[str]) -> None:
    """Refuse names that are no source's.

    Raises:
        UserError: One is not.
    """
    for name in names:
        if name not in NAMES:
            close = get_close_matches(name.lower(), NAMES, n=1)
            hint = f": did you mean {close[0]}?" if close else ""
            raise UserError(f"{name!r} is no source of published figures{hint}; choose from {', '.join(NAMES)}")
