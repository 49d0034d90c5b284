"""Law 5: Little's law on the sample path, in integers, with no tolerance."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.engine import Engine
from tests.driver import instants, records_of, run
from tests.reference_engine import ReferenceEngine, Seq
from tests.toy_deployments import DENSE
from tests.workload_cases import Case, cases

COST = CompiledStepCost(DENSE, RooflineSource())
EXAMPLES = settings(max_examples=100, derandomize=True, deadline=None)


class BlockHolder(ReferenceEngine):
    """The reference engine, adding up how long its sequences hold each KV block."""

    held_block_ns = 0

    def step_ns(self, scheduled: list[tuple[Seq, int]]) -> int:
        """The step's time, during which every running sequence holds its blocks."""
        step_ns = super().step_ns(scheduled)
        self.held_block_ns += sum(len(seq.blocks) * step_ns for seq in self.running)
        return step_ns


@EXAMPLES
@given(cases())
def test_requests_inside_integrate_to_the_sum_of_their_times(case: Case) -> None:
    engine = Engine(case.limits, COST)
    inside_ns = sum(
        (end_ns - start_ns) * (len(engine.scheduler.waiting) + len(engine.scheduler.running))
        for start_ns, end_ns in instants(engine, case.arrivals)
    )
    assert inside_ns == records_of(engine).e2e_ns.sum()


@EXAMPLES
@given(cases())
def test_queue_and_batch_each_obey_it_where_nobody_is_preempted(case: Case) -> None:
    room = case.limits.max_num_seqs * case.limits.max_model_len // case.limits.block_size
    engine = Engine(replace(case.limits, num_blocks=room), COST)
    queued_ns = running_ns = 0
    for start_ns, end_ns in instants(engine, case.arrivals):
        queued_ns += (end_ns - start_ns) * len(engine.scheduler.waiting)
        running_ns += (end_ns - start_ns) * len(engine.scheduler.running)
    records = records_of(engine)
    assert queued_ns == (records.scheduled_ns - records.arrival_ns).sum()
    assert running_ns == (records.finish_ns - records.scheduled_ns).sum()


@EXAMPLES
@given(cases())
def test_blocks_in_use_integrate_to_the_sum_of_their_hold_times(case: Case) -> None:
    log = run(case.limits, COST, case.arrivals, stepping=True).log
    reference = BlockHolder(case.limits, COST)
    reference.run([Seq(*arrival) for arrival in case.arrivals])
    used_ns = (log.column("blocks_used") * log.column("duration_ns")).sum()
    assert used_ns == reference.held_block_ns
