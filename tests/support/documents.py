"""Code in the documentation."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path


def python_blocks(page: Path) -> list[str]:
    """The blocks of Python in a page of Markdown, in order."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def pages(repository: Path) -> list[Path]:
    """All pages of Markdown that are part of the project."""
    return [*sorted(repository.glob("*.md")), *sorted((repository / "docs").rglob("*.md"))]


def shell_lines(page: Path) -> list[str]:
    """Commands of a page's blocks, fenced as `sh` or indented; one that goes over several lines is one of them."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    without_fences = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    blocks += re.findall(r"(?<=\n\n)((?: {4}.*\n)+)", without_fences)
    commands = [block for block in blocks if not block.lstrip().startswith("[")]  # TOML
    return [line for block in commands for line in _whole_lines(block) if line and not line.startswith("#")]


def words_of(line: str) -> list[str]:
    """A command's words, without its comment and without settings of its environment."""
    words = shlex.split(line, comments=True)
    while words and re.match(r"\w+=", words[0]):
        words = words[1:]
    return words


def _whole_lines(block: str) -> Iterator[str]:
    held = ""
    for line in block.splitlines():
        held = f"{held} {line.strip()}".strip()
        if held.endswith("\\"):
            held = held.removesuffix("\\")
            continue
        try:
            shlex.split(held, comments=True)
        except ValueError:  # a quotation that goes on
            continue
        yield held
        held = ""


def links(page: Path) -> list[str]:
    """Targets of the links and pictures of a page that stay within the project."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """What links may point to on a page: its headings, as the site and code hosts spell them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}
