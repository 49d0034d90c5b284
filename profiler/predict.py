"""Forecasts for points of the silicon sample: its benchmark client, simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from servecast.errors import ServecastError
from servecast.primitives.batch import Batch, Group
from servecast.primitives.coefficients import shipped
from servecast.primitives.deployment import Deployment
from servecast.primitives.step_cost import CompiledStepCost, StepOrigin
from servecast.profiler.bands import family_of, tpot_band, ttft_band
from servecast.profiler.benchmark_client import benchmark_workload
from servecast.profiler.disaggregated import PoolForecast, forecast_pools, pools_of
from servecast.profiler.drafting_cost import DraftingStepCost
from servecast.profiler.engine_memory import kv_blocks
from servecast.profiler.label_repairs import Layout
from servecast.profiler.launch import Launch
from servecast.profiler.point_costs import CoefficientsOf, PointCosts, SourceOf
from servecast.profiler.point_deployment import Served, clients_of, deployment_of
from servecast.profiler.silicon_points import SiliconPoint
from servecast.simulator.result import Result
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.sglang_overlap_scheduler import SglangOverlapScheduler
from servecast.simulator.simulate import replay
from servecast.simulator.trtllm_scheduler import TrtllmScheduler
from servecast.simulator.vllm_scheduler import VllmScheduler


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is forecast for one point, or why nothing is. Times in ms, means over requests."""

    point_id: str
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None
    out_tok_s_per_gpu: float | None = None
    status: str = "ok"
    reason: str = ""
    """Of a refusal; of an answer, what was mended or assumed."""
    provenance: str = ""
    relative_error: float | None = None
    """Half-width of the band around a step's device time: what its costs claim themselves."""
    ttft_low_ms: float | None = None
    """These four hold 90 % of measurements like it; `bands` says how that is known."""
    ttft_high_ms: float | None = None
    tpot_low_ms: float | None = None
    tpot_high_ms: float | None = None

    def band(self, metric: str) -> tuple[float, float] | None:
        """Lower and upper end for `ttft_ms` or `tpot_ms`; None where there is no band."""
        ends = {
            "ttft_ms": (self.ttft_low_ms, self.ttft_high_ms),
            "tpot_ms": (self.tpot_low_ms, self.tpot_high_ms),
        }
        low, high = ends.get(metric, (None, None))
        return None if low is None or high is None else (low, high)


class Predictor:
    """Forecasts points one after the other; compiled step costs are kept for points alike."""

    def __init__(
        self, source_of: SourceOf | None = None, coefficients_of: CoefficientsOf = shipped
    ) -> None:
        """`source_of` gives the costs of a deployment; the roofline where it is left out."""
        self._costs = PointCosts(source_of, coefficients_of)

    def predict(self, points: Sequence[SiliconPoint]) -> Iterator[Prediction]:
        """One prediction a point, in order; a point that cannot be forecast says why."""
        for point in points:
            with suppress(ServecastError):
                for deployment, launch, _ in replicas_of(point):
                    self._costs.make_room(_verifying(deployment, launch), launch)
        for point in points:
            try:
                yield self._predicted(point)
            except ServecastError as error:
                reason = " ".join(error.message.split())
                yield Prediction(point.point_id, status="refused", reason=reason)

    def _predicted(self, point: SiliconPoint) -> Prediction:
        if point.mode == "disagg":
            return _of_pools(point, forecast_pools(point, self._costs))
        deployment, launch, cut = deployment_of(point)
        compiled = self._costs.of(_verifying(deployment, launch), launch)
        drafts = launch.draft_tokens
        cost = DraftingStepCost(compiled, drafts) if drafts else compiled
        workload = benchmark_workload(
            cut.clients_a_rank(clients_of(point)), point.isl, point.osl,
            exact=point.is_own_sweep, each=launch.prompts_per_client,
        )  # fmt: skip
        limits = SchedulerLimits(
            max_num_seqs=deployment.max_num_seqs,
            max_num_batched_tokens=deployment.max_num_batched_tokens,
            max_model_len=deployment.max_model_len,
            num_blocks=kv_blocks(deployment, launch, point.isl + point.osl),
        )
        result = replay(
            deployment, workload, limits, cost,
            policy=_policy(point, launch), schedules_ahead=launch.schedules_ahead,
        )  # fmt: skip
        return _prediction(point, result, compiled, cut)


