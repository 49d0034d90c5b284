"""Small prefill and decode sides for tests, run to their end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import simpy

from servecast.primitives.step_cost import StepCost
from servecast.simulator.connected_engine import ConnectedEngine
from servecast.simulator.fleet.clients import open_loop
from servecast.simulator.fleet.disaggregated import Disaggregated, Side
from servecast.simulator.fleet.load_routers import CentralQueue
from servecast.simulator.fleet.static_routers import RoundRobin
from servecast.simulator.fleet.transfer import Transfer, Way
from servecast.simulator.records import Records, merge
from servecast.simulator.scheduler import SchedulerLimits
from tests.driver import Arrival
from tests.toy_deployments import DENSE


@dataclass(frozen=True)
class Sides:
    """Engines of both kinds behind one front."""

    env: simpy.Environment
    front: Disaggregated
    prefill: list[ConnectedEngine]
    decode: list[ConnectedEngine]

    @property
    def engines(self) -> list[ConnectedEngine]:
        """All of them, in the order of their numbers."""
        return [*self.prefill, *self.decode]

    @property
    def inside(self) -> int:
        """Requests that are somewhere in it."""
        return sum(engine.outstanding for engine in self.engines) + self.front.queued

    def records(self) -> Records:
        """One record for each request that was decoded."""
        return merge([engine.recorder for engine in self.decode])

    def serve(self, arrivals: Iterable[Arrival]) -> Iterator[int]:
        """Run until nothing happens any more, yielding each moment as it begins to pass."""
        self.env.process(open_loop(self.front, (arrival.request() for arrival in arrivals)))
        for _ in range(200_000):
            if self.env.peek() == math.inf:
                self.front.drain()
                return
            if self.env.peek() > self.env.now:
                yield int(self.env.peek()) - int(self.env.now)
            self.env.step()
        raise AssertionError("the two sides never come to rest")


def sides(
    limits: SchedulerLimits,
    cost: StepCost,
    transfer: Transfer,
    replicas: tuple[int, int] = (1, 1),
    *,
    decode_limits: SchedulerLimits | None = None,
    central: bool = False,
    stepping: bool = False,
) -> Sides:
    """Two sides of the toy deployment's KV cache; a central queue in front of each, or turns."""
    env = simpy.Environment(initial_time=0)
    first, second = replicas
    engines = [
        ConnectedEngine(
            limits if number < first else decode_limits or limits, cost, number, stepping=stepping
        )
        for number in range(first + second)
    ]
    router = CentralQueue if central else RoundRobin
    way = Way(transfer, DENSE, DENSE)
    front = Disaggregated(
        env,
        Side(engines[:first], router()),
        Side(engines[first:], router()),
        transfer,
        lambda sender, receiver: way,
    )
    return Sides(env, front, engines[:first], engines[first:])


def served(found: Sides, arrivals: Iterable[Arrival]) -> Sides:
    """The same, after it has served all `arrivals`."""
    for _ in found.serve(arrivals):
        pass
    return found
