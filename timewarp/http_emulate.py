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
from servecast.timewarp.arrivals import refuse_sessions
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.emulate import Emulation
from servecast.timewarp.http_actors import run_apart
from servecast.timewarp.http_benchmark import Report, benchmark
from servecast.timewarp.http_order import Order, ServerRun
from servecast.timewarp.http_server import load, started
from servecast.timewarp.http_threads import threads_as_jobs
from servecast.timewarp.installation import require
from servecast.timewarp.mode import Front, Mode
from servecast.timewarp.virtual_loop import run as run_loop
from servecast.timewarp.vllm_replica import Node
from servecast.timewarp.warped import warped
from servecast.traces.workload import Workload

T = TypeVar("T")

TOGETHER = Mode(front=Front.SERVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEmulation(Emulation):
    """One run of a real server: what it did, and what its clients saw.

    The result is the engine's, as the in-process emulation records it; a request arrives when it
    reaches the engine, which is when its client sends it, for nothing in front of the engine takes
    time. CPU time is that of server and client.
    """

    report: Report
    """Of `vllm bench serve`."""
    processes: int
    """In which server and client ran."""


def emulate_server(
    deployment: Deployment,
    workload: Workload,
    options: Sequence[str],
    cost: StepCost,
    mode: Mode = TOGETHER,
) -> ServerEmulation:
    """Run `workload` through vLLM's API server, started with `options` of `vllm serve`.

    Where server and client are processes of their own `cost` goes to them by pickle.

    Raises InputError where vLLM refuses the options, UnsupportedError for what is not emulated or
    not installed, and ServecastError where the server or a request fails.
    """
    _refuse(deployment, workload, mode)
    release = require(deployment.engine)
    order = Order(Node(deployment, options, cost), workload, mode.log_batches)
    is_apart = mode.front is Front.PROCESSES
    report, served = run_apart(order) if is_apart else _run_together(order)
    _require_success(report)
    return ServerEmulation(
        order.node.result(workload, [served.journal], served.num_blocks),
        release,
        flow=None,
        stepping=True,
        steps=served.journal.steps,
        cpu_s=served.cpu_s,
        startup_cpu_s=served.startup_cpu_s,
        batches=[] if served.log is None else [served.log],
        cache=served.cache,
        report=report,
        processes=2 if is_apart else 1,
    )


def _run_together(order: Order) -> tuple[Report, ServerRun]:
    """Server and client on one loop of this process."""
    begun_s = time.process_time()
    deployment, run = order.node.deployment, ServerRun.of(order)
    load(deployment.accelerator)
    clock, known = VirtualClock(), order.known()
    serving = order.serving(clock)

    async def serve() -> Report:
        async with started(deployment, order.node.options, serving, run.journal, known) as server:
            answering_s = time.process_time()
            run.num_blocks, run.cache = server.num_blocks, str(serving.cache)
            run.startup_cpu_s = answering_s - begun_s
            concurrency = order.workload.concurrency
            asking = benchmark(server.url, known.values(), deployment, concurrency)
            report = await _unless(server.engine, asking)
            run.cpu_s = time.process_time() - answering_s
            return report

    with warped(clock, "vllm"), threads_as_jobs():
        return run_loop(serve(), clock), run


def _require_success(report: Report) -> None:
    failed = [error for error in report.errors if error]
    if failed:
        raise ServecastError(
            f"{len(failed)} of {len(report.errors)} requests failed at the server; the first: "
            f"{failed[0].strip().splitlines()[-1]}"
        )


async def _unless(engine: asyncio.Task[None], asking: Coroutine[Any, Any, T]) -> T:
    """What `asking` returns; the engine's own error where that ends first."""
    client = asyncio.ensure_future(asking)
    await asyncio.wait({engine, client}, return_when=asyncio.FIRST_COMPLETED)
    if engine.done():
        client.cancel()
        await asyncio.wait({client})
        engine.result()
    return client.result()


def _refuse(deployment: Deployment, workload: Workload, mode: Mode) -> None:
    """Raise UnsupportedError, by name, for what the server or the client here cannot do."""
    refuse_sessions(workload)
    if deployment.engine != "vllm":
        raise UnsupportedError(
            f"the server of engine `{deployment.engine}` is not emulated\n  known: vllm",
            hint="leave --server out, or set engine.name to `vllm`",
        )
    if deployment.pipeline_parallel_size > 1:
        raise UnsupportedError(
            f"a server over {deployment.pipeline_parallel_size} pipeline stages is not emulated",
            hint="set pipeline_parallel_size to 1, or leave --server out",
        )
    if deployment.replicas > 1:
        raise UnsupportedError(
            f"{deployment.replicas} replicas behind a router are not emulated as servers",
            hint="set replicas to 1, or leave --server out",
        )
    if deployment.drafting is not None:
        raise UnsupportedError(
            "speculative decoding behind vLLM's server is not emulated",
            hint="leave the speculation out, or leave --server out",
        )
    if mode.flow is not None:
        raise UnsupportedError(
            "a server runs on a frozen clock alone: whose CPU time counted would be the loop's",
            hint="leave --flow or --server out",
        )
    if workload.think_ns:
        raise UnsupportedError(
            "the benchmark client of vLLM does not think between its requests",
            hint="set the think time to 0, or leave --server out",
        )
