"""What a command takes, measured by a process that is nothing else: `python -m benchmarks.usage FILE COMMAND...`.

A child's peak memory begins at that of the process it was started from, so that one that holds torch must not measure.
Seconds, processor seconds and peak memory in MiB go into the file as JSON; the exit code is that of the command.
"""

import json
import resource
import subprocess
import sys
import time


def main() -> None:
    """Run the command and write what it took."""
    file, *command = sys.argv[1:]
    start = time.perf_counter()
    code = subprocess.call(command)
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(file, "w", encoding="utf-8") as target:
        json.dump([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024], target)
    sys.exit(code)


if __name__ == "__main__":
    main()
