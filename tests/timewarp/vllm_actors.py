"""vLLM's server and its benchmark client, each a process on a shared clock.

python -m tests.timewarp.vllm_actors serve PORT KILLED_AT | ask PORT OUTPUT
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

from servecast.errors import ServecastError
from servecast.primitives.memory import ledger
from servecast.search.vllm_arguments import arguments, words
from servecast.simulator.replica_plan import scheduler_limits
from servecast.simulator.request import Request
from servecast.timewarp.actor import act
from servecast.timewarp.arrivals import OpenLoop
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.http_benchmark import benchmark
from servecast.timewarp.http_core import YieldingClock
from servecast.timewarp.http_server import load, started
from servecast.timewarp.http_threads import threads_as_jobs
from servecast.timewarp.journal import Journal
from servecast.timewarp.serving import Serving
from servecast.timewarp.warped import warped
from tests.constant_cost import ConstantStepCost
from tests.timewarp.emulated_cases import PLAIN, Case, admitted, poisson

CASE = Case("Poisson", PLAIN, poisson(12, 8.0))
COST = ConstantStepCost(10_000_000)


def options() -> list[str]:
    limits = scheduler_limits(CASE.deployment, ledger(CASE.deployment), CASE.workload)
    return words(arguments(CASE.deployment, limits.num_blocks + 1))


def known() -> dict[int, Request]:
    return {request.index: request for request in admitted(CASE).requests()}


async def serve(clock: VirtualClock, port: int, output: str) -> None:
    """Serve until the run is over; `output` is the virtual second at which to be killed, if any."""
    serving = Serving(VirtualDevice(YieldingClock(clock), COST), OpenLoop(iter(())))
    async with started(PLAIN, options(), serving, Journal(0), known(), port) as server:
        if output:
            await asyncio.sleep(float(output))
            os.kill(os.getpid(), signal.SIGKILL)
        await server.engine


async def ask(clock: VirtualClock, port: int, output: str) -> None:
    """Send the requests, and write down what was measured."""
    report = await benchmark(f"http://127.0.0.1:{port}", known().values(), PLAIN, None)
    Path(output).write_text(json.dumps(dataclasses.asdict(report)), encoding="utf-8")


if __name__ == "__main__":
    role, at, rest = sys.argv[1:]
    load(PLAIN.accelerator)
    virtual = VirtualClock()
    try:
        with warped(virtual, "vllm"), threads_as_jobs():
            act({"serve": serve, "ask": ask}[role](virtual, int(at), rest), virtual)
    except ServecastError as error:
        sys.exit(f"{role}: {error}")
