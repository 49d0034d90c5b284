"""A deployment under a workload, by vLLM's own server and its own benchmark client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from servecast.errors import ServecastError, UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.step_cost import StepCost
from servecast.simulator.admission import Admission
from servecast.simulator.records import merge
from servecast.simulator.request import Request
from servecast.simulator.result import Result
from servecast.timewarp.arrivals import OpenLoop
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.http_benchmark import Report, benchmark
from servecast.timewarp.http_core import YieldingClock
from servecast.timewarp.http_server import load, started
from servecast.timewarp.http_threads import threads_as_jobs
from servecast.timewarp.installation import require
from servecast.timewarp.journal import Journal
from servecast.timewarp.serving import Serving
from servecast.timewarp.virtual_loop import run
from servecast.timewarp.warped import warped
from servecast.traces.workload import Workload

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServerEmulation:
    """One run of a real server: what it did, and what its clients saw."""

    result: Result
    """Of the engine, as the in-process emulation records it; a request arrives when it reaches the
    engine, which is when its client sends it, for nothing in front of the engine takes time."""
    report: Report
    """Of `vllm bench serve`."""
    release: str
    steps: int
    cpu_s: float
    """CPU time of server and clients, the start-up not counted."""


def emulate_server(
    deployment: Deployment, workload: Workload, options: Sequence[str], cost: StepCost
) -> ServerEmulation:
    """Run `workload` through vLLM's API server, started with `options` of `vllm serve`.

    Raises InputError where vLLM refuses the options, UnsupportedError for what is not emulated or
    not installed, and ServecastError where the server or a request fails.
    """
    _refuse(deployment, workload)
    release = require(deployment.engine)
    load(deployment.accelerator)
    clock, journal = VirtualClock(), Journal(0)
    serving = Serving(VirtualDevice(YieldingClock(clock), cost), OpenLoop(iter(())))
    admission = _admission(deployment, workload)
    known = {request.index: request for request in admission.requests()}

    async def serve() -> tuple[Report, int, float]:
        async with started(deployment, options, serving, journal, known) as server:
            begun_s = time.process_time()
            report = await _unless(server.engine, _ask(server.url, known, deployment, workload))
            return report, server.num_blocks, time.process_time() - begun_s

    with warped(clock, "vllm"), threads_as_jobs():
        report, num_blocks, cpu_s = run(serve(), clock)
    result = _result(deployment, workload, cost, admission, journal, num_blocks)
    return ServerEmulation(result, report, release, journal.steps, cpu_s)


def _admission(deployment: Deployment, workload: Workload) -> Admission:
    prefixes = workload.prefixes if deployment.enable_prefix_caching else None
    if prefixes is not None:
        prefixes = prefixes.in_blocks_of(deployment.block_size)
    return Admission(workload, deployment.max_model_len, prefixes)


def _result(
    deployment: Deployment,
    workload: Workload,
    cost: StepCost,
    admission: Admission,
    journal: Journal,
    num_blocks: int,
) -> Result:
    return Result(
        deployment=deployment,
        workload=workload.name,
        records=merge([journal.recorder]),
        logs=[journal.log],
        cost=cost,
        arrived=len(workload),
        rejected=admission.rejected,
        truncated=admission.truncated,
        num_blocks=num_blocks,
        peak_blocks=journal.peak_blocks,
        is_open_loop=workload.concurrency is None,
    )


async def _ask(
    url: str, known: dict[int, Request], deployment: Deployment, workload: Workload
) -> Report:
    report = await benchmark(url, known.values(), deployment, workload.concurrency)
    failed = [error for error in report.errors if error]
    if failed:
        raise ServecastError(
            f"{len(failed)} of {len(known)} requests failed at the server; the first: "
            f"{failed[0].strip().splitlines()[-1]}"
        )
    return report


async def _unless(engine: asyncio.Task[None], asking: Coroutine[Any, Any, T]) -> T:
    """What `asking` returns; the engine's own error where that ends first."""
    client = asyncio.ensure_future(asking)
    await asyncio.wait({engine, client}, return_when=asyncio.FIRST_COMPLETED)
    if engine.done():
        client.cancel()
        await asyncio.wait({client})
        engine.result()
    return client.result()


def _refuse(deployment: Deployment, workload: Workload) -> None:
    """Raise UnsupportedError, by name, for what the server or the client here cannot do."""
    if deployment.engine != "vllm":
        raise UnsupportedError(
            f"the server of engine `{deployment.engine}` is not emulated\n  known: vllm",
            hint="emulate it without the server",
        )
    if deployment.pipeline_parallel_size > 1:
        raise UnsupportedError(
            f"a server over {deployment.pipeline_parallel_size} pipeline stages is not emulated",
            hint="set pipeline_parallel_size to 1, or emulate without the server",
        )
    if deployment.replicas > 1:
        raise UnsupportedError(
            f"{deployment.replicas} replicas behind a router are not emulated as servers",
            hint="set replicas to 1, or emulate without the server",
        )
    if workload.think_ns:
        raise UnsupportedError(
            "the benchmark client of vLLM does not think between its requests",
            hint="set the think time to 0, or emulate without the server",
        )
