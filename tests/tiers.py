"""Engines with a tier of KV blocks in host memory, and what they did."""

from __future__ import annotations

from collections.abc import Iterable

from servecast.primitives.step_cost import StepCost
from servecast.simulator.host_tier import HostTier
from servecast.simulator.host_transfers import HostTransfers
from servecast.simulator.link import Link
from servecast.simulator.load_rule import LoadRule
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.tiered_engine import TieredEngine
from tests.driver import Arrival, run_out


def transfers(blocks: int, block_ns: float = 0.0) -> HostTransfers:
    """A host tier behind equally fast links."""
    return HostTransfers(HostTier(blocks), Link(block_ns, 1), Link(block_ns, 1))


def run_tiered(
    limits: SchedulerLimits,
    cost: StepCost,
    arrivals: Iterable[Arrival],
    moved: HostTransfers,
    *,
    pays: LoadRule | None = None,
    stepping: bool = False,
) -> TieredEngine:
    """An engine that has served all `arrivals`."""
    engine = TieredEngine(limits, cost, moved, pays=pays, stepping=stepping)
    for arrival in arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    run_out(engine)
    return engine
