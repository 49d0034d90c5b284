"""Where the simulator spends itself: Python instructions and calls a request, by module.

They are counted, not timed, so two runs of one Python agree to the last digit on a busy machine
too. C code counts for nothing here, of which little is left: heaps, packing rows, numpy at first
prices. `simulator_speed` says what it all takes in CPU seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from benchmarks.simulator_speed import deployment, workload
from benchmarks.table import Row, show, write
from servecast.primitives.deployment import Deployment
from servecast.simulator.simulate import simulate
from servecast.traces.workload import Workload

SHOWN = 14


class Counts:
    """Instructions that Python executed, and calls it made, by code object."""

    def __init__(self) -> None:
        self.instructions: Counter[CodeType] = Counter()
        self.calls: Counter[CodeType] = Counter()

    def of(self, run: Callable[[], object]) -> None:
        """Count what `run` executes."""
        sys.settrace(self._trace)
        try:
            run()
        finally:
            sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            self.calls[frame.f_code] += 1
        elif event == "opcode":
            self.instructions[frame.f_code] += 1
        return self._trace


def profile(served_by: Deployment, arriving: Workload) -> list[Row]:
    """A row for each of the busiest modules, and one for all; first prices are left out."""
    cost = simulate(served_by, arriving).cost
    counts = Counts()
    counts.of(lambda: simulate(served_by, arriving, cost=cost))
    instructions: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for code, executed in counts.instructions.items():
        instructions[_module(code)] += executed
        calls[_module(code)] += counts.calls[code]
    total, requests = instructions.total(), len(arriving)
    rows: list[Row] = [
        _row(name, executed, calls[name], total, requests)
        for name, executed in instructions.most_common(SHOWN)
    ]
    return [*rows, _row("all", total, calls.total(), total, requests)]


def main() -> None:
    """Count both workloads and print them."""
    options = _options()
    traffics = ["13/s", "mooncake"] if os.environ.get("SERVECAST_DATA") else ["13/s"]
    tables = {
        traffic: profile(deployment(traffic), workload(traffic, options.requests))
        for traffic in traffics
    }
    for name, rows in tables.items():
        show(f"{name}, {options.requests:,} requests", rows)
    if options.out:
        write(options.out, tables)


def _row(name: str, instructions: int, calls: int, total: int, requests: int) -> Row:
    return {
        "module": name,
        "instructions": instructions / requests,
        "% of all": 100 * instructions / total,
        "calls": calls / requests,
    }


def _module(code: CodeType) -> str:
    path = Path(code.co_filename)
    return f"{path.parent.name}/{path.stem}" if path.suffix == ".py" else "made by the library"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000, help="of each workload")
    parser.add_argument("--out", type=Path, help="also write the tables: .json or .csv")
    return parser.parse_args()


if __name__ == "__main__":
    main()
