"""Code in the documentation."""

import re
from pathlib import Path


def python_blocks(page: Path) -> list[str]:
    """The blocks of Python in a page of Markdown, in order."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
