"""What SGLang decides where it drafts: by its own loop, and by the simulator."""

from __future__ import annotations

import dataclasses

from servecast.primitives.drafted_cost import with_drafts
from servecast.primitives.policy import SglangPolicy
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.speculation import DraftModel, Speculation
from servecast.primitives.step_cost import CompiledStepCost, StepCost
from servecast.simulator.admission import Admission
from servecast.simulator.lone_engine import serve_closed_loop
from servecast.simulator.records import Records
from servecast.simulator.scheduler_pass import SchedulerPass
from servecast.simulator.sglang_drafting_engine import SglangDraftingEngine
from servecast.simulator.sglang_limits import output_room, sglang_limits
from servecast.simulator.simulate import simulate
from servecast.simulator.stepped_device import DeviceStep, SteppedDevice
from tests.differential.sglang_configs import COLUMNS, UNCACHED, Config, Decision, Note, real
from tests.driver import records_of

LOOKUP = Speculation("ngram", 3, (0.8, 0.6, 0.4), request_spread=0.15)
OWN = DraftModel(UNCACHED.model, UNCACHED.weights_dtype)
MODEL = Speculation("draft_model", 1, (0.7,), OWN)
HEAD = Speculation("eagle3", 5, (0.9, 0.8, 0.7, 0.6, 0.5), OWN, request_spread=0.1)


class NotingDevice(SteppedDevice):
    """Writes down what it is to compute, in the form of a decision."""

    def __init__(self, cost: StepCost, speculation: Speculation) -> None:
        super().__init__([cost], speculation)
        self.decisions: list[Decision] = []

    def run(self, decided: SchedulerPass, now_ns: int) -> DeviceStep:
        work = decided.num_scheduled_tokens
        found = {each: each.num_computed_tokens - work[each] for each in decided.placed}
        computed = {
            each.request.index: (tokens, found.get(each, each.computed))
            for each, tokens in work.items()
        }
        lost = [each.request.index for each in decided.preempted]
        self.decisions.append((computed, lost))
        return super().run(decided, now_ns)


def drafting(config: Config, speculation: Speculation, *, overlaps: bool) -> Config:
    """The same with such drafts, in one of SGLang's loops."""
    like = dataclasses.replace(config.like, speculation=speculation)
    return dataclasses.replace(config, like=like, overlaps=overlaps)


def assert_same_steps(config: Config, note: Note) -> None:
    """Both decide the same, one step after the other, and every token comes at the same moment."""
    deployment = config.deployment
    target = CompiledStepCost(deployment, RooflineSource())
    cost = with_drafts(deployment, target, RooflineSource())
    run = real(config, cost)
    assert run.result.preemptions >= config.retractions
    theirs: list[Decision] = [
        ({request: (new, past) for request, new, past in batch.computed}, list(batch.preempted))
        for batch in run.batches.batches
    ]
    ours, records = stepped(config, cost)
    note("batches", len(theirs))
    for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert one == other, place
    simulated = simulate(deployment, config.workload, cost=cost)
    for found in (records, simulated.records):
        for column in COLUMNS:
            true = getattr(run.result.records, column).tolist()
            assert getattr(found, column).tolist() == true, column
    assert simulated.rejected.tolist() == run.result.rejected.tolist()
    assert simulated.truncated == run.result.truncated
    assert simulated.peak_blocks == run.result.peak_blocks


def stepped(config: Config, cost: StepCost) -> tuple[list[Decision], Records]:
    """What the simulator decides, step by step, and the records."""
    deployment, workload = config.deployment, config.workload
    limits, policy, drafts = sglang_limits(deployment), deployment.policy, deployment.drafting
    assert drafts is not None
    assert isinstance(policy, SglangPolicy)
    engine = SglangDraftingEngine(limits, [cost], drafts, policy)
    engine.device = device = NotingDevice(cost, drafts)
    named = workload.prefixes and workload.prefixes.in_blocks_of(deployment.block_size)
    known = named if deployment.enable_prefix_caching else None
    room = output_room(limits, workload)
    requests = Admission(workload, deployment.max_model_len, known, room).requests()
    if workload.concurrency is not None:
        serve_closed_loop(engine, requests, workload.concurrency, workload.think_ns)
    for request in requests:
        engine.advance(request.arrival_ns)
        engine.submit(request, request.arrival_ns)
    engine.advance(None)
    return device.decisions, records_of(engine)
