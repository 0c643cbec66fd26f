"""Lines for the user that are no errors."""

import logging

from lightning.pytorch.utilities import rank_zero_only

_log = logging.getLogger(f"lightning.pytorch.{__name__}")  # below Lightning's logger, which prints lines as they are


@rank_zero_only
def say(line: str) -> None:
    """Print a line once, whatever the number of processes."""
    _log.warning(line)
