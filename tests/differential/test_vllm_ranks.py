"""vLLM's own data-parallel loops and the simulator's ranks take the same steps, at equal costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from servecast.primitives.batch import Batch, StepTime
from servecast.primitives.host_time import HostTime
from servecast.primitives.memory import ledger
from servecast.primitives.model import MoeFfn
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import StepCost
from servecast.primitives.wave_cost import CompiledWaveCost, WaveCost
from servecast.simulator.records import Records, merge
from servecast.simulator.replica_plan import scheduler_limits
from servecast.simulator.stepped_options import SteppedOptions
from servecast.simulator.wave_engine import WaveEngine
from tests.differential.vllm_cases import CRAMPED, bursts, drawn, served
from tests.differential.vllm_ranks import Forward, batches_of, served_by_vllm
from tests.timewarp.emulated_cases import PLAIN, Case, many_prefixes, poisson, serve
from tests.toy_deployments import DEVICE, FULL, toy_model

Note = Callable[[str, object], None]
RANKS = 3
EXPERTS = toy_model((16, FULL, MoeFfn(experts=16, experts_per_token=2, width=1024)))

CASES = (
    Case("few at a time", PLAIN, poisson(40, 1.5)),
    Case("many", PLAIN, poisson(120, 40.0)),
    Case("few at a time, ahead", served(async_scheduling=True), poisson(40, 1.5)),
    Case("many, ahead", served(async_scheduling=True), poisson(120, 40.0)),
    Case("bursts in a small cache", CRAMPED, bursts(80, 20, 1.5)),
    Case("bursts in a small cache, ahead",
         dataclasses.replace(CRAMPED, async_scheduling=True), bursts(80, 20, 1.5)),
    Case("many system prompts, budget of 512",
         served(enable_prefix_caching=True, max_num_batched_tokens=512), many_prefixes(80, 12.0)),
    Case("many system prompts, ahead",
         served(enable_prefix_caching=True, async_scheduling=True), many_prefixes(80, 12.0)),
)  # fmt: skip


class Noted:
    """A cost that writes down what it is asked for."""

    def __init__(self, cost: WaveCost) -> None:
        self._cost = cost
        self.batches: list[tuple[Batch, ...]] = []

    @property
    def rank(self) -> StepCost:
        return self._cost.rank

    def step(self, batches: Sequence[Batch]) -> StepTime:
        self.batches.append(tuple(batches))
        return self._cost.step(batches)


def wave_cost(case: Case) -> CompiledWaveCost:
    shared = dataclasses.replace(
        case.deployment,
        model=EXPERTS,
        accelerator=DEVICE,
        data_parallel_size=RANKS,
        enable_expert_parallel=True,
    )
    return CompiledWaveCost(shared, RooflineSource(), HostTime())


def simulated(case: Case, cost: WaveCost) -> tuple[list[Forward], Records]:
    limits = scheduler_limits(case.deployment, ledger(case.deployment), case.workload)
    noted = Noted(cost)
    engine = WaveEngine(limits, noted, RANKS, options=SteppedOptions.of(case.deployment))
    serve(engine, case)
    start_ns, took_ns = (engine.log.column(name) for name in ("start_ns", "duration_ns"))
    times = zip(start_ns.tolist(), (start_ns + took_ns).tolist(), noted.batches, strict=True)
    return [Forward(*each) for each in times], merge([engine.recorder])


def assert_same_steps(case: Case, note: Note) -> None:
    pytest.importorskip("vllm")
    cost = wave_cost(case)
    theirs = served_by_vllm(case, cost, RANKS)
    forwards, records = simulated(case, cost)
    note("batches", batches_of(theirs.forwards))
    for place, (real, ours) in enumerate(zip(theirs.forwards, forwards, strict=False)):
        assert ours == real, f"step {place} of {case.name}"
    assert len(forwards) == len(theirs.forwards)
    index = records.index.tolist()
    assert dict(zip(index, records.finish_ns.tolist(), strict=True)) == theirs.finish_ns
    assert dict(zip(index, records.first_token_ns.tolist(), strict=True)) == theirs.first_ns


@pytest.mark.engine(name="vllm")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_ranks_take_the_steps_that_the_simulator_takes(case: Case, record_property: Note) -> None:
    assert_same_steps(case, record_property)


@pytest.mark.engine(name="vllm")
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(16))
def test_options_and_requests_drawn_at_random_end_in_the_same_steps(
    seed: int, record_property: Note
) -> None:
    case = drawn(seed)
    alone = dataclasses.replace(case.deployment, speculation=None, pipeline_parallel_size=1)
    assert_same_steps(dataclasses.replace(case, deployment=alone), record_property)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_ranks_without_requests_run_dummies_in_every_case(case: Case) -> None:
    forwards, records = simulated(case, wave_cost(case))
    assert len(records) == len(case.workload)
    busy = [[bool(batch.groups) for batch in forward.batches] for forward in forwards]
    assert any(any(ranks) and not all(ranks) for ranks in busy)


def test_waves_end_where_nobody_comes_for_a_while() -> None:
    few, _ = simulated(CASES[0], wave_cost(CASES[0]))
    pauses = [one for one, after in pairwise(few) if after.start_ns > one.end_ns]
    assert len(pauses) > 5
    assert not any(batch.groups for one in pauses for batch in one.batches)
