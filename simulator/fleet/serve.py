"""A workload's clients in front of whatever serves them, from the first request to the last."""

from __future__ import annotations

from collections.abc import Callable

import simpy

from servecast.simulator.admission import Admission
from servecast.simulator.fleet.clients import ClosedLoop, open_loop
from servecast.simulator.fleet.front import Front
from servecast.simulator.fleet.session_clients import SessionClients
from servecast.simulator.request import Request
from servecast.traces.workload import Workload

OnFinish = Callable[[Request], None]


def serve(
    env: simpy.Environment,
    workload: Workload,
    admission: Admission,
    front: Callable[[OnFinish | None], Front],
) -> None:
    """Send the workload's requests to what `front` makes, and run until nothing happens any more.

    `front` is told whom to call at each finish: None where clients of an open loop do not listen.
    """
    requests = admission.requests()
    if workload.sessions is not None:
        followed = SessionClients(env, admission, workload, workload.sessions)
        served = front(followed.finished)
        followed.start(served)
    elif workload.concurrency is None:
        served = front(None)
        env.process(open_loop(served, requests))
    else:
        clients = ClosedLoop(env, requests, workload.think_ns)
        served = front(clients.next_request)
        clients.start(served, workload.concurrency)
    env.run()
    served.drain()
