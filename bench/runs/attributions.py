"""What a run's folder says about its Integrated Gradients, read back from files that may be a stranger's."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from bench.runs.files import FileError, read_bounded

if TYPE_CHECKING:
    import pandas as pd

UNREADABLE = (OSError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError)
"""What it raises to make something of a record's `attribution`, or of a table, that is not as it was written."""

_LONGEST_REASON = 200
_MOST_BYTES = 2**26
_MOST_ROWS = 50_000  # more than the views of a run can have, or the images that anyone looks at


def why(error: Exception) -> str:
    """What one of `UNREADABLE` says, in a short line."""
    return error.reason if isinstance(error, FileError) else repr(error)[:_LONGEST_REASON]


def read_attribution_table(file: Path, **types: str) -> "pd.DataFrame":
    """The first rows of a table in a run's folder `attributions`.

    Args:
        file: The table.
        types: Of columns, by name.

    Raises:
        FileError: It is no regular file in a folder of the run's own, or is too large.
        ValueError: It is no such table.
        OverflowError: It has a number of too many digits.
        OSError: It cannot be read.
    """
    import pandas as pd

    if file.parent.is_symlink():
        raise FileError(file, "its folder is a link")
    content = BytesIO(read_bounded(file, _MOST_BYTES, follow=False))
    return pd.read_csv(content, nrows=_MOST_ROWS, dtype=dict(types))
