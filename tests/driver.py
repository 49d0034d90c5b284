"""Ways to run one engine over a list of arrivals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from servecast.primitives.step_cost import StepCost
from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.engine import Engine
from servecast.simulator.records import Records, merge
from servecast.simulator.request import Request
from servecast.simulator.scheduler import SchedulerLimits


class Arrival(NamedTuple):
    """A request to come."""

    number: int
    arrival_ns: int
    prompt_tokens: int
    output_tokens: int
    known: tuple[tuple[int, int], ...] = ()
    """Extents of KV block ids that others may share."""

    def request(self) -> Request:
        """A fresh request whose client declared what it will really emit."""
        lengths = (self.prompt_tokens, self.output_tokens, self.output_tokens)
        return Request(self.number, self.arrival_ns, *lengths, known=self.known)


def run(
    limits: SchedulerLimits, cost: StepCost, arrivals: Iterable[Arrival], *, stepping: bool = False
) -> Engine:
    """An engine that has served all `arrivals`."""
    engine = Engine(limits, cost, stepping=stepping)
    for arrival in arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    run_out(engine)
    return engine


def run_out(engine: Engine) -> None:
    """Run until idle, which takes at most `max_model_len` steps a request (law 12).

    So an engine that would never end fails here, instead of hanging.
    """
    for _ in range(engine.unfinished * engine.scheduler.limits.max_model_len + 1):
        end_ns = engine.next_ns()
        if end_ns is None:
            return
        engine.advance(end_ns)
    raise AssertionError(f"{engine.unfinished} requests never finish")


def instants(engine: Engine, arrivals: Sequence[Arrival]) -> Iterator[tuple[int, int]]:
    """Run `engine` from event to event, yielding each interval (start, end) without one.

    While an interval is yielded the engine is as it is throughout it, its next run planned.
    """
    now, coming = 0, list(arrivals)[::-1]
    for _ in range(len(coming) * (engine.scheduler.limits.max_model_len + 2) + 1):
        engine.advance(now)
        while coming and coming[-1].arrival_ns <= now:
            engine.submit(coming.pop().request(), now)
        events = [engine.next_ns(), coming[-1].arrival_ns if coming else None]
        known = [event for event in events if event is not None]
        if not known:
            return
        yield now, min(known)
        now = min(known)
    raise AssertionError(f"{engine.unfinished} requests never finish")


def records_of(engine: AnyEngine) -> Records:
    """The finished requests of one engine."""
    return merge([engine.recorder])


def inter_token_ns(engine: Engine, cost: StepCost) -> Counter[int]:
    """How often each gap between two tokens of a request came, by the run log."""
    pool: Counter[int] = Counter()
    waits, counts = engine.log.inter_token_ns(cost.decode_run)
    for wait, count in zip(waits.tolist(), counts.tolist(), strict=True):
        pool[wait] += count
    return +pool
