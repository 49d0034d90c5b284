"""The launcher: what the scheduler sends to its device, priced, and heard as it will read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from servecast.primitives.batch import Batch, Group, StepTime
from servecast.simulator.request import Request
from servecast.timewarp.arrivals import OpenLoop
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.oracle import END
from servecast.timewarp.served import Served
from servecast.timewarp.serving import Serving
from servecast.timewarp.sglang_worker import (
    Launcher,
    Limits,
    Mode,
    Req,
    VirtualModule,
    last_tokens,
)
from tests.constant_cost import ConstantStepCost

STEP_NS = 1000


class Watched(ConstantStepCost):
    """A constant cost that remembers what it priced."""

    def __init__(self) -> None:
        super().__init__(STEP_NS)
        self.batches: list[Batch] = []

    def step(self, batch: Batch) -> StepTime:
        """The constant."""
        self.batches.append(batch)
        return super().step(batch)


@dataclass
class Params:
    """Sampling parameters."""

    max_new_tokens: int = 100


@dataclass(eq=False)
class FakeReq:
    """A request of the scheduler."""

    rid: str
    origin_input_ids: Sequence[int]
    output_ids: Sequence[int] = ()
    sampling_params: Limits = field(default_factory=Params)
    is_retracted: bool = False
    to_finish: object | None = None


@dataclass
class FakeMode:
    """A batch's mode."""

    extends: bool

    def is_extend(self) -> bool:
        """Whether prompts are computed."""
        return self.extends


@dataclass
class FakeBatch:
    """A batch of the scheduler."""

    reqs: Sequence[Req]
    forward_mode: Mode
    extend_lens: Sequence[int] = ()
    prefix_lens: Sequence[int] = ()
    decoding_reqs: Sequence[Req] | None = None


class Bench:
    """A launcher with requests of 10 prompt tokens and 3 output tokens."""

    def __init__(self, count: int, *, overlaps: bool, next_ns: int = 1_000_000) -> None:
        self.cost = Watched()
        coming = OpenLoop(iter([Request(count, next_ns, 10, 3, 100)]))
        self.serving = Serving(VirtualDevice(VirtualClock(), self.cost), coming)
        self.reqs = [FakeReq(str(index), [1] * 10) for index in range(count)]
        for index in range(count):
            self.serving.requests[str(index)] = Served(Request(index, 0, 10, 3, 100), 1)
        self.launcher = Launcher(self.serving, overlaps)

    def extend(self, *chunks: tuple[int, int, int]) -> list[int]:
        """Prompts (request, tokens, after so many)."""
        reqs = [self.reqs[row] for row, _, _ in chunks]
        lens, past = [count for _, count, _ in chunks], [past for _, _, past in chunks]
        return last_tokens(self.launcher.launch(FakeBatch(reqs, FakeMode(True), lens, past)))

    def text(self, row: int, start: int, count: int) -> list[int]:
        """What a request says, its prompt being 10 tokens."""
        return self.serving.requests[str(row)].text.tokens(10 + start, count)

    def decode(self, *rows: int) -> list[int]:
        """A token each."""
        batch = FakeBatch([self.reqs[row] for row in rows], FakeMode(False))
        return last_tokens(self.launcher.launch(batch))


def test_a_chunk_says_nothing_until_the_prompt_is_in() -> None:
    bench = Bench(1, overlaps=False)
    assert bench.extend((0, 6, 0)) == [END]
    assert bench.extend((0, 4, 6)) == bench.text(0, 0, 1)
    assert [step.tokens for step in bench.serving.done] == [[[]], [bench.text(0, 0, 1)]]
    assert [batch.groups for batch in bench.cost.batches] == [(Group(6, 1, 0),), (Group(4, 1, 6),)]


def test_the_last_token_is_the_end_and_is_said_again_where_the_scheduler_is_ahead() -> None:
    bench = Bench(1, overlaps=True)
    said = [*bench.extend((0, 10, 0)), *bench.decode(0), *bench.decode(0), *bench.decode(0)]
    assert said == [*bench.text(0, 0, 2), END, END]