def replicas_of(point: SiliconPoint) -> tuple[Served, ...]:
    """The replica of each kind that a point was served by."""
    return pools_of(point) if point.mode == "disagg" else (deployment_of(point),)


def _verifying(deployment: Deployment, launch: Launch) -> Deployment:
    """The deployment with room for drafts in its steps, which its token budget does not count."""
    drafted = launch.draft_tokens * deployment.max_num_seqs
    budget = deployment.max_num_batched_tokens + drafted
    return replace(deployment, max_num_batched_tokens=budget)


def _policy(point: SiliconPoint, launch: Launch) -> Callable[[SchedulerLimits], Scheduler]:
    if point.engine == "trtllm":
        return partial(TrtllmScheduler, batch_wait=launch.batch_wait)
    if point.engine == "sglang":
        interval = launch.recv_interval(clients_of(point))
        return partial(SglangOverlapScheduler, recv_interval=interval)
    return VllmScheduler


def _prediction(
    point: SiliconPoint, result: Result, cost: CompiledStepCost, cut: Layout
) -> Prediction:
    """Means over all requests, with the bands of rows like it."""
    ttft_ms, tpot_ms = float(result.records.ttft_ns.mean()) / 1e6, result.tpot.mean * 1e3
    origin = cost.origin(_typical(result))
    family = family_of(point, _mostly(origin))
    ttft_low_ms, ttft_high_ms = ttft_band(family).around(ttft_ms)
    tpot_low_ms, tpot_high_ms = tpot_band(family).around(tpot_ms)
    return Prediction(
        point_id=point.point_id,
        ttft_ms=ttft_ms,
        tpot_ms=tpot_ms,
        e2e_ms=float(result.records.e2e_ns.mean()) / 1e6,
        out_tok_s_per_gpu=_throughput(point, ttft_ms, tpot_ms) / cut.gpus,
        reason=cut.repair,
        provenance=_mostly(origin),
        relative_error=origin.relative_error,
        ttft_low_ms=ttft_low_ms,
        ttft_high_ms=ttft_high_ms,
        tpot_low_ms=tpot_low_ms,
        tpot_high_ms=tpot_high_ms,
    )


def _of_pools(point: SiliconPoint, found: PoolForecast) -> Prediction:
    """The same of both pools; too few rows are known for bands."""
    ttft_ms, tpot_ms = found.ttft_s * 1e3, found.tpot_s * 1e3
    return Prediction(
        point_id=point.point_id,
        ttft_ms=ttft_ms,
        tpot_ms=tpot_ms,
        e2e_ms=found.e2e_s * 1e3,
        out_tok_s_per_gpu=_throughput(point, ttft_ms, tpot_ms) / found.gpus,
        reason=found.repair,
        provenance=_mostly(found.origin),
        relative_error=found.origin.relative_error,
    )


def _throughput(point: SiliconPoint, ttft_ms: float, tpot_ms: float) -> float:
    """Output tokens per second by Little's law on nominal lengths, as the sample's."""
    return clients_of(point) * point.osl / ((ttft_ms + (point.osl - 1) * tpot_ms) / 1e3)


def _mostly(origin: StepOrigin) -> str:
    """Where most of a step's time comes from."""
    return max(origin.shares, key=lambda each: origin.shares[each]).value


def _typical(result: Result) -> Batch:
    """A decode step with every running request at its mean length."""
    records, deployment = result.records, result.deployment
    context = int(records.prompt_tokens.mean() + records.output_tokens.mean() / 2)
    sequences = min(len(records), deployment.max_num_seqs)
    return Batch((Group(1, sequences, sequences * context, 0, True),))
