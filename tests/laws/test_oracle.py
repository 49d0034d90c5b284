"""The oracle boundary of law 14: what a request will emit decides nothing before it has emitted it.

Two workloads that differ only in how much each request has still to say at some moment must be
served alike up to that moment.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.vllm_scheduler import VllmScheduler
from tests.driver import Arrival, records_of, run
from tests.reference_engine import ReferenceEngine, Seq
from tests.toy_deployments import WINDOWED
from tests.workload_cases import Case, cases

COST = CompiledStepCost(WINDOWED, RooflineSource())
EXAMPLES = settings(max_examples=100, derandomize=True, deadline=None)


class Pausing(ReferenceEngine):
    """The reference engine, noting who has emitted how much before each step."""

    def __init__(self, case: Case) -> None:
        super().__init__(case.limits, COST)
        self.emitted: list[dict[int, int]] = []
        self.starts_ns: list[int] = []
        self.seqs = [Seq(*arrival) for arrival in case.arrivals]
        self.now_ns = 0
        self.run(self.seqs)

    def step_ns(self, scheduled: list[tuple[Seq, int]]) -> int:
        """The step's time; what everyone has emitted is noted."""
        self.emitted.append({seq.index: seq.emitted for seq in self.seqs})
        return super().step_ns(scheduled)
