"""vLLM with asynchronous scheduling and the simulator's own: the same decisions, step for step."""

from __future__ import annotations

import dataclasses

import pytest

from servecast.primitives.memory import ledger
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.async_engine import AsyncEngine
from servecast.simulator.replica_plan import scheduler_limits
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.simulate import simulate
from servecast.simulator.vllm_async_scheduler import VllmAsyncScheduler
from servecast.timewarp.emulate import Emulation, emulate
from servecast.timewarp.mode import Mode
from tests.differential.test_vllm import Decision, Note, assert_same_run, decisions
from tests.differential.test_vllm_random import SEEDS, drawn
from tests.emulated_options import options
from tests.timewarp.emulated_cases import CASES, Case, serve

pytestmark = pytest.mark.engine(name="vllm")


class Noting(VllmAsyncScheduler):
    """The simulator's scheduler, writing down what it decides."""

    def __init__(self, limits: SchedulerLimits, decisions: list[Decision]) -> None:
        super().__init__(limits)
        self._decisions = decisions

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        spent = set(self.spent)
        chunks, preempted = super().schedule()
        filling = {chunk.request for chunk in chunks} | spent
        steps = self.group.steps
        computed = [(c.request.index, c.new_tokens, c.past_tokens) for c in chunks] + [
            (request.index, 1, request.base + steps)
            for request in self.running
            if request not in filling and request is not self.partial
        ]
        if computed:
            self._decisions.append((frozenset(computed), tuple(each.index for each in preempted)))
        return chunks, preempted


def emulated(case: Case) -> Emulation:
    pytest.importorskip("vllm")
    cost = CompiledStepCost(case.deployment, RooflineSource())
    given = options(case.deployment, case.workload)
    return emulate(case.deployment, case.workload, given, cost, Mode(log_batches=True))


def simulated_decisions(case: Case) -> list[Decision]:
    found: list[Decision] = []
    served, traffic = case.deployment, case.workload
    engine = AsyncEngine(
        scheduler_limits(served, ledger(served), traffic),
        CompiledStepCost(served, RooflineSource()),
        policy=lambda limits: Noting(limits, found),
        stepping=True,
    )
    serve(engine, case)
    return found


def ahead(case: Case) -> Case:
    deployment = dataclasses.replace(case.deployment, async_scheduling=True)
    return dataclasses.replace(case, deployment=deployment)


def assert_equal(case: Case, note: Note) -> None:
    emulation = emulated(case)
    theirs = decisions(emulation)
    note("batches", len(theirs))
    assert theirs == simulated_decisions(case)
    cost = CompiledStepCost(case.deployment, RooflineSource())
    assert_same_run(case, emulation, simulate(case.deployment, case.workload, cost=cost))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_vllm_schedules_ahead_as_the_simulator_does(case: Case, record_property: Note) -> None:
    assert_equal(ahead(case), record_property)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_drawn_at_random_is_scheduled_ahead_alike(seed: int, record_property: Note) -> None:
    assert_equal(ahead(drawn(seed)), record_property)
