"""Importing the package is cheap: what it offers is imported when it is asked for."""

import subprocess
import sys


def test_import_costs_little(repository):
    program = (
        "import sys, time; start = time.process_time(); import bench; print(time.process_time() - start);"
        "print(sorted({'torch', 'lightning', 'open_clip', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.splitlines()
    assert float(seconds) < 0.3
    assert heavy == "[]"
