"""The tests that docs/SECURITY.md names as holding its promises exist."""

import re


def test_every_promise_names_a_test_that_exists(repository):
    page = (repository / "docs/SECURITY.md").read_text(encoding="utf-8")
    tests = {
        file.relative_to(repository).as_posix(): file.read_text() for file in repository.glob("tests/**/test_*.py")
    }
    defined = {name for text in tests.values() for name in re.findall(r"^ *def (test_\w+)\(", text, re.MULTILINE)}
    promises = [row.split("|")[3] for row in page.splitlines() if row.startswith("| ") and "held by" not in row]
    assert len(promises) > 15
    for held_by in promises:
        named = re.findall(r"`([^`]+)`", held_by)
        assert named, held_by
        assert set(named) <= tests.keys() | defined, held_by
