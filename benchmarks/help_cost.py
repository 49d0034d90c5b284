"""What `servecast --help` costs in CPU time, against importing the libraries it cannot do without.

Each run is a process of its own. The two commands take turns, so that a busy machine slows both,
and the least of each counts, since noise only adds. Exit code 1 when the ratio is above the limit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.table import Row, show

HELP = ("-m", "servecast", "--help")
LIBRARIES = ("-c", "import typer, rich, pydantic")
ROOT = Path(__file__).parents[1]
LIMIT = 1.6
"""The ratio that must not be exceeded."""


def cpu_s(arguments: tuple[str, ...]) -> float:
    """User and system CPU seconds of one new interpreter."""
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return usage.ru_utime + usage.ru_stime


def measure(runs: int) -> tuple[list[float], list[float]]:
    """CPU seconds of the help and of the libraries, ascending; the first runs are left out."""
    pairs = [(cpu_s(HELP), cpu_s(LIBRARIES)) for _ in range(runs + 1)][1:]
    return sorted(pair[0] for pair in pairs), sorted(pair[1] for pair in pairs)


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="processes per command")
    runs: int = parser.parse_args().runs
    helped, imported = measure(runs)
    rows = [_row("servecast --help", helped), _row("import typer, rich, pydantic", imported)]
    show(f"CPU seconds of {runs} processes", rows)
    ratio = helped[0] / imported[0]
    print(f"\nratio of the least {ratio:.2f} (limit {LIMIT})")
    sys.exit(ratio > LIMIT)


def _row(command: str, times_s: list[float]) -> Row:
    median = times_s[len(times_s) // 2]
    return {"command": command, "least": times_s[0], "median": median, "most": times_s[-1]}


if __name__ == "__main__":
    main()
