"""vLLM itself and the simulator take the same decisions, step for step, at the same costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest

from servecast.domain import deployment, workload
from servecast.emulation import run
from servecast.loading import builtin
from servecast.primitives.host_time import HostTime
from servecast.primitives.memory import ledger
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.engine import Engine
from servecast.simulator.records import Records
from servecast.simulator.replica_plan import scheduler_limits
from servecast.simulator.request import Request
from servecast.simulator.result import Result
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.simulate import simulate
from servecast.simulator.vllm_scheduler import VllmScheduler
from servecast.timewarp.emulate import Emulation
from servecast.timewarp.mode import Mode
from tests.timewarp.emulated_cases import CASES, Case, serve

Note = Callable[[str, object], None]
Decision = tuple[frozenset[tuple[int, int, int]], tuple[int, ...]]
"""Who is computed (index, tokens, tokens in the cache before), and who lost its blocks."""


class Noting(VllmScheduler):
    """The simulator's scheduler, writing down what it decides."""

    def __init__(self, limits: SchedulerLimits, decisions: list[Decision]) -> None:
        super().__init__(limits)
        self._decisions = decisions

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        chunks, preempted = super().schedule()
        filling = {chunk.request for chunk in chunks}
        steps = self.group.steps
        computed = [(c.request.index, c.new_tokens, c.past_tokens) for c in chunks] + [
            (request.index, 1, request.base + steps)
            for request in self.running
            if request not in filling and request is not self.partial
        ]
        self._decisions.append((frozenset(computed), tuple(each.index for each in preempted)))
        return chunks, preempted


def emulated(case: Case) -> Emulation:
    pytest.importorskip("vllm")
    mode = Mode(log_batches=True)
    return run(case.deployment, case.workload, RooflineSource(), HostTime(), mode)


def simulated(case: Case) -> Result:
    return simulate(case.deployment, case.workload, source=RooflineSource())


def decisions(emulation: Emulation) -> list[Decision]:
    (log,) = emulation.batches
    return [(frozenset(batch.computed), batch.preempted) for batch in log.batches]


def simulated_decisions(case: Case) -> list[Decision]:
    found: list[Decision] = []
    served, traffic = case.deployment, case.workload
    engine = Engine(
        scheduler_limits(served, ledger(served), traffic),
        CompiledStepCost(served, RooflineSource()),
        policy=lambda limits: Noting(limits, found),
        stepping=True,
    )
    serve(engine, case)
    return found


def assert_same_decisions(case: Case, emulation: Emulation, note: Note) -> None:
    """Step for step."""
    theirs = decisions(emulation)
    note("batches", len(theirs))
    assert theirs == simulated_decisions(case)


def assert_same_run(case: Case, emulation: Emulation, simulation: Result) -> None:
    """The same times of every request to the nanosecond, and the same pool of gaps."""
    assert emulation.result.preemptions == simulation.preemptions
    for column in (field.name for field in fields(Records)):
        if column not in ("first_run", "last_run"):  # rows of the log: steps here, runs there
            ours = getattr(simulation.records, column)
            theirs = getattr(emulation.result.records, column)
            np.testing.assert_array_equal(theirs, ours, f"{case.name}: {column}")
    assert emulation.result.itl == simulation.itl
    assert emulation.result.peak_blocks == simulation.peak_blocks
    assert emulation.result.num_blocks == simulation.num_blocks
    assert emulation.result.truncated == simulation.truncated


@pytest.mark.engine(name="vllm")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_vllm_schedules_what_the_simulator_schedules(case: Case, record_property: Note) -> None:
    assert_same_decisions(case, emulation := emulated(case), record_property)
    assert_same_run(case, emulation, simulated(case))


def test_the_cases_preempt_chunk_queue_and_fill_the_cache() -> None:
    by_name = {case.name: simulated(case) for case in CASES}
    assert by_name["small cache, preemptions"].preemptions > 5
    assert by_name["small cache, arrivals among preemptions"].preemptions > 5
    assert by_name["small cache, preemptions"].peak_blocks == 96
    assert by_name["Poisson beyond what it can serve"].is_overloaded
    assert by_name["one token each"].output_tokens == 30


@pytest.mark.engine(name="vllm")
@pytest.mark.slow
def test_the_built_in_scenario_is_the_same_to_the_nanosecond(record_property: Note) -> None:
    scenario = builtin()
    choice = {
        "tensor_parallel_size": 4,
        "max_num_seqs": 128,
        "max_num_batched_tokens": 2048,
        "replicas": 1,
    }
    case = Case("built-in", deployment(scenario, choice), workload(scenario))
    assert_same_decisions(case, emulation := emulated(case), record_property)
    assert_same_run(case, emulation, simulated(case))
