"""Clients in front of one engine, without a cluster: the same moments, at less cost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.request import Request


def serve_open_loop(engine: AnyEngine, requests: Iterable[Request]) -> None:
    """Serve all requests, each sent at its arrival time.

    Equal to an `open_loop` on a `Cluster` of this one engine behind a router that lets all through.
    """
    for request in requests:
        arrival_ns = request.arrival_ns
        engine.advance(arrival_ns)
        engine.submit(request, arrival_ns)
        engine.finished.clear()
    engine.advance(None)
    engine.finished.clear()


def serve_closed_loop(
    engine: AnyEngine, requests: Iterable[Request], concurrency: int, think_ns: int
) -> None:
    """Serve all requests: `concurrency` at once, each next one `think_ns` after a last token.

    Equal to a `ClosedLoop` on a `Cluster` of this one engine behind a router that lets all through:
    at one instant runs end first, then clients send, then the next run is planned.
    """
    coming = iter(requests)
    due = deque([0] * concurrency)
    """When clients send; in order, because they all think equally long."""
    while due or engine.unfinished:
        until_ns = due[0] if due else None
        engine.advance(until_ns, to_finish=True)
        now_ns = until_ns or 0
        if engine.finished:
            now_ns = engine.now_ns
            due.extend([now_ns + think_ns] * len(engine.finished))
            engine.finished.clear()
        while due and due[0] <= now_ns:
            due.popleft()
            request = next(coming, None)
            if request is None:
                due.clear()
                break
            request.arrival_ns = now_ns
            engine.submit(request, now_ns)
