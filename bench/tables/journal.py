"""What a search has measured so far, on disk: a line of JSON per measurement, so that a killed one is taken up."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.runs.files import read_bounded
from datamodules.errors import UserError

_LARGEST = 2**28  # bytes
_LARGEST_NUMBER = 1e15


class TablesJournal:
    """Answers by question, kept in a file from the moment that they are known.

    Args:
        path: The file; it is made when something is kept.
        subject: Whatever decides about the answers, JSON-able.

    Raises:
        UserError: The file is that of another subject, or no regular file.
    """

    def __init__(self, path: Path, subject: Mapping[str, Any]) -> None:
        self.path = path
        self._subject = hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()
        self._known: dict[str, list[float]] = {}
        try:
            lines = read_bounded(path, _LARGEST, follow=False).split(b"\n")
        except FileNotFoundError:
            return
        whole = [found for line in lines if (found := _line(line)) is not None]
        if not whole or whole[0].get("subject") != self._subject:
            raise UserError(
                f"{str(path)!r} is the journal of a search with other settings: delete it, or choose another --output"
            )
        for line in whole:
            answer = line.get("answer")
            if isinstance(line.get("question"), str) and isinstance(answer, list) and all(map(_is_finite, answer)):
                self._known[line["question"]] = [float(number) for number in answer]

    def ask(self, question: str, length: int, measure: Callable[[], Sequence[float]]) -> list[float]:
        """The answer that is known, or else what is measured now, which is kept.

        Args:
            question: Any text.
            length: How many numbers the answer has; one of another length is none.
            measure: Called where there is no answer; finite numbers.
        """
        known = self._known.get(question)
        if known is None or len(known) != length:
            known = self._known[question] = [float(number) for number in measure()]
            self._write(question, known)
        return known

    def _write(self, question: str, answer: Sequence[float]) -> None:
        new = not self.path.exists()
        with self.path.open("a", encoding="utf-8") as file:
            if new:
                file.write(json.dumps({"subject": self._subject}))
            file.write("\n" + json.dumps({"question": question, "answer": answer}))

    def delete(self) -> None:
        """Nothing is to be taken up any more."""
        self.path.unlink(missing_ok=True)


def _line(line: bytes) -> dict[str, Any] | None:
    """A line's mapping; None of one that was cut off when its writer was killed."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_finite(number: Any) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < _LARGEST_NUMBER
