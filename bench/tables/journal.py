"""What a search has measured so far, on disk: a line of JSON per measurement, so that a killed one is taken up."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.runs.files import read_bounded
from datamodules.errors import UserError

_LARGEST = 2**28  # bytes


class TablesJournal:
    """Answers by question, kept in a file from the moment that they are known.

    Args:
        path: The file; it is made when something is kept.
        subject: Whatever decides about the answers, JSON-able.

    Raises:
        UserError: The file is that of another subject.
    """

    def __init__(self, path: Path, subject: Mapping[str, Any]) -> None:
        self.path = path
        self._subject = hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()
        self._known: dict[str, Any] = {}
        try:
            lines = read_bounded(path, _LARGEST).split(b"\n")
        except FileNotFoundError:
            return
        whole = [found for line in lines if (found := _line(line)) is not None]
        if not whole or whole[0].get("subject") != self._subject:
            raise UserError(
                f"{str(path)!r} is the journal of a search with other settings: delete it, or choose another --output"
            )
        self._known = {line["question"]: line["answer"] for line in whole if "question" in line and "answer" in line}

    def get(self, question: str) -> Any:
        """The answer; None if it is not known."""
        return self._known.get(question)

    def keep(self, question: str, answer: Any) -> None:
        """Remember an answer, JSON-able."""
        new = not self.path.exists()
        with self.path.open("a", encoding="utf-8") as file:
            if new:
                file.write(json.dumps({"subject": self._subject}) + "\n")
            file.write("\n" * (not new) + json.dumps({"question": question, "answer": answer}))
        self._known[question] = answer

    def delete(self) -> None:
        """Nothing is to be taken up any more."""
        self.path.unlink(missing_ok=True)


def _line(line: bytes) -> dict[str, Any] | None:
    """A line's mapping; None of one that was cut off when its writer was killed."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and all(isinstance(key, str) for key in found) else None
