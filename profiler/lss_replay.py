"""Replays of LLMServingSim's measured servers, priced from the layers measured on the same GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from servecast.errors import UnsupportedError
from servecast.primitives.chained_source import ChainedSource
from servecast.primitives.cost import CostSource
from servecast.primitives.cost_store import CostStore
from servecast.primitives.elementwise_source import ElementwiseSource
from servecast.primitives.measured_table import MeasuredTables
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.primitives.table_preferences import TablePreferences
from servecast.primitives.table_source import TableSource
from servecast.profiler.launch_scripts import ASYNCHRONOUS
from servecast.profiler.lss_requests import Floats, Latencies, MeasuredServer, usable_blocks
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.simulate import replay

ENGINE, VERSION = "vllm", "0.19"


@dataclass(frozen=True, slots=True)
class Replay:
    """What of the server a replay has beyond products and attention from tables."""

    name: str
    has_elementwise: bool = False
    """Norms, rotations and gates from tables too, instead of the roofline."""
    has_mixed: bool = False
    """Attention of prompts beside decodes as the one call it is."""
    has_prefix_cache: bool = False
    """Prompts find what others, and they themselves before a preemption, have left in the cache."""


REPLAYS: Sequence[Replay] = (
    Replay("products and attention from tables"),
    Replay("+ elementwise from tables", has_elementwise=True),
    Replay("+ mixed attention in one call", has_elementwise=True, has_mixed=True),
    Replay("+ prefix cache", has_elementwise=True, has_mixed=True, has_prefix_cache=True),
)
"""Each has what those before it have; the last is the whole of what is known of the servers."""


def replayed(server: MeasuredServer, store: CostStore, what: Replay) -> Latencies:
    """The forecast for each request.

    Host time is what asynchronous scheduling leaves exposed, as for every vLLM since 0.14: nothing
    here is fitted on the servers.
    """
    deployment, source = server.deployment, _source(store, what)
    cost = CompiledStepCost(deployment, source, ASYNCHRONOUS)
    if what.has_mixed and not cost.is_mixed_measured:
        raise UnsupportedError(
            f"no full grid of mixed attention was measured on {deployment.accelerator.name} for "
            f"the heads of {deployment.model.name}",
            hint="take a replay that adds prefill and decode",
        )
    limits = SchedulerLimits(
        max_num_seqs=deployment.max_num_seqs,
        max_num_batched_tokens=deployment.max_num_batched_tokens,
        max_model_len=deployment.max_model_len,
        num_blocks=usable_blocks(server),
        enable_prefix_caching=what.has_prefix_cache,
    )
    result = replay(deployment, server.workload, limits, cost, schedules_ahead=True)
    records = result.records
    return Latencies(records.ttft_ns / 1e6, records.tpot_ns / 1e6, records.e2e_ns / 1e6)


def _source(store: CostStore, what: Replay) -> CostSource:
    preferences = TablePreferences((ENGINE,), versions={ENGINE: VERSION})
    apart = CostStore(table for table in store if table.key.operation != "mixed_attention")
    tables = TableSource(MeasuredTables(store if what.has_mixed else apart), preferences)
    between = [ElementwiseSource(store, ENGINE)] if what.has_elementwise else []
    return ChainedSource([tables, *between, RooflineSource()])


@dataclass(frozen=True, slots=True)
class Errors:
    """A metric over all requests: statistics in ms, measured and forecast; errors as shares."""

    metric: str
    measured_ms: tuple[float, ...]
    """Mean, p50, p90, p99."""
    forecast_ms: tuple[float, ...]
    mape: float
    """Mean over requests of the absolute relative error."""

    @property
    def bias(self) -> tuple[float, ...]:
        """Forecast over measured less one, for each statistic."""
        pairs = zip(self.forecast_ms, self.measured_ms, strict=True)
        return tuple(forecast / measured - 1 for forecast, measured in pairs)


def compared(measured: Latencies, forecast: Latencies) -> Iterator[Errors]:
    """TTFT, TPOT and end-to-end time, request by request and in their statistics."""
    for metric in ("ttft", "tpot", "e2e"):
        truth: Floats = getattr(measured, f"{metric}_ms")
        guess: Floats = getattr(forecast, f"{metric}_ms")
        mape = float(np.mean(np.abs(guess / truth - 1)))
        yield Errors(metric, _statistics(truth), _statistics(guess), mape)


def _statistics(values: Floats) -> tuple[float, ...]:
    return (float(values.mean()), *np.percentile(values, [50, 90, 99]).tolist())
