"""vLLM itself and the engine that takes every step decide alike, at equal costs, step for step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np
import pytest

from servecast.emulation import run
from servecast.primitives.drafted_cost import with_drafts
from servecast.primitives.host_time import HostTime
from servecast.primitives.memory import ledger
from servecast.primitives.pipeline import stage_costs
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import StepCost
from servecast.simulator.records import Records
from servecast.simulator.replica_plan import scheduler_limits
from servecast.simulator.scheduler_pass import SchedulerPass
from servecast.simulator.simulate import simulate
from servecast.simulator.stepped_device import DeviceStep, SteppedDevice
from servecast.simulator.stepped_engine import SteppedEngine
from servecast.simulator.stepped_options import SteppedOptions
from servecast.timewarp.emulate import Emulation
from servecast.timewarp.mode import Mode
from tests.differential.vllm_cases import STEPPED, drawn
from tests.timewarp.emulated_cases import Case, serve

SOURCE, HOST = RooflineSource(), HostTime()
Note = Callable[[str, object], None]
COMPARED = [field.name for field in fields(Records) if not field.name.endswith("_run")]
"""All but the rows of the log, which are not steps where the simulator can skip."""


class Decision(NamedTuple):
    """One step: when, who was computed in which order, and who lost its blocks for it."""

    start_ns: int
    end_ns: int
    computed: tuple[tuple[int, int, int], ...]
    """(index of the request, tokens, tokens in the cache before)."""
    preempted: tuple[int, ...]


class NotingDevice(SteppedDevice):
    """Writes down what it is given."""

    def __init__(self, stages: Sequence[StepCost], options: SteppedOptions) -> None:
        super().__init__(stages, options.speculation)
        self.decisions: list[Decision] = []
        self.lost: list[int] = []

    def run(self, decided: SchedulerPass, now_ns: int) -> DeviceStep:
        placed = set(decided.placed)
        computed = tuple(
            (
                request.request.index,
                count,
                request.num_computed_tokens - count if request in placed else request.computed,
            )
            for request, count in decided.num_scheduled_tokens.items()
        )
        step = super().run(decided, now_ns)
        self.decisions.append(Decision(step.start_ns, step.end_ns, computed, tuple(self._lost())))
        return step

    def _lost(self) -> list[int]:
        """Who lost its blocks since the step before, passes without a step included."""
        lost, self.lost = sorted(self.lost), []
        return lost


class NotingEngine(SteppedEngine):
    """Tells its device who loses its blocks."""

    def note_in(self, device: NotingDevice) -> None:
        self.device = device
        schedule = self.scheduler.schedule

        def noted() -> SchedulerPass:
            decided = schedule()
            device.lost += [request.request.index for request in decided.preempted]
            return decided

        self.scheduler.schedule = noted  # type: ignore[method-assign]


def simulated_decisions(case: Case) -> list[Decision]:
    target, *later = stage_costs(case.deployment, SOURCE, HOST)
    stages = [with_drafts(case.deployment, target, SOURCE), *later]
    options = SteppedOptions.of(case.deployment)
    limits = scheduler_limits(case.deployment, ledger(case.deployment), case.workload)
    engine = NotingEngine(limits, stages, options=options, stepping=True)
    device = NotingDevice(stages, options)
    engine.note_in(device)
    serve(engine, case)
    return device.decisions


def emulated_decisions(emulation: Emulation) -> list[Decision]:
    """In the order in which the batches were handed over."""
    (log,) = emulation.batches
    found = [
        Decision(batch.start_ns, batch.end_ns, batch.computed, tuple(sorted(batch.preempted)))
        for batch in log.batches
    ]
    return sorted(found, key=lambda decision: decision.start_ns)


def assert_same_steps(case: Case, note: Note) -> int:
    """How many steps both take."""
    pytest.importorskip("vllm")
    emulation = run(case.deployment, case.workload, SOURCE, HOST, Mode(log_batches=True))
    theirs, ours = emulated_decisions(emulation), simulated_decisions(case)
    note("batches", len(theirs))
    for place, (real, simulated) in enumerate(zip(theirs, ours, strict=False)):
        assert simulated == real, f"step {place} of {case.name}"
    assert len(ours) == len(theirs)
    simulation = simulate(case.deployment, case.workload, source=SOURCE, host=HOST)
    for column in COMPARED:
        np.testing.assert_array_equal(
            getattr(simulation.records, column), getattr(emulation.result.records, column), column
        )
    assert simulation.itl == emulation.result.itl
    assert simulation.peak_blocks == emulation.result.peak_blocks
    assert simulation.num_blocks == emulation.result.num_blocks
    return len(ours)


@pytest.mark.engine(name="vllm")
@pytest.mark.parametrize("case", STEPPED, ids=[case.name for case in STEPPED])
def test_vllm_takes_the_steps_that_the_simulator_takes(case: Case, record_property: Note) -> None:
    assert assert_same_steps(case, record_property) >= 2000


@pytest.mark.engine(name="vllm")
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24))
def test_options_and_requests_drawn_at_random_end_in_the_same_steps(
    seed: int, record_property: Note
) -> None:
    assert_same_steps(drawn(seed), record_property)


@pytest.mark.slow
def test_the_cases_preempt_wait_and_accept() -> None:
    by_name = {
        case.name: simulate(case.deployment, case.workload, source=SOURCE) for case in STEPPED
    }
    cramped = [name for name in by_name if "small cache" in name]
    assert all(by_name[name].preemptions > 5 for name in cramped if "system" not in name)
    assert len(cramped) >= 8
    drafted = [case for case in STEPPED if case.deployment.drafting]
    assert len(drafted) >= 8
    for case in drafted:
        steps = len(by_name[case.name].logs[0])
        assert steps < by_name[case.name].output_tokens
