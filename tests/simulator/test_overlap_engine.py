"""SGLang's loop with overlap, on a clock where every step takes a millisecond."""

from __future__ import annotations

from servecast.simulator.overlap_engine import OverlapEngine
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.sglang_overlap_scheduler import SglangOverlapScheduler
from tests.constant_cost import ConstantStepCost
from tests.driver import records_of

MS = 1_000_000
ROOMY = SchedulerLimits(8, 64, 200, 1000, 1)
PAIR = SchedulerLimits(2, 64, 200, 1000, 1)


class Told(SglangOverlapScheduler):
    """Tells who is computed in each step, and who was taken back before it."""

    def __init__(self, limits: SchedulerLimits, *, mixed_chunk: bool, expects: float) -> None:
        super().__init__(limits, "fcfs", expects, mixed_chunk)
        self.steps: list[str] = []

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        chunks, retracted = super().schedule()
        prompts = [f"{chunk.request.index}:{chunk.new_tokens}" for chunk in chunks]
        beside = {chunk.request for chunk in chunks}
        who = [each for each in self.running if each not in beside and self._decodes(each)]
        decodes = [str(each.index) for each in who] if self.is_decoding else []
        back = [f"-{each.index}" for each in retracted]
        if prompts or decodes:
            self.steps.append(" ".join([*back, *prompts, *decodes]))
        return chunks, retracted


def served(
    limits: SchedulerLimits,
    *requests: Request,
    mixed_chunk: bool = False,
    expects: float = 1.0,
) -> tuple[OverlapEngine, list[str]]:
    """An engine that has served all, and its steps."""
    scheduler = Told(limits, mixed_chunk=mixed_chunk, expects=expects)
    engine = OverlapEngine(scheduler, ConstantStepCost(MS), stepping=True)
    for request in requests:
        engine.advance(request.arrival_ns)
        engine.submit(request, request.arrival_ns)
    engine.advance(None)
    engine.check()
    return engine, scheduler.steps


def test_an_end_that_nobody_declared_is_computed_once_more() -> None:
    engine, steps = served(ROOMY, Request(0, 0, 10, 3, 50))
    assert steps == ["0:10", "0", "0", "0"]
    assert records_of(engine).finish_ns.tolist() == [3 * MS]
    assert engine.now_ns == 4 * MS


def test_a_declared_end_is_passed_over() -> None:
    engine, steps = served(ROOMY, Request(0, 0, 10, 3, 3))
    assert steps == ["0:10", "0", "0"]
    assert records_of(engine).finish_ns.tolist() == [3 * MS]


def test_a_place_is_free_one_step_after_an_end() -> None:
    """The third waits for the end of the first, which is read while the second decodes."""
    requests = Request(0, 0, 10, 2, 2), Request(1, 0, 10, 5, 5), Request(2, 0, 10, 1, 1)
    _, steps = served(PAIR, *requests)
    assert steps == ["0:10 1:10", "0 1", "1", "2:10", "1", "1"]


def test_who_comes_during_a_step_is_computed_in_the_one_after_the_next() -> None:
    _, steps = served(ROOMY, Request(0, 0, 10, 9, 9), Request(1, 3 * MS + 1, 10, 1, 1))
    assert steps[4:7] == ["0", "1:10", "0"]


def test_who_comes_as_a_step_begins_is_computed_in_the_next() -> None:
    _, steps = served(ROOMY, Request(0, 0, 10, 9, 9), Request(1, 3 * MS, 10, 1, 1))
    assert steps[3:6] == ["0", "1:10", "0"]


def test_the_token_of_who_is_retracted_is_said_again() -> None:
    """After its prompt and n more steps the second has said n + 1 tokens, the last one unread."""
    limits = SchedulerLimits(8, 64, 60, 60, 1)
    requests = Request(0, 0, 15, 30, 30), Request(1, 0, 15, 20, 20)
    engine, steps = served(limits, *requests, expects=0.1)
    at = steps.index("-1 0")
    assert steps[at - 1] == "0 1"
    again = next(step for step in steps[at:] if step.startswith("1:"))
    assert again == f"1:{15 + steps.count('0 1')}"
    records = records_of(engine)
    assert records.preemptions.tolist() == [0, 1]
    assert records.output_tokens.tolist() == [30, 20]


def test_a_mixed_step_computes_prompts_beside_those_who_decode() -> None:
    _, steps = served(
        ROOMY, Request(0, 0, 10, 9, 9), Request(1, 3 * MS, 80, 2, 2), mixed_chunk=True
    )
    assert steps[3:7] == ["0", "1:63 0", "1:17 0", "1 0"]


def test_all_who_have_ended_leave_before_prompts_are_computed() -> None:
    """Nobody decodes in the third step, so nobody is computed in vain."""
    requests = Request(0, 0, 10, 1, 50), Request(1, 0, 10, 3, 50), Request(2, 0, 60, 1, 50)
    _, steps = served(ROOMY, *requests)
    assert steps == ["0:10 1:10 2:44", "2:16", "1 2", "1", "1"]
