"""What a server and its benchmark client are to do, and what became of the server."""

from __future__ import annotations

from dataclasses import dataclass

from servecast.simulator.request import Request
from servecast.timewarp.arrivals import OpenLoop
from servecast.timewarp.batch_log import BatchLog
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.http_core import YieldingClock
from servecast.timewarp.journal import Journal
from servecast.timewarp.serving import Serving
from servecast.timewarp.vllm_replica import Node
from servecast.traces.workload import Workload


@dataclass(frozen=True, slots=True)
class Order:
    """One server, and who comes."""

    node: Node
    workload: Workload
    log_batches: bool

    def known(self) -> dict[int, Request]:
        """The requests whose lengths are decided, by the id that their client sends."""
        requests = self.node.admission(self.workload).requests()
        return {request.index: request for request in requests}

    def serving(self, clock: VirtualClock) -> Serving:
        """The server's device, for the event loop of `clock`; requests come over sockets."""
        return Serving(VirtualDevice(YieldingClock(clock), self.node.cost), OpenLoop(iter(())))


@dataclass(slots=True)
class ServerRun:
    """What is kept of a server that has run."""

    journal: Journal
    log: BatchLog | None
    num_blocks: int = 0
    cache: str = ""
    startup_cpu_s: float = 0.0
    """CPU time until it answers."""
    cpu_s: float = 0.0
    """CPU time from then on."""

    @classmethod
    def of(cls, order: Order) -> ServerRun:
        """One that is to come."""
        log = BatchLog(0) if order.log_batches else None
        return cls(Journal(0, log), log)