def test_decodes_beside_prompts_are_one_group() -> None:
    bench = Bench(2, overlaps=False)
    bench.extend((0, 10, 0))
    mixed = FakeBatch(bench.reqs[::-1], FakeMode(True), [10, 1], [0, 10], [bench.reqs[0]])
    bench.launcher.launch(mixed)
    assert bench.cost.batches[-1].groups == (Group(1, 1, 10, 0, True), Group(10, 1, 0))


def test_without_overlap_the_clock_is_at_the_end_of_the_step() -> None:
    bench = Bench(1, overlaps=False)
    bench.extend((0, 10, 0))
    assert bench.serving.device.clock.now_ns() == STEP_NS


def test_with_overlap_steps_follow_each_other_and_an_event_waits_for_its_own() -> None:
    bench = Bench(1, overlaps=True)
    clock = bench.serving.device.clock
    event = VirtualModule(object(), bench.launcher).Event()
    bench.extend((0, 10, 0))
    event.record()
    bench.decode(0)
    assert clock.now_ns() == 0
    event.synchronize()
    assert clock.now_ns() == STEP_NS
    assert [step.end_ns for step in bench.serving.done] == [STEP_NS]
    assert [flight.steps[0].start_ns for flight in bench.launcher.flights] == [STEP_NS]


def test_the_token_of_who_was_retracted_meanwhile_is_dropped_and_said_again() -> None:
    bench = Bench(2, overlaps=True)
    bench.extend((0, 10, 0), (1, 10, 0))
    bench.reqs[1].is_retracted = True
    bench.launcher.retract(bench.reqs[1])
    bench.decode(0)
    bench.launcher.land()
    first, second = bench.text(0, 0, 1), bench.text(1, 0, 1)
    assert bench.serving.done[0].tokens == [first, []]
    assert bench.launcher.flights[0].steps[0].preempted == [1]
    bench.reqs[1].is_retracted = False
    assert bench.extend((1, 10, 0)) == second


def test_a_request_that_was_refused_is_computed_and_not_heard() -> None:
    bench = Bench(1, overlaps=True)
    bench.reqs[0].to_finish = object()
    bench.extend((0, 10, 0))
    bench.launcher.land()
    assert bench.serving.done[0].tokens == [[]]


def test_the_schedulers_own_limit_ends_a_request() -> None:
    bench = Bench(1, overlaps=False)
    bench.reqs[0].sampling_params = Params(1)
    assert bench.extend((0, 10, 0)) == [END]
    assert bench.serving.requests["0"].request.output_tokens == 1


def test_tokens_found_in_the_cache_are_those_of_the_first_admission() -> None:
    bench = Bench(1, overlaps=False)
    bench.extend((0, 2, 4))
    bench.extend((0, 4, 6))
    assert bench.serving.requests["0"].request.cached_tokens == 4


def test_a_leap_goes_on_to_the_first_last_token() -> None:
    bench = Bench(2, overlaps=False)
    bench.serving.requests["0"].request.output_tokens = 4
    bench.serving.requests["1"].request.output_tokens = 9
    bench.extend((0, 10, 0), (1, 10, 0))
    bench.decode(0, 1)
    answers = iter([True] * 9)
    said = bench.launcher.leap(lambda: next(answers))
    assert said == [[*bench.text(0, 2, 1), END], bench.text(1, 2, 2)]
    assert len(list(answers)) == 7
    assert [step.end_ns // STEP_NS for step in bench.serving.done] == [1, 2, 3, 4]
    assert bench.cost.batches[-1].groups == (Group(1, 2, 24, 0, True),)


@pytest.mark.parametrize(("overlaps", "steps"), [(False, 0), (True, 1)])
def test_a_leap_ends_where_the_scheduler_would_see_an_arrival(overlaps: bool, steps: int) -> None:
    """It looks when a step ends or, with overlap, when the one before it does."""
    bench = Bench(1, overlaps=overlaps, next_ns=2 * STEP_NS)
    bench.serving.requests["0"].request.output_tokens = 9
    bench.extend((0, 10, 0))
    bench.decode(0)
    said = bench.launcher.leap(lambda: True)
    assert [len(tokens) for tokens in said] == [steps] * steps


def test_a_leap_takes_no_step_that_the_scheduler_refuses() -> None:
    bench = Bench(1, overlaps=False)
    bench.extend((0, 10, 0))
    bench.decode(0)
    assert bench.launcher.leap(lambda: False) == []
    assert len(bench.serving.done) == 2
