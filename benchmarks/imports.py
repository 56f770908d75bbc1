"""What ``import storekit`` costs, side by side with ``import pandas``: ``python benchmarks/imports.py``.

Each import runs in fresh processes, in turn; the figures are medians of CPU seconds, the interpreter's own start
included.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

RUNS = 7
STATEMENTS = {
    "nothing": "pass",
    "import storekit": "import storekit",
    "import storekit; storekit.connect": "import storekit; storekit.connect",
    "import pandas": "import pandas",
}


def cpu_seconds(statement: str) -> float:
    """Return the CPU time of one fresh process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    measured: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for statement in STATEMENTS.values():
        cpu_seconds(statement)  # the first run reads the files from disk
    for _ in range(RUNS):
        for name, statement in STATEMENTS.items():
            measured[name].append(cpu_seconds(statement))
    pandas = statistics.median(measured["import pandas"])
    for name, seconds in measured.items():
        median = statistics.median(seconds)
        print(f"{name:36} {median:6.3f} s   {median / pandas:5.2f} of pandas")


if __name__ == "__main__":
    main()
