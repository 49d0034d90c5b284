"""The turns of an engine's loop, and every way in which an engine can let its driver down."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from servecast.errors import InputError, ServecastError
from servecast.simulator.request import Request
from servecast.timewarp.arrivals import Arrivals, ClosedLoop, OpenLoop
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.driver import Driver
from servecast.timewarp.journal import Journal
from servecast.timewarp.served import Served
from servecast.timewarp.serving import Serving
from tests.constant_cost import ConstantStepCost

STEP_NS = 1_000


class OneByOne:
    """An engine that computes a whole request a turn at a time, first come first served."""

    name = "one-by-one"

    def __init__(self, serving: Serving, fault: Callable[[int], None] | None = None) -> None:
        self.serving = serving
        self.queue: list[Served] = []
        self.turns = 0
        self._fault = fault

    @property
    def has_work(self) -> bool:
        return bool(self.queue)

    def add(self, request: Request) -> None:
        self.queue.append(Served(request, 16))

    def step(self) -> list[int]:
        self.turns += 1
        if self._fault is not None:
            self._fault(self.turns)
        head = self.queue[0]
        step = self.serving.device.run([(head, head.request.num_tokens - head.computed)])
        self.serving.device.clock.jump_to(step.end_ns)
        self.serving.done.append(step)
        if head.request.emitted < head.request.output_tokens:
            return []
        return [self.queue.pop(0).request.index]


class Deaf(OneByOne):
    """An engine that never schedules anything."""

    def step(self) -> list[int]:
        self.turns += 1
        return []


class Hasty(OneByOne):
    """An engine that ends requests before their last token."""

    def step(self) -> list[int]:
        super().step()
        return [self.queue[0].request.index]


def serving(arrivals: Arrivals) -> Serving:
    return Serving(VirtualDevice(VirtualClock(), ConstantStepCost(STEP_NS)), arrivals)


def requests(count: int, gap_ns: int) -> list[Request]:
    return [Request(i, i * gap_ns, 10, 3, max_tokens=100) for i in range(count)]


def open_loop(count: int, gap_ns: int) -> Serving:
    return serving(OpenLoop(iter(requests(count, gap_ns))))


def drive(engine: OneByOne) -> Journal:
    journal = Journal(0)
    Driver(engine, engine.serving, journal).run()
    return journal


def test_the_clock_jumps_from_step_to_step_and_over_idle_time() -> None:
    arriving = requests(2, gap_ns=50_000)
    journal = drive(OneByOne(serving(OpenLoop(iter(arriving)))))
    assert journal.recorder.rows.column("finish_ns").tolist() == [3_000, 53_000]
    assert [(r.scheduled_ns, r.first_token_ns) for r in arriving] == [
        (0, 1_000),
        (50_000, 51_000),
    ]


def test_every_gap_and_every_finish_is_recorded() -> None:
    journal = drive(OneByOne(open_loop(3, gap_ns=100)))
    assert journal.recorder.rows.column("finish_ns").tolist() == [3_000, 6_000, 9_000]
    waits, counts = journal.log.inter_token_ns(ConstantStepCost(1).decode_run)
    assert (waits.tolist(), counts.tolist()) == ([1_000], [6])
    assert journal.steps == len(journal.log.column("steps")) == 9


def test_a_client_of_a_closed_loop_sends_when_it_has_thought() -> None:
    arriving = requests(3, gap_ns=0)
    drive(OneByOne(serving(ClosedLoop(iter(arriving), concurrency=1, think_ns=500))))
    assert [request.arrival_ns for request in arriving] == [0, 3_500, 7_000]


def test_an_engine_that_raises_is_named_with_the_moment() -> None:
    def fault(turn: int) -> None:
        if turn == 5:
            raise KeyError("block 17")

    words = r"one-by-one raised KeyError: 'block 17', 0\.000004 s into the run \(step 4\)"
    with pytest.raises(ServecastError, match=words) as failure:
        drive(OneByOne(open_loop(3, gap_ns=0), fault))
    assert isinstance(failure.value.__cause__, KeyError)
    assert failure.value.exit_code == 1


def test_what_the_user_can_mend_comes_through_as_it_is() -> None:
    def fault(turn: int) -> None:
        raise InputError("the cost is wrong")

    with pytest.raises(InputError, match=r"^the cost is wrong$"):
        drive(OneByOne(open_loop(1, gap_ns=0), fault))


def test_an_engine_that_schedules_nothing_ends_with_an_error_not_never() -> None:
    engine = Deaf(open_loop(3, gap_ns=10_000_000))
    with pytest.raises(ServecastError, match="has requests and schedules none of them"):
        drive(engine)
    assert engine.turns < 5_000


def test_an_engine_that_ends_a_request_too_early_is_caught() -> None:
    with pytest.raises(ServecastError, match=r"ended requests \[0\], and \[\] had their last"):
        drive(Hasty(open_loop(2, gap_ns=0)))
