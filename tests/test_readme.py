"""The README's Python runs as printed, each block in a process of its own."""

import os
import re
import subprocess
import sys

import pytest


@pytest.fixture
def clone(repository, tmp_path):
    """A folder that looks like a clone to a program that only reads it."""
    for name in ("configs", "docs"):
        (tmp_path / name).symlink_to(repository / name)
    return tmp_path


def blocks(repository):
    return re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", [0, 1])
def test_python_of_the_readme_runs_as_printed(repository, clone, number):
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", blocks(repository)[number]],
        cwd=clone, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if number == 0:
        assert (clone / "explanation.png").read_bytes().startswith(b"\x89PNG")
    else:
        assert re.search(r"^jpeg-25 +0\.\d+$", done.stdout, re.MULTILINE), done.stdout


def test_there_is_no_other_python_in_the_readme(repository):
    assert len(blocks(repository)) == 2


def test_import_costs_little(repository):
    program = (
        "import sys, time; start = time.process_time(); import bench; print(time.process_time() - start);"
        "print(sorted({'torch', 'lightning', 'open_clip', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.splitlines()
    assert float(seconds) < 0.3
    assert heavy == "[]"
