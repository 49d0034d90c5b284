"""vLLM's server and its benchmark client, each a process of its own, on one clock.

python -m servecast.timewarp.http_actors server|client FOLDER PORT
"""

from __future__ import annotations

import contextlib
import copyreg
import os
import pickle
import socket
import sys
import tempfile
import time
from pathlib import Path
from struct import Struct
from typing import Any

from servecast.errors import ServecastError
from servecast.timewarp.actor import act
from servecast.timewarp.actor_group import Actor, run_actors
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.http_benchmark import Report, benchmark
from servecast.timewarp.http_order import Order, ServerRun
from servecast.timewarp.http_server import load, started
from servecast.timewarp.http_threads import threads_as_jobs
from servecast.timewarp.warped import warped

_ROLES = ("server", "client")
"""Who listens comes before who connects."""

_PATIENCE_S = 600.0
"""Real seconds in which both import vLLM, on a busy machine."""


def run_apart(order: Order) -> tuple[Report, ServerRun]:
    """What the client measured, and what became of the server, with the CPU time of both.

    Raises what one of the two raised, and ServecastError where one dies or does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="servecast-") as name:
        folder = Path(name)
        _write(folder / "order", order)
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = str(held.getsockname()[1])
        paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", __name__]
        actors = {
            role: Actor([*command, role, name, port], role == "server", paths) for role in _ROLES
        }
        try:
            run_actors(actors, _PATIENCE_S)
        except ServecastError as error:
            raise _told(folder) or error from None
        report, startup_cpu_s, cpu_s = _read(folder / "client")
        run: ServerRun = _read(folder / "server")
    run.startup_cpu_s += startup_cpu_s
    run.cpu_s += cpu_s
    return report, run


async def _serve(
    order: Order, run: ServerRun, folder: Path, port: int, clock: VirtualClock
) -> None:
    """Serve until the run is over."""
    serving = order.serving(clock)
    async with started(
        order.node.deployment, order.node.options, serving, run.journal, order.known(), port
    ) as server:
        run.num_blocks, run.cache = server.num_blocks, str(serving.cache)
        run.startup_cpu_s = time.process_time()
        try:
            await server.engine
        except ServecastError as error:  # before its clients can say that they were let down
            _tell(folder, error)
            raise


def _server(order: Order, folder: Path, port: int, clock: VirtualClock) -> ServerRun:
    run = ServerRun.of(order)
    act(_serve(order, run, folder, port, clock), clock)
    run.cpu_s = time.process_time() - run.startup_cpu_s
    return run


def _client(
    order: Order, folder: Path, port: int, clock: VirtualClock
) -> tuple[Report | None, float, float]:
    begun_s = time.process_time()
    deployment, workload = order.node.deployment, order.workload
    requests = order.known().values()
    asking = benchmark(f"http://127.0.0.1:{port}", requests, deployment, workload.concurrency)
    report = act(asking, clock)
    return report, begun_s, time.process_time() - begun_s


def _write(path: Path, value: object) -> None:
    with path.open("wb") as file:
        pickler = pickle.Pickler(file)
        pickler.dispatch_table = {**copyreg.dispatch_table, Struct: _by_format}
        pickler.dump(value)


def _by_format(struct: Struct) -> tuple[type[Struct], tuple[str]]:
    """How records are packed, in words that another process understands."""
    return Struct, (struct.format,)


def _read(path: Path) -> Any:
    return pickle.loads(path.read_bytes())


def _tell(folder: Path, error: ServecastError) -> None:
    """Leave word of what went wrong; who comes later was only let down by who came first."""
    with contextlib.suppress(FileExistsError), (folder / "failed").open("xb") as file:
        pickle.dump((type(error), error.message, error.hint), file)


def _told(folder: Path) -> ServecastError | None:
    """What went wrong in one of the processes, where it could say so."""
    if not (folder / "failed").exists():
        return None
    kind, message, hint = _read(folder / "failed")
    error: ServecastError = kind(message, hint=hint)
    return error


def _act(role: str, folder: Path, port: int) -> None:
    """What one of the processes does; what is printed in it is talk, and no answer."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    order: Order = _read(folder / "order")
    clock = VirtualClock()
    try:
        load(order.node.deployment.accelerator)
        with warped(clock, "vllm"), threads_as_jobs():
            made = (_server if role == "server" else _client)(order, folder, port, clock)
    except ServecastError as error:
        _tell(folder, error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    _write(folder / role, made)


if __name__ == "__main__":
    _act(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
