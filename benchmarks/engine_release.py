"""Whether the release of vLLM that is installed here decides as the simulator does, by numbers.

`python -m benchmarks.engine_release`, in an environment with any release: nobody is asked whether
it was tested. Every time of every request is compared, at the roofline's costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields, replace
from unittest import mock

import numpy as np

from benchmarks.emulator_speed import workload
from benchmarks.simulator_speed import deployment
from benchmarks.table import Row, show
from servecast.emulation import run
from servecast.primitives.deployment import Deployment
from servecast.primitives.roofline import RooflineSource
from servecast.simulator.records import Records
from servecast.simulator.simulate import simulate
from servecast.timewarp.installation import INSTALLATIONS
from servecast.timewarp.mode import Mode
from servecast.traces.prefixes import prefixes
from servecast.traces.workload import Workload

LOG_ROWS = ("first_run", "last_run")
"""Columns that count rows of a log, which depend on how many steps a row stands for."""


def cases() -> Iterator[tuple[str, Deployment, Workload]]:
    """What a release is asked: chunks, preemptions, shared prompts, scheduling ahead."""
    plain = replace(deployment(), max_model_len=4096)
    yield "Poisson", plain, workload(300, 8.0, 512, 256)
    chunked = replace(plain, max_num_seqs=64, max_num_batched_tokens=256)
    yield "prompts in chunks", chunked, workload(100, 20.0, 900, 64)
    cramped = replace(plain, max_model_len=1024, num_gpu_blocks_override=400)
    yield "preemptions", cramped, workload(64, 0.0, 120, 200)
    chains = [[index % 5 * 100 + block for block in range(24)] for index in range(200)]
    shared = prefixes(16, chains)
    alike = replace(workload(200, 20.0, 600, 64), prefixes=shared)
    yield "prompts that begin alike", replace(plain, enable_prefix_caching=True), alike
    yield "scheduling ahead", replace(plain, async_scheduling=True), workload(300, 8.0, 512, 256)


def compared(name: str, served: Deployment, traffic: Workload) -> Row:
    """One case: what requests took, and in how many of the columns the two differ."""
    emulation = run(served, traffic, RooflineSource(), mode=Mode(stepping=True))
    ours, theirs = simulate(served, traffic, source=RooflineSource()), emulation.result
    columns = [field.name for field in fields(Records) if field.name not in LOG_ROWS]
    differing = [
        column
        for column in columns
        if not np.array_equal(getattr(ours.records, column), getattr(theirs.records, column))
    ]
    return {
        "case": name,
        "steps": emulation.steps,
        "TTFT ms": f"{theirs.ttft.mean * 1e3:.3f}",
        "TPOT ms": f"{theirs.tpot.mean * 1e3:.3f}",
        "E2E ms": f"{theirs.e2e.mean * 1e3:.3f}",
        "preemptions": theirs.preemptions,
        "the simulator": "differs in " + ", ".join(differing) if differing else "equal",
    }


def main() -> None:
    """Print the comparison for the release that is installed."""
    found = INSTALLATIONS["vllm"].found
    if found is None:
        raise SystemExit("vLLM is not installed: see `servecast doctor`")
    with ExitStack() as unasked:
        for room in ("timewarp.emulate", "emulators", "emulation"):
            unasked.enter_context(mock.patch(f"servecast.{room}.require", return_value=found))
        show(f"vLLM {found}", [compared(*case) for case in cases()])


if __name__ == "__main__":
    main()
